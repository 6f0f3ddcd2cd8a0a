"""The events topic gets more partitions while several replicas read it."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka.admin import NewPartitions

from tests.integration.case import HOUR_MS, START_MS, TIMEOUT_S, Case, Event, make_events
from tests.integration.gauges import gauges_of, window_gauges, without_wall_time
from tests.integration.service import wait_for

pytestmark = pytest.mark.integration

BEFORE, AFTER = 4, 7
PER_PART = 840  # it is spread evenly over either number of partitions


def part(number: int, partitions: int) -> list[Event]:
    """Three hours of events, evenly on all partitions."""
    events = make_events(
        "alpha", PER_PART, start_ms=START_MS + number * 3 * HOUR_MS, span_ms=3 * HOUR_MS, seed=50 + number
    )
    return [
        Event(event.stream, event.time_ms, event.vector, row % partitions) for row, event in enumerate(events)
    ]


def test_the_state_grows_with_the_events_topic_and_no_event_is_missed(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        partitions=BEFORE,
        kafka={"topic.metadata.refresh.interval.ms": 500},
        # Until the group knows of a partition, event time goes on without it.
        stream_settings={"allowed_lateness": "1d", "idle_timeout": "1s"},
        settings={"commit_interval": "300ms"},
    )
    parts = [part(0, BEFORE), part(1, AFTER), part(2, AFTER)]
    with ExitStack() as running:
        replicas = [running.enter_context(case.serve(name)) for name in "ab"]
        for replica in replicas:
            replica.wait_until_ready()
        case.publish(parts[0])
        wait_for("the first part", lambda: sum(replica.counted() for replica in replicas) == PER_PART)
        assert partitions(case, case.state_topic) == BEFORE

        added = case.admin.create_partitions([NewPartitions(case.events_topic, AFTER)])
        added[case.events_topic].result(TIMEOUT_S)
        wait_for("the broker to show them", lambda: partitions(case, case.events_topic) == AFTER)
        case.publish(parts[1])
        wait_for("all to be held", lambda: sum(replica.held() for replica in replicas) == AFTER)
        wait_for("the state to grow", lambda: partitions(case, case.state_topic) == AFTER)
        case.publish(parts[2])

        case.wait_for_counts(replicas[1], case.truth([event for part in parts for event in part]))
        asked = gauges_of(case.final_results())
        for replica in replicas:
            replica.wait_until_ready()
            replica.wait_for(
                "it to show the newest results",
                lambda r=replica: without_wall_time(window_gauges(r.scrape())) == asked,
            )
            replica.stop()
    new = 2 * PER_PART // AFTER
    assert case.positions() == {
        index: new if index >= BEFORE else new + PER_PART // BEFORE for index in range(AFTER)
    }
    assert case.dead_letters() == []


def partitions(case: Case, topic: str) -> int:
    return len(case.admin.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions)
