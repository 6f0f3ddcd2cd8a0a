"""The delivery reports of one transaction: appends, unwritable partitions, records too large."""

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError

from driftgauge.kafka.clock import Append
from driftgauge.kafka.deliveries import Deliveries
from tests.builders.messages import TOPIC, FakeMessage

NOW_MS = 1_800_000_000_000


def appended(time_ms):
    return FakeMessage(stamp=(TIMESTAMP_LOG_APPEND_TIME, time_ms))


@pytest.fixture
def deliveries():
    ticks_ms = iter(range(NOW_MS, NOW_MS + 100))
    return Deliveries(lambda: next(ticks_ms))


def test_append_is_first_report_with_log_append_time(deliveries):
    deliveries.report(None, FakeMessage())
    assert deliveries.append is None
    deliveries.report(None, appended(NOW_MS + 5))
    deliveries.report(None, appended(NOW_MS + 9))
    assert deliveries.append == Append(NOW_MS, NOW_MS + 1, NOW_MS + 5)
    assert not deliveries.failed


@pytest.mark.parametrize("code", [KafkaError._MSG_TIMED_OUT, KafkaError.NOT_ENOUGH_REPLICAS])
def test_undelivered_record_marks_partition_unwritable(deliveries, code):
    deliveries.report(KafkaError(code), FakeMessage(partition=3))
    assert (deliveries.unwritable, deliveries.too_large) == ({(TOPIC, 3)}, set())
    assert deliveries.error.code() == code


def test_record_too_large_marks_partition_too_large(deliveries):
    deliveries.report(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), FakeMessage(partition=3))
    assert (deliveries.unwritable, deliveries.too_large) == (set(), {(TOPIC, 3)})
    assert deliveries.failed


@pytest.mark.parametrize(
    "code", [KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.TOPIC_AUTHORIZATION_FAILED]
)
def test_producer_error_marks_no_partition(deliveries, code):
    deliveries.report(KafkaError(code), FakeMessage(partition=3))
    assert not deliveries.failed
    assert deliveries.error.code() == code


def test_purged_record_marks_partition_only_after_blame(deliveries):
    deliveries.report(KafkaError(KafkaError._PURGE_QUEUE), FakeMessage(partition=3))
    assert not deliveries.failed
    deliveries.blame_purged()
    assert deliveries.unwritable == {(TOPIC, 3)}
