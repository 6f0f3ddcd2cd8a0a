"""A replica that is paused in a transaction, loses its partitions or shards, and resumes.

All records of the transaction are on the broker. The time of the resumption decides its outcome.
"""

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness.case import HOUR_MS, SHARDS, START_MS, Case, SourceEvent, make_events
from tests.harness.gauges import wait_until_shown
from tests.harness.service import NO_CHAIN_FAULTS, ReplicaProcess
from tests.harness.traffic import publishing, rejected_sources, with_rejected
from tests.waiting import wait_for

pytestmark = pytest.mark.broker

PAUSING = Path(__file__).with_name("pausing.py")
PARTITIONS = 4
GOOD, BAD = 900, 30
RATE = 300
# Transaction time-outs: far beyond the resumption, and hardly longer than the session.
LONG_MS, SHORT_MS = 60_000, 6_000


def make_traffic() -> list[SourceEvent]:
    """Return events in turn over the partitions, some of them rejected."""
    good = make_events("alpha", GOOD, start_ms=START_MS, span_ms=9 * HOUR_MS, seed=50)
    return [
        replace(event, partition=number % PARTITIONS)
        for number, event in enumerate(with_rejected(good, every=GOOD // BAD))
    ]


def restored(service: ReplicaProcess, role: str) -> bool:
    return any(entry["role"] == role for entry in service.logged("restored"))


@pytest.mark.parametrize(
    ("role", "stopped_before", "resumes_early"),
    [
        pytest.param("count", "commit_transaction", True, id="COUNT about to commit, resumes in time"),
        pytest.param("count", "commit_transaction", False, id="COUNT about to commit, resumes too late"),
        pytest.param(
            "count", "send_offsets_to_transaction", True, id="COUNT without offsets, resumes in time"
        ),
        pytest.param("windows", "commit_transaction", True, id="WINDOWS about to commit, resumes in time"),
        pytest.param("windows", "commit_transaction", False, id="WINDOWS about to commit, resumes too late"),
    ],
)
def test_replica_paused_in_transaction_counts_nothing_twice(
    tmp_path: Path, bootstrap: str, role: str, stopped_before: str, resumes_early: bool
) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        partitions=PARTITIONS,
        stream_settings={"allowed_lateness": "1d", "idle_timeout": "1h"},
        kafka={"transaction.timeout.ms": LONG_MS if resumes_early else SHORT_MS},
    )
    request_file = tmp_path / "request"
    topic = case.partials_topic if role == "count" else case.windows_topic
    events = make_traffic()

    def positions() -> dict[int, int]:
        return case.positions() if role == "count" else case.shard_positions()

    with ExitStack() as running:
        zombie = running.enter_context(case.serve(program=("-P", str(PAUSING), str(request_file)), role=role))
        other_role = "windows" if role == "count" else "count"
        other = running.enter_context(case.serve(role=other_role))
        for service in (zombie, other):
            service.wait_until_ready()
        running.enter_context(publishing(case, [*events, *case.closing_events()], rate=RATE))
        wait_for("something to be published", lambda: case.final_counts() != {})
        request_file.write_text(f"{stopped_before} {topic}")
        zombie.wait_for("the pause", lambda: not request_file.exists())
        before = positions()
        successor = running.enter_context(case.serve(role=role))
        successor.wait_for(
            "the successor to take over",
            lambda: successor.assigned_partitions() + successor.assigned_shards() >= SHARDS,
        )
        waits_for_end = stopped_before == "commit_transaction"
        if resumes_early:
            if waits_for_end:
                # The successor must not begin before the transaction ends.
                time.sleep(1.5)
                assert not restored(successor, role)
                assert positions() == before
            zombie.resume()
        successor.wait_for("the successor to continue", lambda: restored(successor, role))
        if not resumes_early:
            successor.wait_for("the successor to commit", lambda: positions() != before)
            zombie.resume()
        half = PARTITIONS / 2 if role == "count" else SHARDS / 2
        zombie.wait_for(
            "both to share",
            lambda: (
                zombie.assigned_partitions() + zombie.assigned_shards()
                == successor.assigned_partitions() + successor.assigned_shards()
                == half
            ),
        )

        case.wait_for_counts(successor, case.counts_of(event for event in events if event.stream == "alpha"))
        windows = [other] if role == "count" else [zombie, successor]
        counting = [zombie, successor] if role == "count" else [other]
        wait_until_shown(windows, case.final_results())
        for service in (zombie, successor, other):
            service.wait_until_ready()
        assert sum(service.counted() for service in counting) == GOOD + PARTITIONS
        for service in windows:
            assert service.chain_faults() == NO_CHAIN_FAULTS
    assert len(rejected_sources(case)) == len(set(rejected_sources(case))) == BAD
    if not (resumes_early and waits_for_end):
        written = case.read(topic, "read_uncommitted")
        assert len(written) > len(case.read(topic)), "the replica did not pause in a transaction with records"
