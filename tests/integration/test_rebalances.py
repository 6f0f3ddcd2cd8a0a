"""Rebalances every few seconds: every window is published in time."""

import itertools
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness.case import HOUR_MS, START_MS, Case, make_events
from tests.harness.service import NO_CHAIN_FAULTS
from tests.harness.traffic import publishing
from tests.waiting import wait_for

pytestmark = pytest.mark.broker

SECONDS = 16.0
RATE = 250.0
HOURS_A_SECOND = 1.0


def test_windows_are_published_in_time_during_rebalances(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        streams=("alpha", "beta"),
        stream_settings={"allowed_disorder": "5m", "idle_timeout": "1h"},
    )
    number = int(SECONDS * RATE)
    span_ms = int(SECONDS * HOURS_A_SECOND * HOUR_MS)
    streams = [
        make_events(stream, number // 2, start_ms=START_MS, span_ms=span_ms, seed=seed)
        for seed, stream in enumerate(("alpha", "beta"))
    ]
    events = [event for pair in zip(*streams, strict=True) for event in pair]
    with ExitStack() as running:
        staying = running.enter_context(case.serve("staying"))
        staying.wait_until_ready()
        began_s = time.monotonic()
        while_published = 0
        with publishing(case, events, rate=RATE):
            for name in itertools.cycle("ab"):
                if time.monotonic() > began_s + SECONDS - 4:
                    break
                with case.serve(name) as guest:
                    guest.wait_for(
                        "its share",
                        lambda replica=guest: (
                            replica.assigned_partitions() == 2 and replica.assigned_shards() == 1
                        ),
                    )
                    # Every second replica is killed.
                    guest.stop() if name == "a" else guest.kill()
            while_published = len(case.final_counts())
        case.close_windows()
        case.wait_for_counts(staying, case.counts_of(events))
        wait_for("all shards", lambda: staying.assigned_shards() == 2)
        assert staying.chain_faults() == NO_CHAIN_FAULTS
        assert staying.late() == 0
    # Only the windows of the last seconds may be published after the rebalances.
    assert while_published > len(case.counts_of(events)) / 2
    assert {record["events_lost"] for record in case.results()} == {False}
