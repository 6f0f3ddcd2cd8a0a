"""Tests of `driftgauge.kafka.intake`."""

import logging
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


def sort(messages):
    """Return records, ends and lost partitions."""
    found = sort_messages(messages, group=GROUP)
    return found.records, found.ends, found.lost_positions


def error_event(code, **parts):
    return FakeMessage(error=KafkaError(code, fatal=parts.pop("fatal", False)), **parts)


def end(offset, partition=0):
    return error_event(KafkaError._PARTITION_EOF, partition=partition, offset=offset)


def test_records_are_returned_in_order():
    records = [FakeMessage(offset=4), FakeMessage(partition=1, offset=2), FakeMessage(offset=5)]
    assert sort(records) == (records, {}, {})


def test_end_of_partition_reports_end_past_undelivered_records():
    record = FakeMessage(offset=4)
    expected = [record], {(TOPIC, 0): 7, (TOPIC, 1): 3}, {}
    assert sort([record, end(7), end(3, partition=1)]) == expected


def test_end_without_offset_reports_zero():
    assert sort([end(None)]) == ([], {(TOPIC, 0): 0}, {})


def test_position_missing_from_log_is_lost():
    kept = FakeMessage(offset=4)
    assert sort([kept, error_event(KafkaError._AUTO_OFFSET_RESET, partition=1)]) == (
        [kept],
        {},
        {(TOPIC, 1): None},
    )


def test_batch_that_fails_its_checksum_damages_its_partition():
    found = sort_messages([error_event(KafkaError._BAD_MSG, partition=1, offset=4)], group=GROUP)
    assert found.damaged.keys() == {(TOPIC, 1)}


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


def test_truncated_log_reports_its_end():
    text = (
        "Partition log truncation detected at offset 300 (leader epoch 1): "
        "broker end offset is 200 (offset leader epoch 0)"
    )
    truncated = FakeMessage(error=KafkaError(KafkaError._AUTO_OFFSET_RESET, text), partition=1, offset=300)
    assert sort([truncated]) == ([], {}, {(TOPIC, 1): 200})


AUTHORIZATION = [
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
]


@pytest.mark.parametrize("code", AUTHORIZATION)
def test_authorization_error_names_partition_and_remedy(code):
    with pytest.raises(
        AuthorizationError, match=r"not allowed to read embeddings\[1\] \(.*\); (check|grant) "
    ):
        sort([error_event(code, partition=1)])


def test_authorization_error_without_topic_names_cluster():
    with pytest.raises(
        AuthorizationError, match=f"not allowed to read from the cluster .*; grant Read on the group {GROUP}$"
    ):
        sort([error_event(KafkaError.GROUP_AUTHORIZATION_FAILED, topic=None)])


def test_fatal_error_event_raises_broker_error():
    with pytest.raises(
        BrokerError, match=f"the consumer of the group {GROUP} failed for good .*check the brokers"
    ):
        sort([error_event(KafkaError._STATE, topic=None, fatal=True)])


def test_other_error_event_is_logged_and_records_are_kept(caplog):
    caplog.set_level(logging.WARNING)
    kept = FakeMessage(offset=1)
    assert sort([error_event(KafkaError._TRANSPORT), kept]) == ([kept], {}, {})
    (line,) = caplog.records
    assert line.getMessage() == "the Kafka client reports an error and tries again"
    assert (line.topic, line.partition, line.group) == (TOPIC, 0, GROUP)
    assert line.remedy


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


def test_no_record_of_read_partitions_gives_empty_columns():
    read, records = to_records([FakeMessage(b"a")], {}, now_ms=NOW_MS)
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
