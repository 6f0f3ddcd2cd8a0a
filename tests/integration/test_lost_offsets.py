"""Where a log no longer keeps what was to be read the service says so, and goes on if it can."""

import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.integration.case import HOUR_MS, START_MS, TIMEOUT_S, Case, make_events
from tests.integration.service import Service

pytestmark = pytest.mark.integration

LOSS = "records are no longer kept that were to be read; windows that they touch are marked"
QUICK = {"commit_interval": "200ms"}
LOST = 50


class Loss:
    """Three hours of events, of which the log forgets some in the second before they are read."""

    def __init__(self, folder: Path, bootstrap: str) -> None:
        self.case = Case(
            folder,
            bootstrap,
            partitions=1,
            kafka={"session.timeout.ms": 45_000},
            stream_settings={"idle_timeout": "500ms", "allowed_lateness": "1d"},
            settings=QUICK,
        )
        self.events = make_events("alpha", 600, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=30)

    def publish_first_half(self, service: Service) -> None:
        """Publish the first hour and a half, and wait until it is counted."""
        self.case.publish(self.events[:300])
        service.wait_for("the first half to be counted", lambda: service.counted() == 300)

    def publish_second_half(self) -> None:
        """Publish the rest, and let the log forget the beginning of it."""
        self.case.publish(self.events[300:])
        self.forget(300 + LOST)

    def forget(self, before: int) -> None:
        for deleted in self.case.admin.delete_records(
            [TopicPartition(self.case.events_topic, 0, before)]
        ).values():
            deleted.result(TIMEOUT_S)

    def assert_told(self, service: Service) -> None:
        """The rest is counted, and what is missing is told by the log, a metric and the results."""
        kept = self.events[:300] + self.events[300 + LOST :]
        self.case.wait_for_counts(service, self.case.truth(kept))
        (entry,) = service.logged(LOSS)
        assert entry["lost"] == LOST
        metric = service.scrape().value("driftgauge_records_lost_total", topic=self.case.events_topic)
        assert metric == LOST
        final = sorted(self.case.final_results().items())
        assert [record["events_lost"] for _, record in final] == [False, True, False]
        service.wait_until_ready()


def test_records_that_went_while_the_service_was_down_are_told(tmp_path: Path, bootstrap: str) -> None:
    loss = Loss(tmp_path, bootstrap)
    with loss.case.serve() as service:
        loss.publish_first_half(service)
        service.stop()
    loss.publish_second_half()
    with loss.case.serve() as service:
        loss.assert_told(service)
        service.stop()
    with loss.case.serve() as service:
        service.wait_until_ready()
        assert not service.logged(LOSS), "a loss is told once"
        assert [record["events_lost"] for _, record in sorted(loss.case.final_results().items())] == [
            False,
            True,
            False,
        ]


def test_records_that_went_before_a_paused_reader_are_told(tmp_path: Path, bootstrap: str) -> None:
    loss = Loss(tmp_path, bootstrap)
    with loss.case.serve() as service:
        loss.publish_first_half(service)
        service.pause()
        # What it had asked for before it was paused is answered by now.
        time.sleep(0.5)
        loss.publish_second_half()
        service.resume()
        loss.assert_told(service)
        assert len(service.logged("partitions assigned")) == 1


def test_records_that_go_after_they_were_counted_are_not_missed(tmp_path: Path, bootstrap: str) -> None:
    loss = Loss(tmp_path, bootstrap)
    with loss.case.serve() as service:
        loss.publish_first_half(service)
        service.stop()
    loss.forget(300)
    loss.case.publish(loss.events[300:])
    with loss.case.serve() as service:
        loss.case.wait_for_counts(service, loss.case.truth(loss.events))
        assert not service.logged(LOSS)
        assert {record["events_lost"] for record in loss.case.results()} == {False}


def test_a_topic_made_anew_is_not_taken_for_the_one_that_was_read(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=1, settings=QUICK)
    events = make_events("alpha", 300, start_ms=START_MS, span_ms=HOUR_MS, seed=34)
    case.publish(events)
    with case.serve() as service:
        service.wait_for("all to be counted", lambda: service.counted() == 300)
        service.stop()
    # Deleting a topic may take its offsets along; a group that has them still is the harder case.
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": case.name})
    (committed,) = consumer.committed([TopicPartition(case.events_topic, 0)], timeout=TIMEOUT_S)
    case.admin.delete_topics([case.events_topic])[case.events_topic].result(TIMEOUT_S)
    case.create_topic(case.events_topic, 1)
    consumer.commit(offsets=[committed], asynchronous=False)
    consumer.close()

    with case.serve() as service:
        service.wait_for("it to stop the partition", lambda: bool(service.logged("partition stopped")))
        assert "the topic was made anew, or lost records" in str(
            service.logged("partition stopped")[0]["reason"]
        )
        scrape = service.scrape()
        assert scrape.value("driftgauge_consumer_stopped_partitions", topic=case.events_topic) == 1
        assert service.get("/readyz")[0] == 503
        assert service.get("/livez")[0] == 200
        service.stop()


def test_a_topic_that_is_deleted_is_waited_for_and_costs_the_others_no_event(
    tmp_path: Path, bootstrap: str
) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        partitions=2,
        kafka={"topic.metadata.refresh.interval.ms": 500},
        stream_settings={"idle_timeout": "1s"},
    )
    other = f"{case.name}.other"
    case.create_topic(other, 2)
    topics = {"windows": case.windows_topic, "dead_letters": case.dead_letters_topic}
    case.settings = {"topics": {"events": [case.events_topic, other], **topics}, **QUICK}
    case.write_config()
    events = make_events("alpha", 600, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=32)
    with case.serve() as service:
        service.wait_until_ready()
        case.publish(events[:300])
        service.wait_for("the first half to be counted", lambda: service.counted() == 300)

        case.admin.delete_topics([other])[other].result(TIMEOUT_S)
        service.wait_for("it to miss it", lambda: bool(service.logged("waiting for topics to be created")))
        assert service.logged("waiting for topics to be created")[0]["missing"] == [other]
        assert service.get("/livez")[0] == 200
        assert service.get("/readyz")[0] == 503
        case.publish(events[300:])

        case.create_topic(other, 2)
        case.wait_for_counts(service, case.truth(events))
        service.wait_until_ready()
        assert service.counted() == 600
        service.stop()
