"""What is stuck is not idle: windows wait for it, then are published without it and say so."""

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from driftgauge.core.pipeline import choose_home
from tests.integration.case import HOUR_MS, START_MS, Case, Event, WindowKey, make_events
from tests.integration.gauges import gauges_of, held_partitions, window_gauges, without_wall_time
from tests.integration.service import Service

pytestmark = pytest.mark.integration

IDLE_S = 1
# Far enough beyond the idle timeout that a slow machine sees the one before the other.
INCOMPLETE_S = 10
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
            "allowed_disorder": "10m",
            "allowed_lateness": "1d",
        },
        settings={"commit_interval": "300ms"},
    )


def hours(partitions: int) -> list[Event]:
    """Some hours of events, on all partitions, and the beginning of the next."""
    events = make_events(
        "alpha", HOURS * 60, start_ms=START_MS, span_ms=HOURS * HOUR_MS + HOUR_MS // 2, seed=60
    )
    return [
        Event(event.stream, event.time_ms, event.vector, partition)
        for event in events
        for partition in range(partitions)
    ]


def ended(case: Case, events: list[Event]) -> dict[WindowKey, int]:
    """The counts of the hours that all events of the others have passed."""
    return case.truth([event for event in events if event.time_ms < START_MS + HOURS * HOUR_MS])


def assert_published_without(
    case: Case, service: Service, counts: dict[WindowKey, int], stuck: set[int]
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


def assert_completed(case: Case, service: Service, counts: dict[WindowKey, int]) -> None:
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
        service.wait_for("three times the idle timeout", lambda: time.monotonic() > counted_s + 3 * IDLE_S)
        assert case.results() == []
        assert_published_without(case, service, ended(case, ahead), {0})

        producer.commit_transaction(30)
        assert_completed(case, service, case.truth(events))
    assert case.dead_letters() == []


def test_a_stuck_replica_is_not_taken_for_idle_partitions(tmp_path: Path, bootstrap: str) -> None:
    case = make_case(tmp_path, bootstrap, 4, **{"session.timeout.ms": 60_000, "max.poll.interval.ms": 60_000})
    events = hours(4)
    _, home = choose_home("alpha", [(case.events_topic, index) for index in range(4)])
    with ExitStack() as running:
        replicas = [running.enter_context(case.serve(name)) for name in "ab"]
        for replica in replicas:
            replica.wait_for(
                "its half of the partitions", lambda r=replica: len(held_partitions(r.scrape())) == 2
            )
        stuck, going = sorted(replicas, key=lambda replica: home in held_partitions(replica.scrape()))
        its = held_partitions(stuck.scrape())
        stuck.pause()
        case.publish(events)
        there = [event for event in events if event.partition not in its]
        assert_published_without(case, going, ended(case, there), its)

        stuck.resume()
        assert_completed(case, going, case.truth(events))
        assert stuck.counted() == len(events) - len(there)
    assert case.dead_letters() == []
