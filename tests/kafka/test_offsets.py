import uuid

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition

from driftgauge.kafka import client
from driftgauge.kafka.offsets import LogOffsets
from tests.kafka.cluster import Cluster
from tests.kafka.parts import TOPIC, SlowAdmin

FIRST, SECOND = (TOPIC, 0), (TOPIC, 1)


class Answer:
    def __init__(self, offset):
        self.offset = offset


@pytest.fixture
def admin():
    return SlowAdmin()


@pytest.fixture
def offsets(admin):
    return LogOffsets(admin)


def answer(admin, request, partition, offset):
    admin.asked[request][TopicPartition(*partition)].set_result(Answer(offset))


def test_the_answers_come_together_and_once(admin, offsets):
    offsets.request([FIRST, SECOND])
    assert offsets.collect() is None
    answer(admin, 0, SECOND, 42)
    assert offsets.collect() is None, "one answer is still to come"
    answer(admin, 0, FIRST, 0)
    assert offsets.collect() == {FIRST: 0, SECOND: 42}
    assert offsets.collect() == {}
    assert len(admin.asked) == 1


def test_nothing_is_asked_for_where_nothing_is_wanted(admin, offsets):
    offsets.request([])
    assert admin.asked == []
    assert offsets.collect() == {}


def fail(admin, request, partition):
    error = KafkaException(KafkaError(KafkaError._TIMED_OUT, "why"))
    admin.asked[request][TopicPartition(*partition)].set_exception(error)


def test_of_partitions_without_an_answer_the_others_answers_are_given(admin, offsets):
    offsets.request([FIRST, SECOND])
    answer(admin, 0, SECOND, 42)
    fail(admin, 0, FIRST)
    assert offsets.collect() == {SECOND: 42}
    offsets.request([FIRST])
    answer(admin, 1, FIRST, 9)
    assert offsets.collect() == {FIRST: 9}


def test_what_a_paused_process_is_answered_too_late_is_no_offset(admin, offsets):
    offsets.request([FIRST, SECOND])
    answer(admin, 0, SECOND, 42)
    answer(admin, 0, FIRST, OFFSET_INVALID)
    assert offsets.collect() == {SECOND: 42}


def test_that_answers_fail_is_said_once_until_they_come_again(admin, offsets, caplog):
    for request, fails in enumerate([True, True, False, True]):
        offsets.request([FIRST, SECOND])
        for at in (FIRST, SECOND):
            if fails:
                fail(admin, request, at)
            else:
                answer(admin, request, at, 7)
        offsets.collect()
    lines = [(line.getMessage(), line.partitions, line.error) for line in caplog.records]
    assert lines == [("offsets unknown", ["embeddings[0]", "embeddings[1]"], "why")] * 2


@pytest.mark.integration
def test_a_log_has_a_beginning_an_end_and_a_stable_end(bootstrap):
    with Cluster(bootstrap) as cluster:
        for _ in range(5):
            cluster.publish(b"x", partition=1)
        cluster.forget(partition=1, before=2)
        writer = client.transactional_producer(cluster.properties, uuid.uuid4().hex)
        writer.init_transactions(10)
        writer.begin_transaction()
        writer.produce(cluster.events, b"open", partition=1)
        assert writer.flush(10) == 0
        at = cluster.events, 1
        assert cluster.ask([at], earliest=True) == {at: 2}
        assert cluster.ask([at], stable=True) == {at: 5}
        assert cluster.ask([at]) == {at: 6}
        writer.abort_transaction(10)
        for which in ({}, {"stable": True}):
            cluster.await_that(lambda which=which: cluster.ask([at], **which) == {at: 7}, "the marker")
