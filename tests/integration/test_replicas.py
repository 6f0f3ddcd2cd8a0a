"""Replicas of one group: exactly one shows each stream, through kills and lost connections."""

import time
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from driftgauge.core.counting.partial import shard_of
from tests.harness.case import (
    DIMENSION,
    HOUR_MS,
    MINUTE_MS,
    SHARDS,
    START_MS,
    Case,
    SourceEvent,
    WindowKey,
)
from tests.harness.gauges import wait_until_shown, window_gauges
from tests.harness.relay import Relay
from tests.harness.service import NO_CHAIN_FAULTS, ReplicaProcess

pytestmark = pytest.mark.broker

PARTITIONS = 3
# One of each shard.
STREAMS = ("alpha", "beta")
HOURS = 3
"""Hours that are published at a time, and the size of the larger window."""
FRESH_S = 15.0
"""Time for which gauges are shown after a shard's last commit, s."""


class HourlyTraffic:
    """Publishes hours of events on every partition, and the start of the next hour."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._random = np.random.default_rng(40)
        self.end_ms = START_MS
        self.events: list[SourceEvent] = []

    def publish(self) -> None:
        start_ms, self.end_ms = self.end_ms, self.end_ms + HOURS * HOUR_MS
        times = [*range(start_ms, self.end_ms, 2 * MINUTE_MS), self.end_ms + 15 * MINUTE_MS]
        events = [
            SourceEvent(stream, time_ms, self._random.normal(size=DIMENSION).astype(np.float32), partition)
            for time_ms in times
            for stream in STREAMS
            for partition in range(PARTITIONS)
        ]
        self._case.publish(events)
        self.events += events

    @property
    def expected_counts(self) -> dict[WindowKey, int]:
        """The expected counts of the windows that have ended."""
        ended = [event for event in self.events if event.time_ms < self.end_ms]
        return self._case.counts_of(ended)


def make_case(folder: Path, bootstrap: str) -> Case:
    """Return a case whose windows close by the watermark alone, without corrections."""
    assert {shard_of(stream, SHARDS) for stream in STREAMS} == set(range(SHARDS))
    return Case(
        folder,
        bootstrap,
        windows=("1h", f"{HOURS}h"),
        streams=STREAMS,
        partitions=PARTITIONS,
        stream_settings={"allowed_disorder": "10m", "allowed_lateness": "0s", "idle_timeout": "1h"},
    )


def wait_for_results(case: Case, replicas: Collection[ReplicaProcess], counts: dict[WindowKey, int]) -> None:
    """Wait for the counts, and until the replicas together show the results, each stream once."""
    first, *_ = replicas
    case.wait_for_counts(first, counts)
    # A replica without notice of a lost shard shows it until the gauges expire.
    wait_until_shown(replicas, case.final_results(), within_s=FRESH_S + 10)


def test_disconnected_replica_hides_its_windows(tmp_path: Path, bootstrap: str) -> None:
    case = make_case(tmp_path, bootstrap)
    traffic = HourlyTraffic(case)
    traffic.publish()
    with Relay(bootstrap) as relay, ExitStack() as running:
        through_relay = {"DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS": relay.bootstrap}
        near = running.enter_context(case.serve("near"))
        far = running.enter_context(case.serve("far", through_relay))
        for replica in (near, far):
            replica.wait_for("one shard", lambda r=replica: r.assigned_shards() == 1)
        wait_for_results(case, (near, far), traffic.expected_counts)

        relay.cut()
        cut_s = time.monotonic()
        far.wait_for("its gauges to expire", lambda: not window_gauges(far.scrape()))
        assert time.monotonic() - cut_s < FRESH_S + 5
        assert far.get("/livez")[0] == 200
        far.wait_for("the replica to be unready", lambda: far.get("/readyz")[0] == 503)
        traffic.publish()
        wait_for_results(case, [near], traffic.expected_counts)

        relay.reconnect()
        for replica in (near, far):
            replica.wait_for("one shard", lambda r=replica: r.assigned_shards() == 1)
            replica.wait_until_ready()
        traffic.publish()
        wait_for_results(case, (near, far), traffic.expected_counts)

        # A successor shows the windows of a killed replica again, before any event.
        shown = window_gauges(far.scrape())
        far.kill()
        near.wait_for("both shards", lambda: shown.items() <= window_gauges(near.scrape()).items())
        traffic.publish()
        wait_for_results(case, [near], traffic.expected_counts)
        assert near.chain_faults() == NO_CHAIN_FAULTS
    assert {record["revision"] for record in case.results()} == {0}
    assert case.dead_letters() == []
