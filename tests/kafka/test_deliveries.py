import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, KafkaError

from driftgauge.kafka.clock import Append
from driftgauge.kafka.deliveries import Deliveries

NOW_MS = 1_800_000_000_000


class ToldMessage:
    def __init__(self, partition=0, kind=TIMESTAMP_CREATE_TIME, time_ms=NOW_MS):
        self._partition = partition
        self._stamp = kind, time_ms

    def topic(self):
        return "t"

    def partition(self):
        return self._partition

    def timestamp(self):
        return self._stamp


def appended(time_ms):
    return ToldMessage(kind=TIMESTAMP_LOG_APPEND_TIME, time_ms=time_ms)


@pytest.fixture
def deliveries():
    ticks_ms = iter(range(NOW_MS, NOW_MS + 100))
    return Deliveries(lambda: next(ticks_ms))


def test_first_append_by_the_brokers_clock_is_kept(deliveries):
    deliveries.report(None, ToldMessage())
    assert deliveries.append is None
    deliveries.report(None, appended(NOW_MS + 5))
    deliveries.report(None, appended(NOW_MS + 9))
    assert deliveries.append == Append(NOW_MS, NOW_MS + 1, NOW_MS + 5)
    assert not deliveries.failed


@pytest.mark.parametrize("code", [KafkaError._MSG_TIMED_OUT, KafkaError.NOT_ENOUGH_REPLICAS])
def test_record_that_was_not_taken_names_its_partition(deliveries, code):
    deliveries.report(KafkaError(code), ToldMessage(3))
    assert (deliveries.unwritable, deliveries.too_large) == ({("t", 3)}, set())
    assert deliveries.error.code() == code


def test_record_refused_for_its_size_is_told_apart(deliveries):
    deliveries.report(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), ToldMessage(3))
    assert (deliveries.unwritable, deliveries.too_large) == (set(), {("t", 3)})
    assert deliveries.failed


@pytest.mark.parametrize(
    "code", [KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.TOPIC_AUTHORIZATION_FAILED]
)
def test_failure_of_the_producer_names_no_partition(deliveries, code):
    deliveries.report(KafkaError(code), ToldMessage(3))
    assert not deliveries.failed
    assert deliveries.error.code() == code


def test_purged_record_is_blamed_only_where_the_abort_was_for_the_wait(deliveries):
    deliveries.report(KafkaError(KafkaError._PURGE_QUEUE), ToldMessage(3))
    assert not deliveries.failed
    deliveries.blame_purged()
    assert deliveries.unwritable == {("t", 3)}
