"""Where the events that the group's offsets speak of are gone, the service goes on with what is there."""

from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from tests.integration.case import DAY_MS, HOUR_MS, START_MS, TIMEOUT_S, Case, make_events

pytestmark = pytest.mark.integration


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
