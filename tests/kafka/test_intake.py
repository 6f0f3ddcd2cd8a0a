import logging

import pytest
from confluent_kafka import (
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    TIMESTAMP_NOT_AVAILABLE,
    KafkaError,
)

from driftgauge.errors import AuthorizationError, BrokerError
from driftgauge.kafka.assignment import Assignment
from driftgauge.kafka.intake import PositionLost, read_notices, to_records
from tests.kafka.parts import TOPIC, Record

NOW_MS = 1_762_128_000_000


@pytest.fixture
def assignment():
    return Assignment({(TOPIC, 0): 2, (TOPIC, 1): 0})


def notice(code, **parts):
    return Record(error=KafkaError(code, fatal=parts.pop("fatal", False)), **parts)


def end(offset, partition=0):
    return notice(KafkaError._PARTITION_EOF, partition=partition, offset=offset)


def test_records_of_held_partitions_are_returned_in_order(assignment):
    records = [Record(offset=4), Record(partition=1, offset=2), Record(offset=5)]
    assert read_notices(records, assignment) == records


def test_a_record_does_not_advance_the_position_before_it_is_counted(assignment):
    read_notices([Record(offset=4)], assignment)
    assert assignment.positions[0] == 2


@pytest.mark.parametrize(
    "where", [{"partition": 2}, {"topic": "other"}, {"topic": None}, {"partition": None}]
)
def test_a_record_of_a_partition_that_is_not_held_is_dropped(assignment, where):
    kept = Record(offset=9)
    assert read_notices([Record(**where), kept], assignment) == [kept]


def test_an_end_of_partition_advances_the_position_past_what_is_never_delivered(assignment):
    assert read_notices([Record(offset=4), end(7), end(3, partition=1)], assignment) != []
    assert assignment.positions == {0: 7, 1: 3}


def test_the_end_of_a_partition_that_is_not_held_is_passed_over(assignment):
    assert read_notices([end(7, partition=2)], assignment) == []
    assert assignment.positions == {0: 2, 1: 0}


def test_an_end_without_an_offset_advances_nothing(assignment):
    read_notices([end(None)], assignment)
    assert assignment.positions[0] == 2


def test_a_position_that_the_log_does_not_keep_is_lost(assignment):
    with pytest.raises(PositionLost, match=r"embeddings\[1\]"):
        read_notices([Record(offset=4), notice(KafkaError._AUTO_OFFSET_RESET, partition=1)], assignment)


def test_a_position_that_is_lost_of_a_partition_that_is_not_held_is_passed_over(assignment):
    kept = Record(offset=4)
    assert read_notices([notice(KafkaError._AUTO_OFFSET_RESET, partition=2), kept], assignment) == [kept]


AUTHORIZATION = [
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
]


@pytest.mark.parametrize("code", AUTHORIZATION)
@pytest.mark.parametrize("held", [{(TOPIC, 1): 0}, {}])
def test_what_must_not_be_read_is_the_operators_to_mend_whether_it_is_held_or_not(code, held):
    with pytest.raises(
        AuthorizationError, match=r"embeddings\[1\] must not be read \(.*\); check the client's rights"
    ):
        read_notices([notice(code, partition=1)], Assignment(held))


def test_what_must_not_be_done_with_no_topic_in_particular_names_the_cluster(assignment):
    with pytest.raises(AuthorizationError, match="the cluster must not be read"):
        read_notices([notice(KafkaError.GROUP_AUTHORIZATION_FAILED, topic=None)], assignment)


def test_a_fatal_notice_is_the_consumers_end(assignment):
    with pytest.raises(BrokerError, match="the consumer failed for good"):
        read_notices([notice(KafkaError._STATE, topic=None, fatal=True)], assignment)


def test_any_other_notice_is_logged_and_the_records_beside_it_are_kept(assignment, caplog):
    caplog.set_level(logging.WARNING)
    kept = Record(offset=1)
    assert read_notices([notice(KafkaError._TRANSPORT), kept], assignment) == [kept]
    (line,) = caplog.records
    assert line.getMessage() == "broker notice"
    assert line.topic == TOPIC


def test_columns_hold_what_the_records_hold(assignment):
    taken = [Record(b"a", offset=4), Record(None, partition=1, offset=2**40), Record(b"", offset=5)]
    records = to_records(taken, assignment, now_ms=NOW_MS)
    assert records.values == [b"a", None, b""]
    assert records.partition.tolist() == [0, 1, 0]
    assert records.offset.tolist() == [4, 2**40, 5]


@pytest.mark.parametrize(
    ("kind", "stamp_ms", "credible_ms"),
    [
        # The broker's clock is the one that is believed, wherever it stands.
        (TIMESTAMP_LOG_APPEND_TIME, NOW_MS - 5_000, NOW_MS - 5_000),
        (TIMESTAMP_LOG_APPEND_TIME, NOW_MS + 5_000, NOW_MS + 5_000),
        # A producer's clock is believed where it is behind the service's own.
        (TIMESTAMP_CREATE_TIME, NOW_MS - 5_000, NOW_MS - 5_000),
        (TIMESTAMP_CREATE_TIME, NOW_MS + 5_000, NOW_MS),
        (TIMESTAMP_NOT_AVAILABLE, 0, NOW_MS),
        (TIMESTAMP_NOT_AVAILABLE, NOW_MS + 5_000, NOW_MS),
    ],
)
def test_the_latest_credible_time_is_bounded_by_the_record_and_by_the_clock(
    assignment, kind, stamp_ms, credible_ms
):
    records = to_records([Record(stamp=(kind, stamp_ms))], assignment, now_ms=NOW_MS)
    assert records.credible_ms.tolist() == [credible_ms]
