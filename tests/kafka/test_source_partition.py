"""A source partition: its progress, its losses, and the end up to which it has caught up."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.kafka.end_offsets import EndOffsets
from driftgauge.kafka.source_partition import SourcePartition
from driftgauge.telemetry.record_loss import RecordLoss

FIRST = ("embeddings", 0)


def begin(committed=0, *, lost=0, begins=False, leader_epoch=-1, now_ms=1_000):
    return SourcePartition(
        FIRST, "id", committed, committed + lost, now_ms, begins, lost, leader_epoch=leader_epoch
    )


def read_to(source, position):
    """Read all records up to a position."""
    source.read(source.position, position, records=max(position - source.position, 0))


def test_progress_and_loss_cover_what_follows_the_last_commit():
    source = begin(880, lost=120, begins=True, leader_epoch=3)
    assert (source.start().offset, source.start().leader_epoch) == (1_000, 3)
    read_to(source, 1_060)
    first = source.progress(4)
    assert (first.start, first.end, first.lost, first.begins) == (880, 1_060, 120, True)
    assert (first.topic_id, first.partitions, first.since_ms, first.caught_up_ms) == ("id", 4, 1_000, None)
    assert source.loss == RecordLoss(120, 880)
    assert source.loss.last == 999
    source.commit()
    again = source.progress(4)
    assert (again.start, again.end, again.lost, again.begins) == (1_060, 1_060, 0, False)
    assert source.loss is None


@given(st.lists(st.one_of(st.integers(0, 100), st.just("commit"))))
def test_commits_cover_records_without_gap_or_overlap(steps):
    source = begin(begins=True)
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


def test_known_truncation_resumes_at_its_offset():
    source = begin(300, leader_epoch=3)
    source.resume_after_truncation(200)
    assert (source.committed, source.position, source.missing) == (200, 200, 0)
    assert source.progress(1).start == 200
    assert source.leader_epoch == -1


@pytest.mark.parametrize("end", [None, 300])
def test_unknown_truncation_marks_records_missing(end):
    source = begin(300, leader_epoch=3)
    source.resume_after_truncation(end)
    assert (source.committed, source.position) == (300, 300)
    assert source.progress(1).lost == 1
    assert source.loss == RecordLoss(1, 300, is_truncated=True)
    source.commit()
    assert source.progress(1).lost == 0


def test_partition_is_caught_up_to_the_time_of_a_request_for_its_end(admin, clock):
    source = begin(now_ms=clock.wall_ms)
    held = SimpleNamespace(started=[source], find={FIRST: source}.get)
    ends = EndOffsets(held, admin, clock.clock, interval_ms=1_000)
    first_ms = clock.wall_ms
    ends.poll()
    admin.answer(0, FIRST, 0)
    clock.advance(0.9)
    ends.poll()
    assert source.caught_up_ms == first_ms
    assert len(admin.asked) == 1, "one request in each interval"
    clock.advance(0.1)
    second_ms = clock.wall_ms
    ends.poll()
    admin.answer(1, FIRST, 5)
    clock.advance(1)
    ends.poll()
    assert (source.caught_up_ms, source.end, len(admin.asked)) == (first_ms, 5, 2), "behind the last end"
    read_to(source, 5)
    assert source.caught_up_ms == second_ms
    clock.advance(1)
    ends.poll()
    again = begin(5, now_ms=clock.wall_ms)
    held.started, held.find = [again], {FIRST: again}.get
    admin.answer(2, FIRST, 9)
    ends.poll()
    assert again.end is None, "the answer came for the partition as it was before"
