"""Tests of `driftgauge.kafka.source_partitions`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.counting.interval import ShardDelta
from driftgauge.core.counting.partial import StreamTime
from driftgauge.kafka.offset_barrier import Start
from driftgauge.kafka.source_partitions import SourcePartitions
from driftgauge.telemetry.record_loss import RecordLoss

FIRST, SECOND = ("embeddings", 0), ("embeddings", 1)


def start(committed=0, *, lost=0, begins=False, leader_epoch=-1):
    return Start(committed, committed + lost, begins, lost, leader_epoch)


@pytest.fixture
def sources():
    return SourcePartitions()


def add(sources, partition=FIRST, at=None):
    return sources.add(partition, at or start(), "id", 1_000)


def read_to(source, position):
    """Read all records up to a position."""
    source.read(source.position, position, records=max(position - source.position, 0))


def test_partition_added_again_keeps_its_code(sources):
    first, second = add(sources), add(sources, SECOND)
    assert first.code != second.code
    assert sources.remove([FIRST, ("other", 0)]) == [FIRST]
    assert sources.find(*FIRST) is None
    assert add(sources).code == first.code
    assert sources.names == {first.code: FIRST, second.code: SECOND}
    assert sources.by_code(second.code) is second


def test_find_with_partial_name_returns_none(sources):
    add(sources)
    assert sources.find(None, 0) is None
    assert sources.find("embeddings", None) is None


def test_progress_covers_records_since_last_commit(sources):
    source = add(sources, at=start(40, lost=5, leader_epoch=3))
    read_to(source, 60)
    progress = source.progress(4)
    assert (progress.start, progress.end, progress.lost, progress.begins) == (40, 60, 5, False)
    assert (progress.topic_id, progress.partitions, progress.since_ms, progress.caught_up_ms) == (
        "id",
        4,
        1_000,
        None,
    )
    source.commit()
    again = source.progress(4)
    assert (again.start, again.end, again.lost) == (60, 60, 0)


def test_loss_names_offsets_until_commit(sources):
    source = add(sources, at=start(880, lost=120))
    assert source.loss == RecordLoss(120, 880)
    assert source.loss.last == 999
    source.commit()
    assert source.loss is None


def test_first_progress_without_committed_offset_begins(sources):
    source = add(sources, at=start(7, begins=True))
    assert source.progress(1).begins
    source.commit()
    assert not source.progress(1).begins


def test_partition_is_caught_up_at_requested_end(sources):
    source = add(sources)
    source.end_asked_ms, source.end = 5_000, 10
    read_to(source, 9)
    assert source.caught_up_ms is None
    read_to(source, 10)
    assert source.caught_up_ms == 5_000
    assert source.end is None


def test_client_starts_at_position_with_its_leader_epoch(sources):
    source = add(sources, at=start(40, lost=5, leader_epoch=7))
    assert (source.start().offset, source.start().leader_epoch) == (45, 7)


@given(st.lists(st.one_of(st.integers(0, 100), st.just("commit"))))
def test_commits_cover_records_without_gap_or_overlap(steps):
    source = add(SourcePartitions(), at=start(0, begins=True))
    covered = 0
    for step in steps:
        if step == "commit":
            progress = source.progress(1)
            assert progress.start == covered
            assert progress.end >= progress.start
            covered = progress.end
            source.commit()
        else:
            read_to(source, step)


def test_progress_of_shards_differs_in_streams_only(sources):
    first, second = add(sources, at=start(40)), add(sources, SECOND)
    add(sources, ("others", 3))
    read_to(first, 60)
    known = sources.progress({"embeddings": 2, "others": 4})
    alone = [source.progress(4 if source.partition[0] == "others" else 2) for source in sources]
    assert list(known.values()) == alone
    times = {second.code: {"images": StreamTime(newest_ms=3, read_ms=2, first_ms=1)}}
    by_partition = ShardDelta(times=times).progress(known)
    assert [each.streams for each in by_partition] == [{}, times[second.code], {}]
    assert ShardDelta().progress(known) == alone, "a shard gets nothing of another's streams"


def test_known_truncation_resumes_at_its_offset(sources):
    source = add(sources, at=start(300, leader_epoch=3))
    source.resume_after_truncation(200)
    assert (source.committed, source.position, source.missing) == (200, 200, 0)
    assert source.progress(1).start == 200
    assert source.is_validated


@pytest.mark.parametrize("end", [None, 300])
def test_unknown_truncation_marks_records_missing(sources, end):
    source = add(sources, at=start(300, leader_epoch=3))
    source.resume_after_truncation(end)
    assert (source.committed, source.position) == (300, 300)
    assert source.progress(1).lost == 1
    assert source.loss == RecordLoss(1, 300, is_truncated=True)
    source.commit()
    assert source.progress(1).lost == 0
