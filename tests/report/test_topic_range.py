"""Tests of `driftgauge.report.topic_range` without a broker."""

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError

from driftgauge.errors import BrokerError
from driftgauge.report import topic_range
from driftgauge.report.topic_range import PartitionRange
from tests.builders.messages import FakeMessage

UNTIL_MS = 1_000
LATE_MS = 5_000


def record(offset, time_ms=0):
    return FakeMessage(topic="events", offset=offset, stamp=(TIMESTAMP_CREATE_TIME, time_ms))


class FakeConsumer:
    """Hands over one batch after the other, then nothing."""

    def __init__(self, *batches):
        self._batches = iter(batches)

    def assign(self, partitions):
        (at,) = partitions
        assert at.partition == 0

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


@pytest.mark.parametrize(
    ("batches", "start", "stop", "offsets"),
    [
        ([[record(4), record(5)], [record(7), record(8)]], 4, 8, [4, 5, 7]),
        ([[record(4), end(8)]], 0, 8, [4]),
        ([[end(8, partition=1), record(3)], [record(7)]], 0, 8, [3, 7]),
        ([[record(0), record(1, LATE_MS), record(2, LATE_MS), record(3), end(4)]], 0, 4, [0, 3]),
        ([[record(0), record(1, LATE_MS)], [record(2, LATE_MS), record(3, LATE_MS)], [record(4)]], 0, 9, [0]),
    ],
    ids=[
        "from start to stop",
        "to an end after markers of transactions",
        "past the end of another partition",
        "without single later records",
        "until later records in a row",
    ],
)
def test_partition_is_read(batches, start, stop, offsets):
    assert read(FakeConsumer(*batches), start, stop) == offsets


LOST = FakeMessage(topic="events", offset=3, error=KafkaError(KafkaError._AUTO_OFFSET_RESET))


@pytest.mark.parametrize(
    ("batches", "problem"),
    [
        ([[LOST]], r"deleted records of events\[0\] from offset 3 on .* run again"),
        ([], r"events\[0\] gave no records for 0 s at offset 3, before 100"),
    ],
)
def test_missing_records_are_reported(batches, problem):
    with pytest.raises(BrokerError, match=problem):
        read(FakeConsumer(*batches), start=3)
