"""Offsets of logs: each request's answers come once, and a partition without an answer delays no other."""

import pytest
from confluent_kafka import OFFSET_INVALID, TopicPartition

from driftgauge.kafka.offsets import LogOffsets

FIRST, SECOND = ("embeddings", 0), ("embeddings", 1)


@pytest.fixture
def offsets(admin):
    return LogOffsets(admin)


def test_collect_returns_all_answers_once(admin, offsets):
    offsets.request([])
    assert (admin.asked, offsets.collect()) == ([], {})
    offsets.request([FIRST, SECOND])
    admin.answer(0, SECOND, 42)
    assert offsets.collect() is None, "one answer is pending"
    admin.answer(0, FIRST, 0)
    assert offsets.collect() == {FIRST: 0, SECOND: 42}
    assert offsets.collect() == {}
    offsets.request([FIRST, SECOND])
    admin.answer(1, SECOND, 42)
    admin.answer(1, FIRST, OFFSET_INVALID)
    assert offsets.collect() == {SECOND: 42}, "an invalid offset counts as no answer"


def test_failed_partition_is_left_out_and_requested_separately_next_time(admin, offsets):
    offsets.request([FIRST, SECOND])
    admin.answer(0, SECOND, 42)
    assert admin.renewed == 0
    admin.fail(0, FIRST)
    assert offsets.collect() == {SECOND: 42}
    assert admin.renewed == 1
    offsets.request([FIRST, SECOND])
    assert [list(asked) for asked in admin.asked[1:]] == [[TopicPartition(*SECOND)], [TopicPartition(*FIRST)]]
    admin.answer(1, SECOND, 43)
    assert offsets.collect() == {SECOND: 43}
    offsets.request([FIRST, SECOND])
    assert [list(asked) for asked in admin.asked[3:]] == [[TopicPartition(*SECOND)]], "FIRST is still pending"
    admin.answer(2, FIRST, 7)
    admin.answer(3, SECOND, 44)
    assert offsets.collect() == {FIRST: 7, SECOND: 44}
    offsets.request([FIRST, SECOND])
    assert len(admin.asked) == 5, "both share a request again"


def test_failure_is_logged_once_until_next_answer(admin, offsets, caplog):
    for number, fails in enumerate([True, True, False, True]):
        offsets.request([FIRST])
        if fails:
            admin.fail(number, FIRST)
        else:
            admin.answer(number, FIRST, 7)
        offsets.collect()
    assert [(line.partitions, line.error) for line in caplog.records] == [(["embeddings[0]"], "why")] * 2
