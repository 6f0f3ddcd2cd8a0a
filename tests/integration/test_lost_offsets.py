"""Where the events that the group's offsets speak of are gone, the service goes on with what is there."""

from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.integration.case import DAY_MS, HOUR_MS, START_MS, TIMEOUT_S, Case, make_events

pytestmark = pytest.mark.integration

LOSS = "events of open windows are no longer kept; what was published of these windows stands"


def test_a_restart_after_retention_took_the_events_of_open_windows_counts_what_comes(
    tmp_path: Path, bootstrap: str
) -> None:
    case = Case(tmp_path, bootstrap, partitions=2)
    before, after = (
        make_events("alpha", 300, start_ms=START_MS + day * DAY_MS, span_ms=3 * HOUR_MS, seed=30 + day)
        for day in (0, 1)
    )
    case.publish(before)
    with case.serve() as service:
        case.wait_for_counts(service, case.truth(before))
        service.stop()
    # The committed offsets are those of the first events of open windows.
    ends = [TopicPartition(case.events_topic, partition, -1) for partition in range(2)]
    for deleted in case.admin.delete_records(ends).values():
        deleted.result(TIMEOUT_S)

    case.publish(after)
    with case.serve() as service:
        case.wait_for_counts(service, case.truth(before + after))
        assert service.outcomes("accepted") == len(after)
        assert service.is_ready()
        service.stop()


def test_a_window_that_lost_a_part_of_its_events_stays_as_it_was_published(
    tmp_path: Path, bootstrap: str
) -> None:
    case = Case(tmp_path, bootstrap, partitions=1)
    events = make_events("alpha", 300, start_ms=START_MS, span_ms=HOUR_MS, seed=33)
    case.publish(events)
    with case.serve() as service:
        case.wait_for_counts(service, case.truth(events))
        service.stop()
    for deleted in case.admin.delete_records([TopicPartition(case.events_topic, 0, 200)]).values():
        deleted.result(TIMEOUT_S)

    with case.serve() as service:
        service.wait_until_ready()
        service.wait_for("its loss to be told", lambda: bool(service.logged(LOSS)))
        service.wait_for("what is left to be counted", lambda: service.outcomes("replayed") == 100)
        assert service.logged(LOSS)[0]["lost"] == 200
        service.stop()
    assert case.final_counts() == case.truth(events)


def test_a_topic_made_anew_is_not_taken_for_the_one_that_was_read(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=1)
    events = make_events("alpha", 300, start_ms=START_MS, span_ms=HOUR_MS, seed=34)
    case.publish(events)
    with case.serve() as service:
        case.wait_for_counts(service, case.truth(events))
        service.stop()
    # Deleting a topic may take its offsets along; a group that has them still is the harder case.
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": case.name})
    (committed,) = consumer.committed([TopicPartition(case.events_topic, 0)], timeout=TIMEOUT_S)
    case.admin.delete_topics([case.events_topic])[case.events_topic].result(TIMEOUT_S)
    case.create_topic(case.events_topic, 1)
    consumer.commit(offsets=[committed], asynchronous=False)
    consumer.close()

    with case.serve() as service:
        assert service.wait_for_exit(within_s=TIMEOUT_S) == 1
        assert "the topic was made anew, or lost records; use another group.id" in service.log_tail()


def test_a_topic_deleted_beside_another_stops_nothing(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=2, kafka={"topic.metadata.refresh.interval.ms": 500})
    other = f"{case.name}.other"
    case.create_topic(other, 2)
    topics = {"windows": case.windows_topic, "dead_letters": case.dead_letters_topic}
    case.settings = {"topics": {"events": [case.events_topic, other], **topics}}
    case.write_config()
    events = make_events("alpha", 600, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=32)
    with case.serve() as service:
        service.wait_until_ready()
        case.publish(events[:300])
        service.wait_for("the first half to be counted", lambda: service.counted() == 300)

        case.admin.delete_topics([other])[other].result(TIMEOUT_S)
        service.wait_for(
            "its partitions to be given up", lambda: len(service.logged("partitions assigned")) == 2
        )
        case.publish(events[300:])
        case.wait_for_counts(service, case.truth(events))
        assert service.scrape().value("driftgauge_consumer_assigned_partitions", topic=other) == 0
        service.stop()
