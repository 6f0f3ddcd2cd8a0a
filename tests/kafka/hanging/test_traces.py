"""The traces of a transaction in its records, and the partition of a group's offsets."""

import struct

import pytest

from driftgauge.core.counting.partial import CommitId, PartitionProgress
from driftgauge.core.windows.changelog import HistoryKey, PositionKey, ShardPosition
from driftgauge.errors import StateError
from driftgauge.kafka.hanging.model import Batch, OffsetMove
from driftgauge.kafka.hanging.traces import StageTopics, Traces, offsets_partition, read_traces
from driftgauge.records import changelog
from driftgauge.records.partials import encode_commit

TOPICS = StageTopics("partials", "changelog", "watch", "watch.windows")
COMMIT = CommitId("count-1", 4, 17)


def batch(*records):
    return [Batch(0, len(records) - 1, 0, 0, 1, None, records)]


def progress(partition, start, end):
    return PartitionProgress(("embeddings", partition), "", 4, start, end, False, 0, 0, None)


def parts(*partitions, limit=1_000_000):
    return [(None, part) for part in encode_commit(COMMIT, 2, (), (), partitions, limit)]


def offset_record(group, topic, partition, end, version=1):
    def text(value):
        return struct.pack(">h", len(value.encode())) + value.encode()

    key = struct.pack(">h", version) + text(group) + text(topic) + struct.pack(">i", partition)
    return key, struct.pack(">hqi", 3, end, -1) + b"\x00\x00"


def test_progress_moves_offsets_of_partitions_with_events():
    found = read_traces(("partials", 1), batch(*parts(progress(0, 5, 9), progress(1, 7, 7))), TOPICS)
    assert found == Traces({COMMIT}, {OffsetMove("watch", ("embeddings", 0), 9)}, is_whole=True)


def test_empty_record_leaves_no_trace():
    written = parts(progress(0, 5, 9))
    assert read_traces(("partials", 1), batch((None, b""), *written), TOPICS) == read_traces(
        ("partials", 1), batch(*written), TOPICS
    )


def test_commit_without_its_last_part_is_not_whole():
    written = parts(*(progress(index, 0, 9) for index in range(40)), limit=2_000)
    assert len(written) > 1
    found = read_traces(("partials", 1), batch(*written[:-1]), TOPICS)
    assert found.commits == {COMMIT}
    assert not found.is_whole
    assert read_traces(("partials", 1), batch(*written), TOPICS).is_whole


def test_position_moves_the_shards_offset():
    position = changelog.encode_value(ShardPosition(2, 31, 0, "windows-1"))
    records = [
        (changelog.encode_key(HistoryKey("search", 60_000)), None),
        (changelog.encode_key(PositionKey()), position),
    ]
    found = read_traces(("changelog", 1), batch(*records), TOPICS)
    assert found == Traces(set(), {OffsetMove("watch.windows", ("partials", 1), 31)}, is_whole=True)
    assert not read_traces(("changelog", 1), batch(records[0]), TOPICS).is_whole


def test_only_offsets_of_own_groups_leave_traces():
    records = [
        offset_record("watch", "embeddings", 3, 25),
        offset_record("watch.windows", "partials", 1, 8),
        offset_record("another", "embeddings", 3, 25),
        offset_record("watch", "embeddings", 3, 25, version=2),
        (offset_record("watch", "embeddings", 5, 1)[0], None),
    ]
    found = read_traces(("__consumer_offsets", 0), batch(*records), TOPICS)
    assert found.moves == {
        OffsetMove("watch", ("embeddings", 3), 25),
        OffsetMove("watch.windows", ("partials", 1), 8),
    }


def test_damaged_record_raises():
    with pytest.raises(StateError, match="malformed"):
        read_traces(("partials", 0), batch((None, b"\x02nothing")), TOPICS)


def test_traces_match_by_commit_or_move():
    move = OffsetMove("watch", ("embeddings", 0), 9)
    assert Traces({COMMIT}).matches(Traces({COMMIT}, {move}))
    assert Traces(set(), {move}).matches(Traces({COMMIT}, {move}))
    assert not Traces({COMMIT}, {move}).matches(Traces({CommitId("count-1", 4, 18)}))


# Absolute values of Java's hashCode(); the last one is the least integer, for which Kafka uses 0.
@pytest.mark.parametrize(
    ("group", "code"),
    [("a", 97), ("driftgauge", 301_196_560), ("watch.windows", 269_338_524), ("polygenelubricants", 0)],
)
def test_partition_of_group_offsets_follows_java_hash(group, code):
    assert offsets_partition(group, 50) == ("__consumer_offsets", code % 50)
