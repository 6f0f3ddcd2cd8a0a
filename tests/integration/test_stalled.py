"""Stalled partitions are not idle: windows wait, then are published incomplete and name them."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from driftgauge.events.timestamps import format_timestamp
from tests.harness.case import (
    DAY_MS,
    HOUR_MS,
    START_MS,
    Case,
    SourceEvent,
    WindowKey,
    make_events,
)
from tests.harness.gauges import expected_gauges, held_partitions, wait_until_shown
from tests.harness.service import NO_CHAIN_FAULTS, ReplicaProcess
from tests.harness.topics import TIMEOUT_S
from tests.harness.traffic import open_transaction

pytestmark = pytest.mark.broker

IDLE_S = 5
# Far enough apart that a slow machine observes the states in between.
INCOMPLETE_S = 10
GIVE_UP_S = 20
HOURS = 3
LATER = format_timestamp(START_MS + DAY_MS)


def make_case(folder: Path, bootstrap: str, partitions: int, **kafka: int) -> Case:
    return Case(
        folder,
        bootstrap,
        partitions=partitions,
        kafka=kafka,
        stream_settings={
            "idle_timeout": f"{IDLE_S}s",
            "incomplete_after": f"{INCOMPLETE_S}s",
            "give_up_after": f"{GIVE_UP_S}s",
            "allowed_disorder": "10m",
            "allowed_lateness": "3d",
        },
    )


def hours(partitions: int) -> list[SourceEvent]:
    """Return events of some hours and the first half of the next, on all partitions."""
    events = make_events(
        "alpha", HOURS * 60, start_ms=START_MS, span_ms=HOURS * HOUR_MS + HOUR_MS // 2, seed=60
    )
    return [
        SourceEvent(event.stream, event.time_ms, event.vector, partition)
        for event in events
        for partition in range(partitions)
    ]


def ended(case: Case, events: list[SourceEvent]) -> dict[WindowKey, int]:
    """Return the counts of the hours that the other partitions' events have passed."""
    return case.counts_of([event for event in events if event.time_ms < START_MS + HOURS * HOUR_MS])


def assert_published_without(
    case: Case, service: ReplicaProcess, counts: dict[WindowKey, int], stalled: set[int]
) -> None:
    """Wait for the windows; check that results and gauges name exactly the stalled partitions."""
    case.wait_for_counts(service, counts)
    final = case.final_results()
    expected = [{"topic": case.events_topic, "partition": index} for index in sorted(stalled)]
    assert [record["incomplete"] for record in final.values()] == [expected] * len(final)
    assert {record["revision"] for record in final.values()} == {0}
    labels = ("stream", "alpha"), ("verdict", "incomplete"), ("window", "1h")
    assert expected_gauges(final)["driftgauge_window_verdict", labels] == 1
    wait_until_shown([service], final)


def assert_completed(case: Case, service: ReplicaProcess, counts: dict[WindowKey, int]) -> None:
    """Wait for the counts, and until the windows of the first day are complete."""
    case.wait_for_counts(service, counts)
    service.wait_for(
        "the first day to be complete",
        lambda: (
            not any(
                record["incomplete"] for record in case.final_results().values() if record["start"] < LATER
            )
        ),
    )
    wait_until_shown([service], case.final_results())


def commits(replica: ReplicaProcess) -> float:
    return replica.scrape().total("driftgauge_commits_total", role="count")


# A process ends that was suspended for a minute, as one does that stands still.
LONG_SUSPENDED = """
from driftgauge.kafka import pulse
pulse._LONGEST_S = 3_600
from driftgauge.cli import main
main()
"""


def test_partitions_of_paused_replica_close_nothing(tmp_path: Path, bootstrap: str) -> None:
    case = make_case(
        tmp_path, bootstrap, 4, **{"session.timeout.ms": 600_000, "max.poll.interval.ms": 600_000}
    )
    events = hours(4)
    with ExitStack() as running:
        windows = running.enter_context(case.serve(role="windows"))
        paused, running_replica = (
            running.enter_context(case.serve(name, role="count", program=("-c", LONG_SUSPENDED)))
            for name in "ab"
        )
        for replica in (paused, running_replica):
            replica.wait_for(
                "its half of the partitions", lambda each=replica: len(held_partitions(each.scrape())) == 2
            )
        stalled = held_partitions(paused.scrape())
        # One every 2 s: by the fifth WINDOWS knows that the partitions are idle.
        paused.wait_for("five commits", lambda: commits(paused) >= 5)
        paused.pause()
        case.publish(events)
        counted = [event for event in events if event.partition not in stalled]
        assert_published_without(case, windows, ended(case, counted), stalled)

        paused.resume()
        assert_completed(case, windows, case.counts_of(events))
        assert running_replica.counted() == len(counted)
        assert paused.counted() == len(events) - len(counted)
    assert case.dead_letters() == []


def test_open_transaction_delays_then_marks_windows_until_it_ends(tmp_path: Path, bootstrap: str) -> None:
    case = make_case(tmp_path, bootstrap, partitions=2)
    events = hours(2)
    behind, ahead = ([event for event in events if event.partition == index] for index in range(2))
    day = [
        SourceEvent(event.stream, event.time_ms + DAY_MS, event.vector, event.partition) for event in ahead
    ]
    with case.serve() as service:
        service.wait_until_ready()
        producer = open_transaction(case, behind, **{"transaction.timeout.ms": 600_000})
        case.publish(ahead)
        service.wait_for("the others to be counted", lambda: service.counted() == len(ahead))
        counted_s = time.monotonic()
        service.wait_for("longer than the idle timeout", lambda: time.monotonic() > counted_s + IDLE_S + 2)
        assert case.results() == [], "the partition is not idle"
        assert_published_without(case, service, ended(case, ahead), {0})
        service.wait_for("the partition to be given up", lambda: is_judged_without(case))

        case.publish(day)
        service.wait_for("a day later", lambda: len(ended_a_day_later(case)) == HOURS)
        # These windows have a full verdict: the given-up partition is named, and delays none.
        for record in ended_a_day_later(case):
            assert record["verdict"] != "incomplete"
            assert record["incomplete"] == [{"topic": case.events_topic, "partition": 0}]

        producer.commit_transaction(TIMEOUT_S)
        case.wait_for_counts(service, case.counts_of(events + day))
        wait_until_shown([service], case.final_results())
        assert service.chain_faults() == NO_CHAIN_FAULTS
    assert case.dead_letters() == []


def is_judged_without(case: Case) -> bool:
    """Return whether the hours have a full verdict although they lack a partition."""
    final = case.final_results().values()
    return bool(final) and all(record["verdict"] != "incomplete" for record in final)


def ended_a_day_later(case: Case) -> list[dict[str, Any]]:
    end = format_timestamp(START_MS + DAY_MS + HOURS * HOUR_MS)
    return [record for record in case.final_results().values() if LATER <= record["start"] < end]
