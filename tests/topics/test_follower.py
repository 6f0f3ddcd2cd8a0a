"""The reader of window results on a real broker."""

import logging
from contextlib import contextmanager

import pytest

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.errors import BrokerError
from driftgauge.kafka import client
from driftgauge.kafka.login import Login
from driftgauge.topics.follower import TopicFollower
from tests.builders.clocks import DAY_MS
from tests.harness.relay import Relay
from tests.harness.topics import TIMEOUT_S
from tests.waiting import wait_for

pytestmark = pytest.mark.broker


@contextmanager
def reading(cluster, received, positions=None, **properties):
    """Read the events topic, and append what is passed on to a list: value, partition, offset."""

    def receive(record):
        if record.value() == b"not a result":
            message = "it is no window result"
            raise ValueError(message)
        received.append((record.value(), record.partition(), record.offset()))

    login = Login({**cluster.properties, **properties})
    reader = TopicFollower(login, cluster.events, receive, SYSTEM_CLOCK, history_ms=DAY_MS)
    reader._positions = positions or {}
    reader.start()
    try:
        yield reader
    finally:
        reader.stop()


@pytest.fixture
def received():
    return []


def values(received):
    return [value for value, *_ in received]


def test_committed_results_are_passed_on_and_then_each_new_one(cluster, received, caplog):
    with reading(cluster, received) as reader:
        wait_for("the end of an empty topic", lambda: reader.has_caught_up)
        assert (reader.error, received) == (None, [])
    writer = cluster.writer()
    for value, ends in ((b"aborted", writer.abort_transaction), (b"1", writer.commit_transaction)):
        writer.begin_transaction()
        writer.produce(cluster.events, value, partition=0)
        ends(TIMEOUT_S)
    cluster.publish(b"not a result", b"2", partition=0)
    cluster.publish(b"3", partition=1)
    with caplog.at_level(logging.WARNING), reading(cluster, received) as reader:
        wait_for("the topic's end", lambda: reader.has_caught_up)
        assert sorted(values(received)) == [b"1", b"2", b"3"]
        cluster.publish(b"4", partition=1)
        wait_for("the new result", lambda: b"4" in values(received))
        assert [record for record in received if record[1] == 1] == [(b"3", 1, 0), (b"4", 1, 1)]
        assert cluster.count_members(cluster.group) == 0
        cluster.delete_records(cluster.events, 1, before=2)
        assert reader.fetch(1, 0) == b"3", "a result that was read outlives its record"
    assert cluster.committed() == {}
    (logged,) = [record for record in caplog.records if record.message == "a record is not shown"]
    assert (logged.partition, logged.error) == (0, "it is no window result")


def test_results_older_than_history_are_left_out(cluster, received):
    producer = client.producer(cluster.properties)
    now_ms = SYSTEM_CLOCK.wall_ms()
    for age in (3, 2, 0):
        producer.produce(cluster.events, b"%d" % age, partition=0, timestamp=now_ms - age * DAY_MS)
    producer.produce(cluster.events, b"old", partition=1, timestamp=now_ms - 2 * DAY_MS)
    assert producer.flush(TIMEOUT_S) == 0
    with reading(cluster, received) as reader:
        wait_for("the topic's end", lambda: reader.has_caught_up)
        assert values(received) == [b"0"]
        cluster.publish(b"new", partition=1)
        wait_for("the new result", lambda: b"new" in values(received))


def test_position_that_retention_has_passed_goes_on_at_the_earliest_record(cluster, received, caplog):
    cluster.publish(*(b"%d" % number for number in range(4)), partition=0)
    cluster.publish(b"read before", partition=1)
    cluster.delete_records(cluster.events, 0, before=2)
    with reading(cluster, received, positions={0: 1, 1: 1}) as reader:
        wait_for("the topic's end", lambda: reader.has_caught_up)
    assert values(received) == [b"2", b"3"]
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


def test_result_is_fetched_by_its_offset_unless_deleted(cluster, received, caplog):
    cluster.publish(*(b"%d" % number for number in range(9)), partition=1)
    with (
        Relay(cluster.bootstrap) as relay,
        reading(
            cluster, received, positions={0: 0, 1: 9}, **{"bootstrap.servers": relay.bootstrap}
        ) as reader,
    ):
        assert [reader.fetch(1, offset) for offset in (7, 0, 7)] == [b"7", b"0", b"7"]
        cluster.delete_records(cluster.events, 1, before=6)
        assert [reader.fetch(1, offset) for offset in (5, 8, 9)] == [None, b"8", None]
        assert caplog.records == []
        relay.cut()
        with pytest.raises(BrokerError, match=r"the offsets of .*\[1\] are unknown"):
            reader.fetch(1, 6)
        relay.reconnect()
        assert reader.fetch(1, 6) == b"6"
    assert received == []
