"""The delivery reports of one transaction: appends, unwritable partitions, records too large."""

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError

from driftgauge.kafka.clock import Append
from driftgauge.kafka.deliveries import Deliveries
from tests.builders.clocks import ManualClock
from tests.builders.messages import TOPIC, FakeMessage

NOW_MS = 1_800_000_000_000


def appended(time_ms):
    return FakeMessage(stamp=(TIMESTAMP_LOG_APPEND_TIME, time_ms))


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def deliveries(clock):
    ticks_ms = iter(range(NOW_MS, NOW_MS + 100))
    return Deliveries(lambda: next(ticks_ms), clock.clock.monotonic_s)


def test_append_is_first_report_with_log_append_time(deliveries):
    deliveries.report(None, FakeMessage())
    assert deliveries.append is None
    deliveries.report(None, appended(NOW_MS + 5))
    deliveries.report(None, appended(NOW_MS + 9))
    assert deliveries.append == Append(NOW_MS, NOW_MS + 1, NOW_MS + 5)
    assert not deliveries.failed


HERE = {(TOPIC, 3)}


@pytest.mark.parametrize(
    ("code", "unwritable", "too_large"),
    [
        (KafkaError.NOT_ENOUGH_REPLICAS, HERE, set()),
        (KafkaError.MSG_SIZE_TOO_LARGE, set(), HERE),
        # The producer itself failed.
        (KafkaError._FENCED, set(), set()),
        (KafkaError.INVALID_PRODUCER_EPOCH, set(), set()),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, set(), set()),
    ],
)
def test_undelivered_record_marks_its_partition(deliveries, code, unwritable, too_large):
    deliveries.report(KafkaError(code), FakeMessage(partition=3))
    assert deliveries.failed == bool(unwritable or too_large)
    deliveries.end()
    deliveries.blame_late()
    assert (deliveries.unwritable, set(deliveries.too_large)) == (unwritable, too_large)
    assert deliveries.error.code() == code


def test_too_large_record_is_known_by_its_key(deliveries):
    error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    for key, size in ((b"first", 10), (b"large", 900), (b"last", 20)):
        deliveries.report(error, FakeMessage(b"x" * size, partition=3, key=key))
    assert deliveries.too_large == {(TOPIC, 3): b"large"}


LATE = [KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._MSG_TIMED_OUT]


@pytest.mark.parametrize("code", LATE)
@pytest.mark.parametrize(
    ("taken_from", "silent_s", "unwritable", "is_slow"),
    [
        # Of several partitions some have to wait for their turn.
        (2, 4.9, set(), True),
        (3, 4.9, set(), True),
        (2, 5, HERE, False),
        (3, 5, HERE, False),
        (None, 0, HERE, False),
    ],
)
def test_no_partition_is_blamed_while_brokers_take_records(
    deliveries, clock, code, taken_from, silent_s, unwritable, is_slow
):
    if taken_from is not None:
        deliveries.report(None, FakeMessage(partition=taken_from))
    clock.advance(silent_s)
    deliveries.end()
    # The abort takes its time as well.
    clock.advance(10)
    deliveries.report(KafkaError(code), FakeMessage(partition=3))
    # If the producer fails, records are purged as well, and its next call says why.
    assert deliveries.failed == (code == KafkaError._MSG_TIMED_OUT)
    deliveries.blame_late()
    assert (deliveries.unwritable, deliveries.is_slow) == (unwritable, is_slow)
