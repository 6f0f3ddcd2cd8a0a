"""The last records of a topic on a real broker."""

import pytest

from driftgauge.events.timestamps import LAST_MS
from driftgauge.topics.topic_range import TopicRange
from tests.harness.topics import TIMEOUT_S

pytestmark = pytest.mark.broker


def read(cluster, number):
    with TopicRange(cluster.properties, cluster.events, 0, LAST_MS) as span:
        return [record.value() for record in span.read_last(number)]


def test_last_records_are_those_with_the_latest_timestamps(cluster):
    assert read(cluster, 5) == []
    for number in range(6):
        cluster.publish(b"%d" % number, partition=number // 4)
    assert read(cluster, 3) == [b"3", b"4", b"5"]
    assert read(cluster, 100) == [b"%d" % number for number in range(6)]
    assert cluster.count_members(cluster.group) == 0
    assert cluster.committed() == {}
    cluster.delete_records(cluster.events, 0, before=3)
    assert read(cluster, 5) == [b"3", b"4", b"5"], "deleted records are not waited for"


def test_only_committed_records_count(cluster):
    writer = cluster.writer()
    for number in range(12):
        writer.begin_transaction()
        writer.produce(cluster.events, b"%d" % number, partition=0)
        if number % 3:
            writer.abort_transaction(TIMEOUT_S)
        else:
            writer.commit_transaction(TIMEOUT_S)
    assert read(cluster, 4) == [b"0", b"3", b"6", b"9"]
    assert read(cluster, 1) == [b"9"]
    writer.begin_transaction()
    writer.produce(cluster.events, b"open", partition=0)
    writer.flush(TIMEOUT_S)
    assert read(cluster, 1) == [b"9"]
    writer.abort_transaction(TIMEOUT_S)
