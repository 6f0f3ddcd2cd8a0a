"""Tests of `driftgauge.kafka.topic_range` without a broker."""

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError

from driftgauge.errors import BrokerError
from driftgauge.kafka import topic_range
from driftgauge.kafka.topic_range import PartitionRange
from tests.builders.messages import FakeMessage

UNTIL_MS = 1_000
LATE_MS = 5_000


def record(offset, time_ms=0):
    return FakeMessage(topic="events", offset=offset, stamp=(TIMESTAMP_CREATE_TIME, time_ms))


class FakeConsumer:
    """Hands over one batch after the other, then nothing."""

    def __init__(self, *batches):
        self._batches = iter(batches)
        self.assigned = []

    def assign(self, partitions):
        self.assigned = [(each.partition, each.offset) for each in partitions]

    def consume(self, count, timeout):
        return next(self._batches, [])


def end(offset, partition=0):
    error = KafkaError(KafkaError._PARTITION_EOF)
    return FakeMessage(topic="events", partition=partition, offset=offset, error=error)


@pytest.fixture(autouse=True)
def short_limits(monkeypatch):
    monkeypatch.setattr(topic_range, "_LATER_RECORDS", 3)
    monkeypatch.setattr(topic_range, "_IDLE_S", 0)


def read(consumer, start=0, stop=100):
    batches = topic_range._read(consumer, "events", PartitionRange(0, start, stop), UNTIL_MS)
    return [message.offset() for batch in batches for message in batch]


def test_partition_is_read_from_start_to_stop():
    consumer = FakeConsumer([record(4), record(5)], [record(7), record(8)])
    assert read(consumer, start=4, stop=8) == [4, 5, 7]
    assert consumer.assigned == [(0, 4)]


def test_end_after_markers_of_transactions_ends_partition():
    assert read(FakeConsumer([record(4), end(8)]), stop=8) == [4]


def test_end_of_other_partition_ends_nothing():
    assert read(FakeConsumer([end(8, partition=1), record(3)], [record(7)]), stop=8) == [3, 7]


def test_single_later_records_are_left_out():
    batch = [record(0), record(1, LATE_MS), record(2, LATE_MS), record(3), end(4)]
    assert read(FakeConsumer(batch), stop=4) == [0, 3]


def test_later_records_in_a_row_end_partition():
    batches = ([record(0), record(1, LATE_MS)], [record(2, LATE_MS), record(3, LATE_MS)])
    assert read(FakeConsumer(*batches, [record(4)])) == [0]


def test_deleted_records_are_reported():
    lost = FakeMessage(topic="events", offset=3, error=KafkaError(KafkaError._AUTO_OFFSET_RESET))
    with pytest.raises(BrokerError, match=r"deleted records of events\[0\] from offset 3 on .* run again"):
        read(FakeConsumer([lost]), start=3)


def test_partition_without_records_is_reported():
    with pytest.raises(BrokerError, match=r"events\[0\] gave no records for 0 s at offset 3, before 100"):
        read(FakeConsumer(), start=3)
