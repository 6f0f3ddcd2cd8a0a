import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.counting.interval import ShardDelta
from driftgauge.core.counting.partial import StreamTime
from driftgauge.kafka.offset_barrier import Start
from driftgauge.kafka.source_partitions import SourcePartitions, assignment

FIRST, SECOND = ("embeddings", 0), ("embeddings", 1)


def start(committed=0, *, lost=0, begins=False, leader_epoch=-1):
    return Start(committed, committed + lost, begins, lost, leader_epoch)


@pytest.fixture
def sources():
    return SourcePartitions()


def begin(sources, partition=FIRST, at=None):
    return sources.add(partition, at or start(), "id", 1_000)


def test_a_partition_that_comes_again_has_its_code_again(sources):
    first, second = begin(sources), begin(sources, SECOND)
    assert first.code != second.code
    assert sources.remove([FIRST, ("other", 0)]) == [FIRST]
    assert sources.find(*FIRST) is None
    assert begin(sources).code == first.code
    assert sources.names == {first.code: FIRST, second.code: SECOND}
    assert sources.by_code(second.code) is second


def test_no_partition_is_found_by_half_a_name(sources):
    begin(sources)
    assert sources.find(None, 0) is None
    assert sources.find("embeddings", None) is None


def test_a_progress_says_what_a_commit_covers_and_no_more(sources):
    source = begin(sources, at=start(40, lost=5, leader_epoch=3))
    source.read_to(60)
    said = source.progress(4)
    assert (said.start, said.end, said.lost, said.begins) == (40, 60, 5, False)
    assert (said.topic_id, said.partitions, said.since_ms, said.caught_up_ms) == ("id", 4, 1_000, None)
    source.commit()
    again = source.progress(4)
    assert (again.start, again.end, again.lost) == (60, 60, 0)


def test_the_first_progress_of_a_partition_without_an_offset_begins(sources):
    source = begin(sources, at=start(7, begins=True))
    assert source.progress(1).begins
    source.commit()
    assert not source.progress(1).begins


def test_it_is_caught_up_when_the_end_that_was_asked_for_is_passed(sources):
    source = begin(sources)
    source.end_asked_ms, source.end = 5_000, 10
    source.read_to(9)
    assert source.caught_up_ms is None
    source.read_to(10)
    assert source.caught_up_ms == 5_000
    assert source.end is None


def test_a_rewind_goes_back_to_the_commit_past_what_is_deleted(sources):
    source = begin(sources, at=start(40, lost=5))
    source.read_to(60)
    source.rewind()
    assert assignment(source).offset == 45
    assert source.progress(1).lost == 5


def test_what_was_caught_up_before_the_commit_that_failed_is_not_after_it(sources):
    source = begin(sources)
    source.end_asked_ms, source.end = 5_000, 10
    source.read_to(10)
    source.commit()
    source.end_asked_ms, source.end = 9_000, 20
    source.read_to(20)
    assert source.caught_up_ms == 9_000
    source.rewind()
    assert source.caught_up_ms == 5_000, "the events of 10 to 19 are still to be counted"


def test_reading_goes_on_under_the_leader_epoch_that_is_known(sources):
    source = begin(sources, at=start(3, leader_epoch=7))
    assert assignment(source).leader_epoch == 7
    source.rewind()
    assert assignment(source).leader_epoch is None


@given(st.lists(st.one_of(st.integers(0, 100), st.sampled_from(["commit", "rewind"]))))
def test_commits_cover_what_was_read_without_a_gap_and_without_an_overlap(steps):
    source = begin(SourcePartitions(), at=start(0, begins=True))
    covered = 0
    for step in steps:
        if step == "commit":
            said = source.progress(1)
            assert said.start == covered
            assert said.end >= said.start
            covered = said.end
            source.commit()
        elif step == "rewind":
            source.rewind()
            assert source.position == covered
        else:
            source.read_to(step)


def test_all_shards_are_told_the_same_but_for_their_streams(sources):
    first, second = begin(sources, at=start(40)), begin(sources, SECOND)
    begin(sources, ("others", 3))
    first.read_to(60)
    known = sources.progress({"embeddings": 2, "others": 4})
    alone = [source.progress(4 if source.partition[0] == "others" else 2) for source in sources]
    assert list(known.values()) == alone
    times = {second.code: {"images": StreamTime(newest_ms=3, read_ms=2, first_ms=1)}}
    told = ShardDelta(times=times).progress(known)
    assert [each.streams for each in told] == [{}, times[second.code], {}]
    assert ShardDelta().progress(known) == alone, "the next shard is told nothing of another's streams"


def test_a_log_that_was_cut_is_read_on_from_there(sources):
    source = begin(sources, at=start(300, leader_epoch=3))
    source.resume_after_truncation(200)
    assert (source.committed, source.position, source.missing) == (200, 200, 0)
    assert source.progress(1).start == 200
    assert source.is_validated


@pytest.mark.parametrize("end", [None, 300])
def test_where_it_was_cut_is_not_known_records_are_missing(sources, end):
    source = begin(sources, at=start(300, leader_epoch=3))
    source.resume_after_truncation(end)
    assert (source.committed, source.position) == (300, 300)
    assert source.progress(1).lost == 1
    source.commit()
    assert source.progress(1).lost == 0
