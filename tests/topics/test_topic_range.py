"""The records of a partition that a range has, without a broker."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError, TopicPartition

from driftgauge.errors import BrokerError
from driftgauge.kafka import client
from driftgauge.topics import topic_log, topic_range
from tests.builders.messages import FakeMessage

UNTIL_MS = 1_000
LATE_MS = 5_000


def record(offset, time_ms=0):
    return FakeMessage(topic="events", offset=offset, stamp=(TIMESTAMP_CREATE_TIME, time_ms))


def end(offset, partition=0):
    error = KafkaError(KafkaError._PARTITION_EOF)
    return FakeMessage(topic="events", partition=partition, offset=offset, error=error)


def read(monkeypatch, batches, start=0, stop=100):
    """Return the offsets that a range from `start` to the end `stop` of its one partition has."""
    known = {"events": SimpleNamespace(partitions=range(1), error=None)}
    polls = iter(batches)
    # Clients of the topic: of its offsets by time, the first one for the beginning, and nothing so late.
    topic = Mock(
        **{
            "list_topics.return_value": SimpleNamespace(topics=known, controller_id=1, brokers={}),
            "get_watermark_offsets.return_value": (start, stop),
            "offsets_for_times.side_effect": lambda asked, **_: [
                TopicPartition(at.topic, at.partition, start if at.offset < 0 else -1) for at in asked
            ],
            "consume.side_effect": lambda *_: next(polls, []),
        }
    )
    monkeypatch.setattr(topic_range, "admin", lambda *_, **__: topic)
    monkeypatch.setattr(client, "groupless_consumer", lambda *_, **__: topic)
    with topic_range.TopicRange({}, "events", 0, UNTIL_MS, later_records=3) as records:
        found = [message.offset() for batch in records.batches() for message in batch]
    (((at,),), _) = topic.assign.call_args
    assert (at.partition, at.offset) == (0, start)
    return found


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
def test_partition_is_read(monkeypatch, batches, start, stop, offsets):
    assert read(monkeypatch, batches, start, stop) == offsets


LOST = FakeMessage(topic="events", offset=3, error=KafkaError(KafkaError._AUTO_OFFSET_RESET))


@pytest.mark.parametrize(
    ("batches", "problem"),
    [
        ([[LOST]], r"deleted records of events\[0\] from offset 3 on .* run again"),
        ([], r"events\[0\] gave no records for 0 s at offset 3, before 100"),
    ],
)
def test_missing_records_are_reported(monkeypatch, batches, problem):
    monkeypatch.setattr(topic_log.TopicLog.read, "__defaults__", (0,))
    with pytest.raises(BrokerError, match=problem):
        read(monkeypatch, batches, start=3)
