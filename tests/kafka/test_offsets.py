"""Tests of `driftgauge.kafka.offsets`."""

import pytest
from confluent_kafka import OFFSET_INVALID, TopicPartition

from driftgauge.kafka.offsets import LogOffsets
from tests.kafka.cluster import Cluster

TOPIC = "embeddings"

FIRST, SECOND = (TOPIC, 0), (TOPIC, 1)


@pytest.fixture
def offsets(admin):
    return LogOffsets(admin)


def test_collect_returns_all_answers_once(admin, offsets):
    offsets.request([FIRST, SECOND])
    assert offsets.collect() is None
    admin.answer(0, SECOND, 42)
    assert offsets.collect() is None, "one answer is pending"
    admin.answer(0, FIRST, 0)
    assert offsets.collect() == {FIRST: 0, SECOND: 42}
    assert offsets.collect() == {}
    assert len(admin.asked) == 1


def test_failed_answer_renews_client(admin, offsets):
    offsets.request([FIRST, SECOND])
    admin.answer(0, FIRST, 0)
    assert admin.renewed == 0
    admin.fail(0, SECOND)
    offsets.collect()
    assert admin.renewed == 1


def test_empty_request_asks_nothing(admin, offsets):
    offsets.request([])
    assert admin.asked == []
    assert offsets.collect() == {}


def test_failed_partition_is_left_out(admin, offsets):
    offsets.request([FIRST, SECOND])
    admin.answer(0, SECOND, 42)
    admin.fail(0, FIRST)
    assert offsets.collect() == {SECOND: 42}
    offsets.request([FIRST])
    admin.answer(1, FIRST, 9)
    assert offsets.collect() == {FIRST: 9}


def test_invalid_offset_counts_as_no_answer(admin, offsets):
    offsets.request([FIRST, SECOND])
    admin.answer(0, SECOND, 42)
    admin.answer(0, FIRST, OFFSET_INVALID)
    assert offsets.collect() == {SECOND: 42}


def test_failure_is_logged_once_until_next_answer(admin, offsets, caplog):
    for fails in [True, True, False, True]:
        begun = len(admin.asked)
        offsets.request([FIRST, SECOND])
        for request in range(begun, len(admin.asked)):
            for at in list(admin.asked[request]):
                where = (at.topic, at.partition)
                if fails:
                    admin.fail(request, where)
                else:
                    admin.answer(request, where, 7)
        offsets.collect()
    lines = [(line.getMessage(), line.partitions, line.error) for line in caplog.records]
    assert (
        lines
        == [
            (
                "Kafka does not tell the offsets of some partitions; they are asked for again",
                ["embeddings[0]", "embeddings[1]"],
                "why",
            )
        ]
        * 2
    )


def test_failed_partition_is_requested_separately_next_time(admin, offsets):
    offsets.request([FIRST, SECOND])
    admin.fail(0, FIRST)
    admin.answer(0, SECOND, 42)
    assert offsets.collect() == {SECOND: 42}
    offsets.request([FIRST, SECOND])
    assert [list(asked) for asked in admin.asked[1:]] == [[TopicPartition(*SECOND)], [TopicPartition(*FIRST)]]
    assert offsets.collect() is None
    admin.answer(1, SECOND, 43)
    assert offsets.collect() == {SECOND: 43}
    offsets.request([FIRST, SECOND])
    assert [list(asked) for asked in admin.asked[3:]] == [[TopicPartition(*SECOND)]], "FIRST is still pending"
    admin.answer(2, FIRST, 7)
    admin.answer(3, SECOND, 44)
    assert offsets.collect() == {FIRST: 7, SECOND: 44}
    offsets.request([FIRST, SECOND])
    assert len(admin.asked) == 5, "both share a request again"


@pytest.mark.broker
def test_real_log_has_beginning_end_and_stable_end(bootstrap):
    with Cluster(bootstrap) as cluster:
        for _ in range(5):
            cluster.publish(b"x", partition=1)
        cluster.delete_records(partition=1, before=2)
        writer = cluster.writer()
        writer.begin_transaction()
        writer.produce(cluster.events, b"open", partition=1)
        assert writer.flush(10) == 0
        at = cluster.events, 1
        assert cluster.offsets([at], earliest=True) == {at: 2}
        assert cluster.offsets([at], stable=True) == {at: 5}
        assert cluster.offsets([at]) == {at: 6}
        writer.abort_transaction(10)
        for which in ({}, {"stable": True}):
            cluster.await_that(lambda which=which: cluster.offsets([at], **which) == {at: 7}, "the marker")
