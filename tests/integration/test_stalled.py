"""What is stuck is not idle: windows wait for it, then are published without it and say so."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from driftgauge.events.timestamps import format_timestamp
from tests.integration.case import DAY_MS, HOUR_MS, START_MS, Case, SourceEvent, WindowKey, make_events
from tests.integration.gauges import gauges_of, held_partitions, window_gauges, without_wall_time
from tests.integration.service import NO_CHAIN_FAULTS, ServiceProcess

pytestmark = pytest.mark.broker

IDLE_S = 5
# Far enough beyond the idle timeout that a slow machine sees the one before the other.
INCOMPLETE_S = 10
GIVE_UP_S = 20
HOURS = 3


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
            "allowed_lateness": "1d",
        },
    )


def hours(partitions: int) -> list[SourceEvent]:
    """Some hours of events, on all partitions, and the beginning of the next."""
    events = make_events(
        "alpha", HOURS * 60, start_ms=START_MS, span_ms=HOURS * HOUR_MS + HOUR_MS // 2, seed=60
    )
    return [
        SourceEvent(event.stream, event.time_ms, event.vector, partition)
        for event in events
        for partition in range(partitions)
    ]


def ended(case: Case, events: list[SourceEvent]) -> dict[WindowKey, int]:
    """The counts of the hours that all events of the others have passed."""
    return case.truth([event for event in events if event.time_ms < START_MS + HOURS * HOUR_MS])


def assert_published_without(
    case: Case, service: ServiceProcess, counts: dict[WindowKey, int], stuck: set[int]
) -> None:
    """Wait for the windows, and check that results and gauges name exactly the stuck partitions."""
    case.wait_for_counts(service, counts)
    final = case.final_results()
    expected = [{"topic": case.events_topic, "partition": index} for index in sorted(stuck)]
    assert [record["incomplete"] for record in final.values()] == [expected] * len(final)
    assert {record["revision"] for record in final.values()} == {0}
    asked = gauges_of(final)
    assert asked["driftgauge_window_complete", (("stream", "alpha"), ("window", "1h"))] == 0
    service.wait_for("the gauges", lambda: without_wall_time(window_gauges(service.scrape())) == asked)


def assert_completed(case: Case, service: ServiceProcess, counts: dict[WindowKey, int]) -> None:
    """Wait for the whole windows, as higher revisions of what was incomplete."""
    case.wait_for_counts(service, counts)
    service.wait_for(
        "all to be complete",
        lambda: not any(record["incomplete"] for record in case.final_results().values()),
    )
    asked = gauges_of(case.final_results())
    service.wait_for("the gauges", lambda: without_wall_time(window_gauges(service.scrape())) == asked)


def test_an_open_transaction_keeps_its_partition_from_being_taken_for_idle(
    tmp_path: Path, bootstrap: str
) -> None:
    case = make_case(tmp_path, bootstrap, partitions=2)
    events = hours(2)
    behind, ahead = ([event for event in events if event.partition == index] for index in range(2))
    with case.serve() as service:
        service.wait_until_ready()
        producer = case.producer(**{"transactional.id": case.name})
        producer.init_transactions(30)
        producer.begin_transaction()
        for event in behind:
            producer.produce(case.events_topic, event.value, partition=0)
        producer.flush(30)
        case.publish(ahead)
        service.wait_for("the others to be counted", lambda: service.counted() == len(ahead))
        counted_s = time.monotonic()
        service.wait_for("longer than the idle timeout", lambda: time.monotonic() > counted_s + IDLE_S + 2)
        assert case.results() == []
        assert_published_without(case, service, ended(case, ahead), {0})

        producer.commit_transaction(30)
        assert_completed(case, service, case.truth(events))
    assert case.dead_letters() == []


def test_a_stuck_replica_is_not_taken_for_idle_partitions(tmp_path: Path, bootstrap: str) -> None:
    case = make_case(tmp_path, bootstrap, 4, **{"session.timeout.ms": 60_000, "max.poll.interval.ms": 60_000})
    events = hours(4)
    with ExitStack() as running:
        windows = running.enter_context(case.serve(role="windows"))
        stuck, going = (running.enter_context(case.serve(name, role="count")) for name in "ab")
        for replica in (stuck, going):
            replica.wait_for(
                "its half of the partitions", lambda r=replica: len(held_partitions(r.scrape())) == 2
            )
        its = held_partitions(stuck.scrape())
        stuck.pause()
        case.publish(events)
        there = [event for event in events if event.partition not in its]
        assert_published_without(case, windows, ended(case, there), its)

        stuck.resume()
        assert_completed(case, windows, case.truth(events))
        assert going.counted() == len(there)
        assert stuck.counted() == len(events) - len(there)
    assert case.dead_letters() == []


def test_what_stands_still_for_long_is_given_up_and_holds_again_when_it_is_level(
    tmp_path: Path, bootstrap: str
) -> None:
    case = make_case(tmp_path, bootstrap, partitions=2)
    events = hours(2)
    behind, ahead = ([event for event in events if event.partition == index] for index in range(2))
    day = [
        SourceEvent(event.stream, event.time_ms + DAY_MS, event.vector, event.partition) for event in ahead
    ]
    with case.serve() as service:
        service.wait_until_ready()
        producer = case.producer(**{"transactional.id": case.name, "transaction.timeout.ms": 600_000})
        producer.init_transactions(30)
        producer.begin_transaction()
        for event in behind:
            producer.produce(case.events_topic, event.value, partition=0)
        producer.flush(30)
        case.publish(ahead)
        assert_published_without(case, service, ended(case, ahead), {0})
        service.wait_for("it to be given up", lambda: is_judged_without(case))

        case.publish(day)
        service.wait_for("a day later", lambda: len(ended_a_day_later(case)) == HOURS)
        # Judged in full: the partition is named, and holds nothing up.
        for record in ended_a_day_later(case):
            assert record["verdict"] != "incomplete"
            assert record["incomplete"] == [{"topic": case.events_topic, "partition": 0}]

        producer.commit_transaction(30)
        service.wait_for(
            "the transaction to be counted", lambda: service.counted() == 2 * len(ahead) + len(behind)
        )
        assert service.chain_faults() == NO_CHAIN_FAULTS
    assert case.dead_letters() == []


def is_judged_without(case: Case) -> bool:
    """Tell whether the hours are judged in full, though they lack a partition."""
    final = case.final_results().values()
    return bool(final) and all(record["verdict"] != "incomplete" for record in final)


def ended_a_day_later(case: Case) -> list[dict[str, Any]]:
    day = format_timestamp(START_MS + DAY_MS)
    end = format_timestamp(START_MS + DAY_MS + HOURS * HOUR_MS)
    return [record for record in case.final_results().values() if day <= record["start"] < end]
