"""What is kept in Kafka meets what operators and brokers do to it: the state topic, the group's offsets."""

import time
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from tests.integration.case import HOUR_MS, START_MS, TIMEOUT_S, Case, Event, make_events

pytestmark = pytest.mark.integration

PARTITIONS = 3
HALF = 300


def make_case(folder: Path, bootstrap: str) -> Case:
    return Case(
        folder,
        bootstrap,
        partitions=PARTITIONS,
        stream_settings={"idle_timeout": "500ms", "allowed_lateness": "1d"},
        settings={"commit_interval": "200ms"},
    )


def make_halves() -> tuple[list[Event], list[Event]]:
    """Three hours of events, in turn over the partitions, that part in the second hour."""
    events = [
        Event(event.stream, event.time_ms, event.vector, partition=number % PARTITIONS)
        for number, event in enumerate(
            make_events("alpha", 2 * HALF, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=60)
        )
    ]
    return events[:HALF], events[HALF:]


def count_first_half(case: Case, events: list[Event]) -> None:
    """Count it, and stop in the midst of a window."""
    case.publish(events)
    with case.serve() as service:
        service.wait_for("the first half to be counted", lambda: service.counted() == len(events))
        service.stop()


def delete_group(case: Case) -> None:
    case.admin.delete_consumer_groups([case.name])[case.name].result(TIMEOUT_S)


def test_without_its_state_topic_it_refuses_and_its_remedy_helps(tmp_path: Path, bootstrap: str) -> None:
    case = make_case(tmp_path, bootstrap)
    first, second = make_halves()
    count_first_half(case, first)
    case.admin.delete_topics([case.state_topic])[case.state_topic].result(TIMEOUT_S)

    with case.serve() as service:
        assert service.wait_for_exit(within_s=TIMEOUT_S) == 1
        refusal = service.log_tail().splitlines()[-1]
    assert f"state topic {case.state_topic} is missing" in refusal
    assert f"delete the group's offsets of {case.events_topic}" in refusal
    assert case.state_topic not in case.admin.list_topics(timeout=TIMEOUT_S).topics

    delete_group(case)
    case.publish(second)
    with case.serve() as service:
        service.wait_for("everything to be counted again", lambda: service.counted() == 2 * HALF)
        service.wait_until_ready()


def test_offsets_that_have_expired_leave_the_state_standing(tmp_path: Path, bootstrap: str) -> None:
    case = make_case(tmp_path, bootstrap)
    first, second = make_halves()
    count_first_half(case, first)
    delete_group(case)
    assert case.positions() == {}

    case.publish(second)
    with case.serve() as service:
        case.wait_for_counts(service, case.truth(first + second))
        assert service.counted() == HALF
        assert sum(case.positions().values()) == 2 * HALF
        service.wait_until_ready()


def test_offsets_that_were_reset_stop_their_partition_until_they_are_put_back(
    tmp_path: Path, bootstrap: str
) -> None:
    case = make_case(tmp_path, bootstrap)
    first, second = make_halves()
    count_first_half(case, first)
    set_offset(case, 1, 0)
    case.publish(second)
    with case.serve() as service:
        service.wait_for("it to stop the partition", lambda: bool(service.logged("partition stopped")))
        (stopped,) = service.logged("partition stopped")
        assert (stopped["topic"], stopped["partition"]) == (case.events_topic, 1)
        assert "the offsets were reset" in str(stopped["reason"])
        assert "put the offset back" in str(stopped["reason"])
        service.wait_for("the others to be counted", lambda: service.counted() == HALF * 2 // PARTITIONS)
        scrape = service.scrape()
        assert scrape.value("driftgauge_consumer_stopped_partitions", topic=case.events_topic) == 1
        status, body = service.get("/readyz")
        assert status == 503
        assert "restored" in body
        assert service.get("/livez")[0] == 200
        service.stop()

    set_offset(case, 1, HALF // PARTITIONS)
    with case.serve() as service:
        case.wait_for_counts(service, case.truth(first + second))
        service.wait_until_ready()
        scrape = service.scrape()
        assert scrape.value("driftgauge_consumer_stopped_partitions", topic=case.events_topic) == 0


def set_offset(case: Case, partition: int, offset: int) -> None:
    """What `kafka-consumer-groups.sh --reset-offsets` does."""
    wanted = ConsumerGroupTopicPartitions(case.name, [TopicPartition(case.events_topic, partition, offset)])
    altered = case.admin.alter_consumer_group_offsets([wanted])[case.name].result(TIMEOUT_S)
    assert all(each.error is None for each in altered.topic_partitions)


def test_it_goes_on_from_a_state_of_which_most_has_been_compacted_away(
    tmp_path: Path, bootstrap: str
) -> None:
    case = make_case(tmp_path, bootstrap)
    # What takes hours elsewhere.
    case.create_topic(
        case.state_topic,
        PARTITIONS,
        {
            "cleanup.policy": "compact",
            "segment.ms": "300",
            "min.cleanable.dirty.ratio": "0.001",
            "max.compaction.lag.ms": "300",
            "delete.retention.ms": "0",
        },
    )
    first, second = make_halves()
    with case.serve() as service:
        for number in range(100, HALF + 1, 100):
            case.publish(first[number - 100 : number])
            service.wait_for("it to be counted", lambda to=number: service.counted() == to)
            time.sleep(0.5)  # the next record finds the segment old enough to be rolled
        service.wait_for("the state to be compacted", lambda: is_compacted(case))
        service.kill()
    case.publish(second)
    with case.serve() as service:
        case.wait_for_counts(service, case.truth(first + second))
        assert service.counted() == HALF


def is_compacted(case: Case) -> bool:
    """Tell whether each partition has lost its first record, a progress that later ones have replaced."""
    begins: dict[int | None, int | None] = {}
    for record in case.read(case.state_topic):
        begins.setdefault(record.partition(), record.offset())
    return len(begins) == PARTITIONS and all(begins.values())
