"""Tests of `driftgauge.kafka.intake`."""

from unittest.mock import Mock

import pytest
from confluent_kafka import (
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
)

from driftgauge.engine.windows.changelog_reader import ChangelogReader
from driftgauge.errors import AuthorizationError, BrokerError, StateError
from driftgauge.kafka.intake import sort_messages, to_records
from tests.builders.messages import TOPIC, FakeMessage

GROUP = "driftgauge"
NOW_MS = 1_762_128_000_000


def error_event(code, text=None, *, fatal=False, **parts):
    return FakeMessage(error=KafkaError(code, text, fatal=fatal), **parts)


def end(offset, partition=0):
    return error_event(KafkaError._PARTITION_EOF, partition=partition, offset=offset)


KEPT = FakeMessage(offset=4)
TRUNCATED = (
    "Partition log truncation detected at offset 300 (leader epoch 1): "
    "broker end offset is 200 (offset leader epoch 0)"
)


@pytest.mark.parametrize(
    ("messages", "ends", "lost", "damaged"),
    [
        ([KEPT, FakeMessage(partition=1, offset=2), FakeMessage(offset=5)], {}, {}, set()),
        ([KEPT, end(7), end(3, partition=1)], {(TOPIC, 0): 7, (TOPIC, 1): 3}, {}, set()),
        ([end(None)], {(TOPIC, 0): 0}, {}, set()),
        ([KEPT, error_event(KafkaError._AUTO_OFFSET_RESET, partition=1)], {}, {(TOPIC, 1): None}, set()),
        ([error_event(KafkaError._AUTO_OFFSET_RESET, TRUNCATED, partition=1)], {}, {(TOPIC, 1): 200}, set()),
        ([error_event(KafkaError._BAD_MSG, partition=1, offset=4)], {}, {}, {(TOPIC, 1)}),
        ([error_event(KafkaError._TRANSPORT), KEPT], {}, {}, set()),
    ],
    ids=["records", "ends", "an empty log", "a lost position", "a truncated log", "damage", "another error"],
)
def test_poll_is_sorted(messages, ends, lost, damaged):
    found = sort_messages(messages, group=GROUP)
    assert found.records == [each for each in messages if each.error() is None]
    assert (found.ends, found.lost_positions, {*found.damaged}) == (ends, lost, damaged)


def test_changelog_with_a_damaged_batch_has_no_content():
    damaged = FakeMessage(topic="changelog", partition=1, offset=4, error=KafkaError(KafkaError._BAD_MSG))
    polls = iter([[damaged]])
    reader = ChangelogReader(
        Mock(spec=Consumer, consume=lambda *_: next(polls, []), incremental_assign=Mock()), "changelog", {}
    )
    for shard in (0, 1):
        reader.begin(shard)
    reader.poll()
    assert not reader.has_reached(0, 9)
    with pytest.raises(StateError, match=r"damaged on the broker's disk"):
        reader.has_reached(1, 9)
    reader.begin(1)
    assert not reader.has_reached(1, 9), "it is read again"


def test_truncated_changelog_needs_new_clients():
    lost = FakeMessage(topic="changelog", partition=1, error=KafkaError(KafkaError._AUTO_OFFSET_RESET))
    reader = ChangelogReader(Mock(spec=Consumer, consume=lambda *_: [lost]), "changelog", {})
    with pytest.raises(BrokerError, match=r"changelog\[1\] was truncated while it was read"):
        reader.poll()


@pytest.mark.parametrize(
    ("event", "raised", "text"),
    [
        *(
            (
                error_event(code, partition=1),
                AuthorizationError,
                r"embeddings\[1\] \(.*\); (check|grant) ",
            )
            for code in (
                KafkaError.CLUSTER_AUTHORIZATION_FAILED,
                KafkaError.GROUP_AUTHORIZATION_FAILED,
                KafkaError.SASL_AUTHENTICATION_FAILED,
                KafkaError.TOPIC_AUTHORIZATION_FAILED,
            )
        ),
        (
            error_event(KafkaError.GROUP_AUTHORIZATION_FAILED, topic=None),
            AuthorizationError,
            f"not allowed to read from the cluster .*; grant Read on the group {GROUP}$",
        ),
        (
            error_event(KafkaError._STATE, topic=None, fatal=True),
            BrokerError,
            f"the consumer of the group {GROUP} failed for good .*check the brokers",
        ),
    ],
)
def test_error_that_lasts_is_raised_with_its_remedy(event, raised, text):
    with pytest.raises(raised, match=text):
        sort_messages([event], group=GROUP)


def test_other_error_is_logged(caplog):
    sort_messages([error_event(KafkaError._TRANSPORT)], group=GROUP)
    (line,) = caplog.records
    assert line.getMessage() == "the Kafka client reports an error and tries again"
    assert (line.topic, line.partition, line.group) == (TOPIC, 0, GROUP)


def test_columns_hold_records_of_read_partitions_with_codes_and_offsets():
    messages = [
        FakeMessage(b"a", offset=4),
        FakeMessage(b"not read", partition=2),
        FakeMessage(None, partition=1, offset=2**40),
        FakeMessage(b"", offset=5),
    ]
    read, records = to_records(messages, {(TOPIC, 0): 3, (TOPIC, 1): 0}, now_ms=NOW_MS)
    assert read == records.raw == [messages[0], *messages[2:]]
    assert records.partition.tolist() == [3, 0, 3]
    assert records.offset.tolist() == [4, 2**40, 5]
    read, records = to_records(messages, {}, now_ms=NOW_MS)
    assert (list(read), len(records.partition), len(records.credible_ms)) == ([], 0, 0)


@pytest.mark.parametrize(
    ("kind", "stamp_ms", "credible_ms"),
    [
        # A record timestamp ahead of the replica's clock is not credible.
        (TIMESTAMP_LOG_APPEND_TIME, NOW_MS - 5_000, NOW_MS - 5_000),
        (TIMESTAMP_LOG_APPEND_TIME, NOW_MS + 5_000, NOW_MS),
        (TIMESTAMP_CREATE_TIME, NOW_MS - 5_000, NOW_MS - 5_000),
        (TIMESTAMP_CREATE_TIME, NOW_MS + 5_000, NOW_MS),
        (TIMESTAMP_NOT_AVAILABLE, 0, NOW_MS),
        (TIMESTAMP_NOT_AVAILABLE, NOW_MS + 5_000, NOW_MS),
    ],
)
def test_credible_time_is_bounded_by_record_and_clock(kind, stamp_ms, credible_ms):
    _, records = to_records([FakeMessage(stamp=(kind, stamp_ms))], {(TOPIC, 0): 0}, now_ms=NOW_MS)
    assert records.credible_ms.tolist() == [credible_ms]
