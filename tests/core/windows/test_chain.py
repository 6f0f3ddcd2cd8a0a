"""The chain of progress: gaps, overlaps and other losses are counted, and mark the affected windows."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driftgauge.core.counting import interval
from driftgauge.core.counting.interval import ShardDelta
from driftgauge.core.counting.partial import CommitId, CommitPart, PartitionProgress, StreamTime
from driftgauge.core.judging.verdict import Verdict
from driftgauge.core.window import Window
from driftgauge.core.windows.assembly import CommitAssembler
from driftgauge.core.windows.changelog import DataLoss
from tests.builders.batches import at
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.partial_records import build_progress
from tests.builders.references import FIRST
from tests.builders.results import summarize_counts
from tests.builders.specs import build_spec
from tests.core.shard import EVENTS, TWO_PARTS, Shard, read_and_commit, restored, run_for, written

WHOLE = (0, 0, 0)


def marks(results):
    """(hour, events lost, counted twice, verdict is incomplete) of each result."""
    return [
        (
            (result.window.start_ms - MONDAY_MS) / HOUR_MS,
            result.events_lost,
            result.counted_twice,
            result.verdict is Verdict.INCOMPLETE,
        )
        for result in results
    ]


@pytest.fixture
def shard():
    """A shard after three hours with two events each on its one partition."""
    shard = Shard(build_spec(disorder_ms=MINUTE_MS, lateness_ms=10 * HOUR_MS))
    for hour in range(3):
        read_and_commit(shard, at(hour), at(hour + 0.5))
    assert shard.chain == WHOLE
    assert len(shard.state.streams["images"].published) == 2
    return shard


@pytest.mark.parametrize(
    ("skipped", "progress", "gaps"),
    [pytest.param(7, {}, 1, id="reset forward"), pytest.param(0, {"lost": 3, "end": 11}, 0, id="deleted")],
)
def test_loss_marks_windows_and_is_gap_unless_it_is_reported(shard, skipped, progress, gaps):
    shard.ends[EVENTS, 0] += skipped
    shard.read(at(5), at(8))
    results = shard.commit(**progress)
    assert ["embeddings[0]" in error for error in shard.chain_errors] == [True] * gaps
    # The last event before the loss is at 2.5 h, the first one after it at 5 h.
    assert marks(results) == [(2, True, False, False), (5, True, False, False)]
    assert marks(read_and_commit(shard, at(10))) == [(8, False, False, False)]
    assert shard.chain == (gaps, 0, 0)


def test_offset_reset_back_is_overlap_kept_out_of_history(shard):
    shard.ends[EVENTS, 0] = 2
    results = read_and_commit(shard, at(1), at(1.5))
    assert shard.chain == (0, 1, 0)
    assert marks(results) == [(1, False, True, True)]
    assert summarize_counts(results) == [(HOUR_MS, MONDAY_MS + HOUR_MS, 1, (4, 0, 0, 0))]
    assert results[0].incomplete_reason == "counted_twice"
    shard.restart()
    results = read_and_commit(shard, at(2), at(2.5), at(3), at(4), at(5.5))
    assert shard.chain == (0, 2, 0)
    history = shard.state.streams["images"].histories[HOUR_MS, FIRST.key]
    # Events up to 2.5 h were counted before; their commit marks its other events as well.
    assert marks(results) == [(hour, False, True, True) for hour in (2, 3, 4)]
    assert history.end_ms == MONDAY_MS + 2 * HOUR_MS
    assert marks(read_and_commit(shard, at(6), at(7.5)))[-1] == (6, False, False, False)
    assert shard.chain == (0, 2, 0)


def test_recreated_topic_does_not_wait_for_removed_partitions():
    shard = Shard(build_spec(), partitions=130)
    read_and_commit(shard, at(0))
    assert count_blocks(shard) == 3
    # A broker that gives no id says nothing of the topic.
    shard.commit(topic_id="")
    shard.ids[EVENTS], shard.sizes[EVENTS] = "embeddings-2", 1
    shard.ends.clear()
    assert summarize_counts(read_and_commit(shard, at(0.5), at(1))) == [(HOUR_MS, MONDAY_MS, 0, (2, 0, 0, 0))]
    shard.restart()
    assert summarize_counts(read_and_commit(shard, at(2))) == [
        (HOUR_MS, MONDAY_MS + HOUR_MS, 0, (1, 0, 0, 0))
    ]
    assert shard.chain == WHOLE
    assert count_blocks(shard) == 1


def count_blocks(shard):
    """The records of the topic's partitions in the changelog."""
    return len([key for key in shard.changelog if key.startswith(b'["sources"')])


@pytest.mark.parametrize("is_twice", [False, True])
def test_doubts_remain_until_largest_affected_window_is_final(is_twice):
    shard = Shard(build_spec(sizes_ms=(HOUR_MS, 6 * HOUR_MS)))
    read_and_commit(shard, at(0))
    shard.ends[EVENTS, 0] += -1 if is_twice else 1
    read_and_commit(shard, at(0.5), at(0.6))
    read_and_commit(shard, at(4))
    read_and_commit(shard, at(6))
    published = shard.state.streams["images"].published
    result = published[Window(6 * HOUR_MS, MONDAY_MS)]
    assert (result.events_lost, result.counted_twice) == (not is_twice, is_twice)
    read_and_commit(shard, at(13))
    assert (shard.status().losses, shard.status().counted_twice) == ((), ())


@pytest.mark.parametrize(("start", "of_images", "of_texts"), [(880, [5], [5, 6]), (0, [], [])])
def test_first_windows_are_marked_where_first_records_had_been_deleted(start, of_images, of_texts):
    shard = Shard(*(build_spec(stream, disorder_ms=MINUTE_MS) for stream in ("images", "texts", "clicks")))
    # No event is read before the first commit.
    shard.commit(start=start, end=start)
    shard.restart()

    def lost(stream, *hours, **changes):
        shard.read(*map(at, hours), stream=stream)
        results = [result for result in shard.commit(**changes) if result.stream == stream]
        return [hour for hour, is_lost, *_ in marks(results) if is_lost]

    assert lost("images", 5.5, 6.5, 7.5, 9) == of_images
    # What was deleted may have had events of a stream that comes later in the backlog, too, and they may have
    # been later than its first one by the allowed disorder.
    assert lost("texts", 5.99, 6.5, 9) == of_texts
    assert lost("images", 10, caught_up=True) == []
    shard.restart()
    assert lost("clicks", 11.5, 12.5, 14) == [], "a stream that begins after the backlog is new"
    assert shard.chain == WHOLE


@pytest.mark.parametrize("after", [[(1.5,), (6.5,)], [(1.5, 6.5)]])
def test_event_further_behind_than_allowed_ends_no_loss(after):
    shard = Shard(build_spec(disorder_ms=MINUTE_MS), partitions=2)
    shard.read(at(3.5))
    read_and_commit(shard, at(3.5), at(4.5), at(5.5), at(6.5), at(7.5), at(9), partition=1)
    shard.ends[EVENTS, 0] += 1
    results = []
    for hours in after:
        results += read_and_commit(shard, *map(at, hours))
    results += read_and_commit(shard, at(9))
    assert [hour for hour, is_lost, *_ in marks(results) if is_lost] == [3, 4, 5, 6]


def test_loss_marks_only_streams_of_its_topic():
    shard = Shard(build_spec("images"), build_spec("texts"), topics=(EVENTS, "others"))
    shard.read(at(0), at(2), stream="images", partition=(EVENTS, 0))
    shard.read(at(0), at(2), stream="texts", partition=("others", 0))
    shard.commit(caught_up=True)
    shard.read(at(4), stream="images", partition=(EVENTS, 0))
    shard.read(at(4), stream="texts", partition=("others", 0))
    shard.ends["others", 0] += 1
    results = shard.commit(caught_up=True)
    assert [(result.stream, result.events_lost) for result in results] == [("images", False), ("texts", True)]


@pytest.mark.parametrize("missing", [(0,), (1,), (-1,), (-1, 0), (1, 2)])
def test_torn_commit_is_not_applied_and_is_gap(missing):
    spec = build_spec(disorder_ms=MINUTE_MS, lateness_ms=10 * HOUR_MS)
    shard = Shard(spec, build_spec("texts"))
    read_and_commit(shard, at(0), at(2))
    shard.read(*[at(2 + hour, hour % 4) for hour in range(20)], stream="texts")
    shard.read(at(2.5))
    offsets = shard.write(part_bytes=1_400)
    assert len(offsets) > 3
    for part in missing:
        shard.log[offsets[part]] = None
    shard.apply()
    assert shard.close() == []
    results = read_and_commit(shard, at(5))
    orphans = len(offsets) - len(missing)
    assert shard.chain == (1, 0, orphans)
    # Only the events before and after the gap are counted.
    assert summarize_counts(results) == [(HOUR_MS, MONDAY_MS + 2 * HOUR_MS, 0, (1, 0, 0, 0))]
    assert results[0].events_lost
    shard.restart()
    shard.commit()
    assert shard.chain == (1, 0, orphans)


def test_expired_parts_are_orphans_and_release_position(shard):
    shard.read(at(3))
    offsets = shard.write(producer="gone", part_bytes=TWO_PARTS)
    shard.log[offsets[-1]] = None
    for _ in range(20):
        shard.commit(after_ms=MINUTE_MS)
    assert shard.chain == (1, 0, 1)
    assert shard.state.position.offset == len(shard.log)


@pytest.mark.parametrize("epochs", [1, 6])
def test_restore_repeats_no_commit_whatever_lies_behind_a_waiting_part(epochs):
    """The position is that of the waiting part, and the commits after it are read again."""
    shard = Shard(build_spec(), partitions=2)
    shard.read(at(0))
    first, last = shard.write(producer="b", unread=(1,), part_bytes=TWO_PARTS)
    waiting = shard.log[last]
    shard.log[last:] = []
    # A successor's epoch may be lower.
    for epoch in reversed(range(epochs)):
        shard.read(at(0.5, 1), partition=1)
        shard.write(producer="a", epoch=epoch, unread=(0,))
    shard.apply()
    shard.close()
    assert (shard.state.position.offset, len(shard.state.position.producers)) == (first, epochs)
    shard.restart()
    shard.log.append(waiting)
    shard.apply()
    shard.close()
    assert shard.state.position.offset == len(shard.log)
    (result,) = shard.close(has_source_ended=True)
    assert (result.counts.tolist(), shard.chain) == ([1, epochs, 0, 0], WHOLE)


MANY = tuple(build_spec(f"s{number}", disorder_ms=MINUTE_MS) for number in range(7))


@given(
    # What the commits after the first leave out or repeat, lose, and whether the topic is another then.
    st.lists(
        st.tuples(st.integers(-3, 3), st.integers(0, 2), st.sampled_from(["", "a", "b"])),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 9),
)
@example([(0, 0, "a")], 2)
def test_progress_of_many_streams_in_several_items_is_one_progress(steps, most):
    whole, split = (restored(MANY, (EVENTS,), {}) for _ in range(2))
    end = 100
    for number, (shift, lost, topic_id) in enumerate(steps):
        start, now_ms = end + shift * (number > 0), MONDAY_MS + number * HOUR_MS
        end = start + 50
        times = {spec.name: StreamTime(now_ms + 9, now_ms + 12, now_ms) for spec in MANY}
        known = PartitionProgress(
            topic_id=topic_id,
            partitions=1,
            begins=not number,
            lost=lost,
            since_ms=MONDAY_MS,
            caught_up_ms=now_ms,
            partition=(EVENTS, 0),
            start=start,
            end=end,
            skipped=2,
        )
        part = CommitPart(CommitId("a", 1, number), 0, 1, 1, now_ms, (), (replace(known, streams=times),))
        whole.apply(number, now_ms, part)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(interval, "_MOST_STREAMS", most)
            items = ShardDelta(times={0: times}).progress({0: known})
        assert max(len(each.streams) for each in items) <= most
        assert len(items) == -(-len(MANY) // most)
        assert sum(each.skipped for each in items) == known.skipped
        split.apply(number, now_ms, replace(part, partitions=tuple(items)))
        assert split.close_windows().chain_errors == whole.close_windows().chain_errors
        assert written(split) == written(whole)


def test_position_knows_newest_commit_of_each_producer_for_an_hour(shard):
    for epoch in range(2, 7):
        shard.commit(epoch=epoch, after_ms=1_000)
    shard.commit(producer="b", after_ms=1_000)
    assert set(shard.state.position.producers) == {("a", 6), ("b", 1)}
    shard.commit(producer="c", after_ms=HOUR_MS)
    assert set(shard.state.position.producers) == {("c", 1)}


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "touched"),
    [
        (None, None, [0, 100, 200, 300, 400]),
        (200, None, [200, 300, 400]),
        (199, None, [100, 200, 300, 400]),
        (None, 199, [0, 100]),
        (None, 200, [0, 100, 200]),
        (250, 320, [200, 300]),
        (250, 250, [200]),
    ],
)
def test_loss_affects_windows_that_may_lack_events(from_ms, to_ms, touched):
    loss = DataLoss(("embeddings", 0), from_ms, to_ms)
    windows = [Window(100, start_ms) for start_ms in (0, 100, 200, 300, 400)]
    assert [window.start_ms for window in windows if loss.affects(window)] == touched


def test_replica_that_is_behind_brings_no_deleted_topic_back_after_restore():
    shard = Shard(build_spec(sizes_ms=(MINUTE_MS,)))
    run_for(shard, 2 * MINUTE_MS, 0)
    former, shard.ids[EVENTS] = shard.ids[EVENTS], "new"
    shard.ends.clear()
    run_for(shard, MINUTE_MS, 0)
    shard.restart()
    ends = dict(shard.ends)
    shard.write(producer="behind", topic_id=former, start=900, end=950, begins=False)
    shard.ends = ends
    assert len(run_for(shard, 3 * MINUTE_MS, 0)) >= 2
    assert shard.chain == (0, 0, 0)
    assert shard.state.sources.topics[EVENTS].topic_id == "new"


def test_append_time_ahead_holds_up_no_window():
    shard = Shard(build_spec(sizes_ms=(MINUTE_MS,)))
    run_for(shard, 2 * MINUTE_MS, 0)
    run_for(shard, 1, 0, append_ms=shard.now_ms + 6 * HOUR_MS)
    shard.restart()
    assert len(run_for(shard, 3 * MINUTE_MS, 0)) >= 2
    assert shard.state.position.log_ms == shard.now_ms - 5_000


def test_accepted_loss_marks_what_may_have_begun_before():
    """Windows of streams that are known, of streams whose state is gone, and none that begins later."""
    spec, other = build_spec(lateness_ms=10 * HOUR_MS), build_spec("texts", lateness_ms=10 * HOUR_MS)
    shard = Shard(spec, other, build_spec("unrelated"), now_ms=MONDAY_MS + 2 * HOUR_MS)
    shard.read(at(0.2), at(1.5))
    read_and_commit(shard, at(1.2), stream="texts")
    shard.changelog = {key: value for key, value in shard.changelog.items() if b'"texts"' not in key}
    shard.restart()
    shard.state.accept_loss(lead_ms=0)
    for hour in (1, 2, 3, 4.5):
        shard.now_ms = MONDAY_MS + int(hour * HOUR_MS)
        shard.read(at(hour + 0.4))
        results = read_and_commit(shard, at(hour + 0.4), stream="texts")
        for result in results:
            begun_before = result.window.start_ms <= MONDAY_MS + 2 * HOUR_MS
            assert result.events_lost is begun_before, result.window
    assert {result.stream for result in results} == {"images", "texts"}
    shard.now_ms += 8 * DAY_MS
    shard.commit()
    read_and_commit(shard, at(0.1), stream="unrelated")
    assert shard.status("unrelated").losses == (), "so long after a loss a new stream is just new"


def test_accepted_loss_marks_windows_of_events_that_were_ahead():
    shard = Shard(build_spec(sizes_ms=(MINUTE_MS,)))
    read_and_commit(shard, (shard.now_ms + 3 * MINUTE_MS, 0), credible_ms=[shard.now_ms])
    shard.changelog = {key: value for key, value in shard.changelog.items() if b'"pane"' not in key}
    shard.restart()
    shard.state.accept_loss(lead_ms=5 * MINUTE_MS)
    for minutes in (3, 4, 6, 9):
        shard.read((shard.now_ms + minutes * MINUTE_MS, 0))
    results = {result.window.start_ms - shard.now_ms: result.events_lost for result in shard.commit()}
    assert results == {3 * MINUTE_MS: True, 4 * MINUTE_MS: True, 6 * MINUTE_MS: False}


def parts(producer, number, size):
    """The parts of a commit, each with the progress of the partition of its index."""
    commit = CommitId(producer, 0, number)
    return [CommitPart(commit, index, size, 1, 0, (), (build_progress(index),)) for index in range(size)]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4)), max_size=8),
    st.randoms(use_true_random=False),
)
def test_interleaved_commits_are_assembled_whole(commits, random):
    queues = {}
    for number, (producer, size) in enumerate(commits):
        queues.setdefault(producer, []).extend(parts(producer, number, size))
    assembler, whole, offset = CommitAssembler(), [], 0
    while any(queues.values()):
        queue = random.choice([queue for queue in queues.values() if queue])
        part = queue.pop(0)
        done = assembler.add(offset, 0, part)
        assert (done is not None) is (part.index == part.parts - 1)
        if done is not None:
            assert [progress.partition[1] for progress in done.partitions] == list(range(part.parts))
            whole.append(done.commit)
        offset += 1
    assert sorted(whole) == sorted(CommitId(name, 0, number) for number, (name, _) in enumerate(commits))
    assert (assembler.orphans, assembler.first_offset) == (0, None)


def test_duplicate_part_drops_commit():
    assembler = CommitAssembler()
    first, last = parts("a", 0, 2)
    for part in (first, first, last):
        assert assembler.add(0, 0, part) is None
    assert assembler.orphans == 3
