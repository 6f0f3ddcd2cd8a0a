"""Deleted records and recreated topics: the service reports the loss and continues."""

import time
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from tests.harness.case import HOUR_MS, START_MS, Case, make_events
from tests.harness.service import NO_CHAIN_FAULTS, ReplicaProcess
from tests.harness.topics import TIMEOUT_S, non_member

pytestmark = pytest.mark.broker

LOSS = "Kafka deleted records before they were read; the windows concerned are marked"
RECREATED = "the topic was deleted and created again; the new one is read from its beginning"
LOST = 50


class TruncatedLog:
    """A case with three hours of events; some of the second hour are deleted before they are read."""

    def __init__(self, folder: Path, bootstrap: str) -> None:
        self.case = Case(
            folder,
            bootstrap,
            partitions=1,
            kafka={"session.timeout.ms": 30_000},
            stream_settings={"idle_timeout": "1h", "allowed_lateness": "1d"},
        )
        self.events = make_events("alpha", 600, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=30)

    def publish_first_half(self, service: ReplicaProcess) -> None:
        """Publish the first hour and a half, and wait until it is counted."""
        self.case.publish(self.events[:300])
        service.wait_for("the first half to be counted", lambda: service.counted() == 300)

    def publish_second_half(self) -> None:
        """Publish the second half and delete its first records."""
        self.case.publish_last(self.events[300:])
        self.case.delete_records(self.case.events_topic, 0, before=300 + LOST)

    def assert_reported(self, service: ReplicaProcess) -> None:
        """Check that the rest is counted, and that log, metric and results report the truncated."""
        kept = self.events[:300] + self.events[300 + LOST :]
        self.case.wait_for_counts(service, self.case.counts_of(kept))
        (entry,) = service.logged(LOSS)
        assert (entry["partition"], entry["records"]) == (f"{self.case.events_topic}[0]", LOST)
        assert (entry["first_offset"], entry["last_offset"]) == (300, 300 + LOST - 1)
        assert "retention" in str(entry["remedy"])
        scrape, topic = service.scrape(), self.case.events_topic
        assert scrape.value("driftgauge_offsets_skipped_total", topic=topic, place="deleted") == LOST
        final = sorted(self.case.final_results().items())
        assert [record["events_lost"] for _, record in final] == [False, True, False]
        assert service.chain_faults() == NO_CHAIN_FAULTS, "a reported loss is not a gap"
        service.wait_until_ready()


def test_records_deleted_during_downtime_are_reported(tmp_path: Path, bootstrap: str) -> None:
    truncated = TruncatedLog(tmp_path, bootstrap)
    with truncated.case.serve() as service:
        truncated.publish_first_half(service)
        service.stop()
    truncated.publish_second_half()
    with truncated.case.serve() as service:
        truncated.assert_reported(service)


def test_first_window_of_a_log_whose_beginning_was_deleted_is_marked(tmp_path: Path, bootstrap: str) -> None:
    truncated = TruncatedLog(tmp_path, bootstrap)
    case, events = truncated.case, truncated.events
    case.publish_last(events)
    case.delete_records(case.events_topic, 0, before=LOST)
    with case.serve() as service:
        case.wait_for_counts(service, case.counts_of(events[LOST:]))
        scrape = service.scrape()
        assert scrape.value("driftgauge_offsets_skipped_total", topic=case.events_topic, place="deleted") == 0
        service.stop()
    final = sorted(case.final_results().items())
    assert [record["events_lost"] for _, record in final] == [True, False, False]


def test_records_deleted_during_pause_are_reported(tmp_path: Path, bootstrap: str) -> None:
    truncated = TruncatedLog(tmp_path, bootstrap)
    with truncated.case.serve() as service:
        truncated.publish_first_half(service)
        # Records that were counted are no loss.
        truncated.case.delete_records(truncated.case.events_topic, 0, before=300)
        service.pause()
        # A fetch from before the pause must end before the publication.
        time.sleep(0.5)
        truncated.publish_second_half()
        service.resume()
        truncated.assert_reported(service)
        assert len(service.logged("partitions assigned")) == 2, "one of each role"


def test_recreated_topic_is_read_from_its_beginning(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path, bootstrap, partitions=1, stream_settings={"idle_timeout": "1h", "allowed_lateness": "1d"}
    )
    events = make_events("alpha", 600, start_ms=START_MS, span_ms=4 * HOUR_MS, seed=34)
    before, after = events[:200], events[200:]
    case.publish(before)
    with case.serve() as service:
        service.wait_for("all to be counted", lambda: service.counted() == 200)
        service.stop()
    # The broker may delete the offsets with the topic; a group that keeps them is the harder case.
    with non_member(bootstrap, case.name) as consumer:
        (committed,) = consumer.committed([TopicPartition(case.events_topic, 0)], timeout=TIMEOUT_S)
        case.delete(case.events_topic)
        case.create(case.events_topic, 1)
        consumer.commit(offsets=[committed], asynchronous=False)
    rest = case.publish_last(after)

    with case.serve() as service:
        case.wait_for_counts(service, case.counts_of(events))
        assert service.counted() == rest
        (entry,) = service.logged(RECREATED)
        assert entry["partition"] == f"{case.events_topic}[0]"
        assert service.chain_faults() == NO_CHAIN_FAULTS
        service.stop()


def test_topic_recreated_while_read_affects_no_other(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        streams=("alpha", "beta"),
        partitions=2,
        kafka={"topic.metadata.refresh.interval.ms": 500},
        # Windows may close before the recreated topic has the rest of their events.
        stream_settings={"allowed_lateness": "1d"},
    )
    other = f"{case.name}.other"
    case.create(other, 2)
    case.further_topics = [other]
    case.write_config()
    alpha = make_events("alpha", 600, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=32)
    beta = make_events("beta", 600, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=33)
    with case.serve() as service:
        service.wait_until_ready()
        case.publish(alpha[:300])
        case.publish(beta[:300], topic=other)
        service.wait_for("the first halves to be counted", lambda: service.counted() == 600)

        case.delete(other)
        service.wait_for("the topic to be revoked", lambda: service.assigned_partitions() == 2)
        case.publish(alpha[300:])
        service.wait_for("the rest of the other", lambda: service.counted("alpha") == 600)

        case.create(other, 2)
        case.publish(beta[300:], topic=other)
        case.wait_for_counts(service, case.counts_of(alpha + beta))
        assert service.counted() == 1_200
        assert service.chain_faults() == NO_CHAIN_FAULTS
        assert not service.logged("session lost; the Kafka clients are replaced")
        service.stop()
