"""A batch's road through the core: counted, committed, closed, corrected; and what is written of it."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.pipeline import Pipeline, choose_home
from driftgauge.core.state import (
    BaselineKey,
    Change,
    Counting,
    Gap,
    PaneKey,
    Progress,
    ProgressKey,
    PublishedKey,
    StreamProgress,
)
from driftgauge.core.table import Table
from driftgauge.core.windows.window import Window
from driftgauge.core.old_windows import Windows
from tests.core.builders import (
    ALARM,
    CLUSTERS,
    DAY_MS,
    FIRST,
    HOUR_MS,
    MINUTE_MS,
    MONDAY_MS,
    OTHER,
    SECOND_MS,
    Run,
    build_batch,
    build_partitions,
    build_reference,
    build_segment,
    build_spec,
    counts_of,
    plain,
    summary,
    windows_of,
)

IDLE_MS = MINUTE_MS
FIRST_HOUR = Window(HOUR_MS, MONDAY_MS)


def at(hours, cluster=0):
    return (MONDAY_MS + round(hours * HOUR_MS), cluster)


def hours(results):
    """(hour since Monday, revision, count) of each hourly result."""
    return [
        ((r.window.start_ms - MONDAY_MS) / HOUR_MS, r.revision, r.count)
        for r in results
        if r.window.size_ms == HOUR_MS
    ]


def half_hours(first, last, cluster=0):
    """An event every half hour, from and to these hours."""
    return [at(half / 2, cluster) for half in range(2 * first, 2 * last + 1)]


def test_what_is_counted_in_one_round_is_closed_in_the_next_once_it_is_committed():
    run = Run(build_spec())
    run.read(at(0), at(0.5, 1), at(1))
    assert run.advance() == []
    assert summary(run.advance()) == [(HOUR_MS, MONDAY_MS, 0, (1, 1, 0, 0))]


def test_an_event_within_the_allowed_lateness_gives_the_next_revision_with_the_whole_count():
    run = Run(build_spec())
    run.read(at(0), at(1))
    assert summary(run.close()) == [(HOUR_MS, MONDAY_MS, 0, (1, 0, 0, 0))]
    assert not run.read(at(0.5, 3)).late.any()
    assert summary(run.close()) == [(HOUR_MS, MONDAY_MS, 1, (1, 0, 0, 1))]


def test_the_horizon_is_exact_to_the_millisecond():
    run = Run(build_spec(sizes_ms=(HOUR_MS,), lateness_ms=10 * MINUTE_MS))
    run.read(at(0), (MONDAY_MS + HOUR_MS + 10 * MINUTE_MS - 1, 0))
    run.close()
    assert not run.read(at(0)).late.any()
    run.read((MONDAY_MS + HOUR_MS + 10 * MINUTE_MS, 0))
    assert hours(run.close()) == [(0, 1, 2)]
    assert run.read(at(0), at(1)).late.tolist() == [True, False]


def test_an_event_late_for_its_hour_is_still_counted_in_its_day():
    run = Run(build_spec(sizes_ms=(HOUR_MS, DAY_MS)))
    run.read(at(0), at(2))
    assert hours(run.close()) == [(0, 0, 1)]
    assert run.read(at(0.5)).late.tolist() == [False]
    assert run.close() == []
    run.read(at(24))
    assert summary(run.close()) == [
        (HOUR_MS, MONDAY_MS + 2 * HOUR_MS, 0, (1, 0, 0, 0)),
        (DAY_MS, MONDAY_MS, 0, (3, 0, 0, 0)),
    ]


def test_streams_do_not_share_counts_or_watermarks():
    run = Run(build_spec("images"), build_spec("texts", sizes_ms=(DAY_MS,)))
    run.read(at(0), at(1), stream="images")
    run.read(at(0, 2), stream="texts")
    assert [(r.stream, r.window) for r in run.close()] == [("images", FIRST_HOUR)]
    assert run.table.watermark_ms("images", 0) == MONDAY_MS + HOUR_MS
    assert run.table.watermark_ms("texts", 0) == MONDAY_MS
    assert [(r.stream, r.window, r.count) for r in run.close(ended=True)] == [
        ("images", Window(HOUR_MS, MONDAY_MS + HOUR_MS), 1),
        ("texts", Window(DAY_MS, MONDAY_MS), 1),
    ]
    with pytest.raises(KeyError):
        run.read(at(0), stream="sounds")


def test_a_stream_six_hours_behind_another_on_the_same_partitions_loses_nothing():
    run = Run(build_spec("live"), build_spec("behind"), partition_count=2)
    results = []
    for step in range(200):
        for partition in (0, 1):
            live = run.read(at(6 + step / 10, 1), stream="live", partition=partition)
            behind = run.read(at(step / 10, 2), stream="behind", partition=partition)
            assert not live.late.any()
            assert not behind.late.any()
        results += run.close(after_ms=SECOND_MS)
    results += run.close(ended=True)
    for stream, first in (("live", 6), ("behind", 0)):
        assert hours(result for result in results if result.stream == stream) == [
            (first + hour, 0, 20) for hour in range(20)
        ]


def test_a_partition_far_ahead_in_a_catch_up_purges_and_closes_nothing_early():
    run = Run(build_spec(), partition_count=2)
    run.read(at(0, 1), partition=1)
    for hour in range(100):
        run.read(at(hour), partition=0)
        assert run.close(after_ms=SECOND_MS) == []
    results = []
    for hour in range(100):
        assert not run.read(at(hour, 1), partition=1).late.any()
        results += run.close(after_ms=SECOND_MS)
    results += run.close(ended=True)
    assert hours(results) == [(0, 0, 3), *[(hour, 0, 2) for hour in range(1, 100)]]


def test_a_partition_that_was_never_read_holds_every_window_open():
    run = Run(build_spec(), partition_count=2)
    run.read(at(0), at(50))
    assert run.close(after_ms=DAY_MS) == []


def test_a_silent_stream_closes_its_windows_only_once_they_have_ended_by_wall_time():
    run = Run(build_spec(idle_ms=IDLE_MS), partition_count=2)
    run.read(at(0), at(0.01))
    assert run.fall_silent(IDLE_MS) == []
    assert run.close(after_ms=HOUR_MS - IDLE_MS - 1) == []
    assert hours(run.close(after_ms=1)) == [(0, 0, 2)]


def test_a_partition_that_is_idle_for_one_stream_is_not_for_another_that_speaks_there():
    run = Run(build_spec("images", idle_ms=IDLE_MS), build_spec("texts", idle_ms=IDLE_MS))
    run.read(at(0), stream="images")
    run.close(after_ms=HOUR_MS)
    run.read(at(0), stream="texts")
    assert [(r.stream, r.window) for r in run.fall_silent(0)] == [("images", FIRST_HOUR)]
    assert [(r.stream, r.window) for r in run.fall_silent(IDLE_MS)] == [("texts", FIRST_HOUR)]


def test_a_backlog_that_lands_after_the_question_is_not_late_where_the_active_partition_is_read_first():
    run = Run(build_spec(idle_ms=IDLE_MS), partition_count=2)
    run.read(at(0), partition=0)
    run.read(at(0), partition=1)
    run.close(after_ms=IDLE_MS)
    run.read(at(0.1), partition=0)
    run.close()
    assert run.ask() == {1}
    ends = {1: run.positions[1]}
    # Only now is the backlog produced, to both.
    run.read(*half_hours(1, 5), partition=0)
    assert run.advance(ends) == []
    assert run.table.watermark_ms("images", 0) == at(0.1)[0]
    assert run.ask() == {1}
    assert run.advance({1: run.positions[1] + 9}) == []
    assert not run.read(*half_hours(1, 5, cluster=1), partition=1).late.any()
    assert hours(run.close()) == [(0, 0, 3), *[(hour, 0, 4) for hour in range(1, 5)]]


def test_a_partition_whose_reader_has_fallen_behind_is_not_idle_any_more_and_loses_nothing():
    run = Run(build_spec(idle_ms=IDLE_MS), partition_count=2)
    run.read(at(0), partition=1)
    run.close(after_ms=IDLE_MS)
    run.read(at(1), partition=0)
    assert hours(run.fall_silent(0)) == [(0, 0, 1)]
    backlog = half_hours(1, 5, cluster=1)
    for hour in range(2, 6):
        run.read(at(hour), partition=0)
        run.ask(after_ms=SECOND_MS)
        assert run.advance({1: run.positions[1] + len(backlog)}) == []
    assert run.table.watermark_ms("images", 0) == at(1)[0]
    assert not run.read(*backlog, partition=1).late.any()
    assert hours(run.close()) == [(hour, 0, 3) for hour in range(1, 5)]


def test_an_idle_partition_that_wakes_rewrites_no_window_past_correction():
    run = Run(build_spec(idle_ms=IDLE_MS), partition_count=2)
    run.read(at(0), partition=0)
    run.close(after_ms=IDLE_MS)
    run.read(at(0), at(3), partition=1)
    run.close()
    assert hours(run.fall_silent(0)) == [(0, 0, 2)]
    assert run.read(at(0.5), at(2.9), partition=0).late.tolist() == [True, False]
    assert sorted(hours(run.close(ended=True))) == [(2, 0, 1), (3, 0, 1)]


def test_events_that_the_log_no_longer_keeps_are_told_of_the_windows_that_they_may_have_been_in():
    run = Run(build_spec(disorder_ms=MINUTE_MS))
    run.read(at(0), at(1.5))
    run.close()
    run.pipeline.lose(0)
    run.positions[0] += 7
    run.read(at(3), at(4))
    run.read(at(6), at(7.1))
    results = run.close()
    assert [
        (result.events_lost, hour) for result, (hour, _, _) in zip(results, hours(results), strict=True)
    ] == [
        (True, 1),
        (True, 3),
        (False, 4),
        (False, 6),
    ]


def test_each_stream_has_a_home_that_every_process_chooses_alike():
    partitions = build_partitions(4)
    homes = [choose_home(f"stream-{number}", partitions) for number in range(200)]
    assert homes == [choose_home(f"stream-{number}", partitions[::-1]) for number in range(200)]
    assert min(Counter(homes)[partition] for partition in partitions) > 25
    assert choose_home("images", partitions) == ("embeddings", 2)  # crc32, not Python's own hash


def pipeline(table, *specs, held, every, established=()):
    return Pipeline(
        specs,
        held=held,
        every=every,
        table=table,
        find_reference=lambda spec, key: spec.reference if key == spec.reference.key else None,
        established=set(established),
        now_ms=MONDAY_MS,
    )


def advance(pipeline, table, positions):
    moved = pipeline.advance(MONDAY_MS, positions, {})
    for change in moved.changes:
        table.apply(change)
    return moved


def test_windows_are_closed_by_the_owner_of_the_home_alone_from_the_counts_of_all():
    every = build_partitions(2)
    table = Table()
    table.expect(every)
    owners = [pipeline(table, build_spec(), held={0: partition}, every=every) for partition in every]
    for owner, cluster in zip(owners, (1, 2), strict=True):
        owner.count(build_batch([(0, 0, *at(0, cluster)), (0, 1, *at(1))]), MONDAY_MS)
        advance(owner, table, {0: 2})
    results = [advance(owner, table, {0: 2}).results for owner in owners]
    home = every.index(choose_home("images", every))
    assert results[1 - home] == []
    assert summary(results[home]) == [(HOUR_MS, MONDAY_MS, 0, (0, 1, 1, 0))]


def test_each_partitions_changes_end_with_its_progress():
    run = Run(build_spec("images"), build_spec("texts"), partition_count=3)
    for hour in range(6):
        for partition in range(3):
            run.read(at(hour), stream="images", partition=partition)
            run.read(at(hour / 2), stream="texts", partition=partition)
        for _ in range(4):
            run.advance()
            last = {change.partition: change.key for change in run.changes}
            assert set(last.values()) <= {ProgressKey()}


def test_a_round_in_which_windows_close_writes_the_progress_of_their_home_though_it_is_the_same():
    run = Run(build_spec())
    run.read(at(0), at(1))
    run.close()
    run.read(at(0.5))
    run.advance()
    before = run.table.progress(run.partitions[0])
    assert len(run.advance()) == 1
    assert [type(change.key) for change in run.changes] == [PublishedKey, ProgressKey]
    assert run.table.progress(run.partitions[0]) == before


def test_where_nothing_changes_nothing_is_written():
    run = Run(build_spec("images"), build_spec("texts"), partition_count=2)
    run.read(at(0), at(1))
    run.close()
    run.advance()
    assert run.changes == []


def test_a_stream_that_is_not_configured_here_keeps_what_it_has():
    sounds = StreamProgress(7, 8, 9, (Counting("abc"),), Gap(1, 2))
    partitions = build_partitions(1)
    table = Table()
    table.expect(partitions)
    table.apply(Change(partitions[0], ProgressKey(), Progress(5, {"sounds": sounds})))
    here = pipeline(table, build_spec(), held={0: partitions[0]}, every=partitions)
    advance(here, table, {0: 6})
    progress = table.progress(partitions[0])
    assert progress.position == 6
    assert progress.streams["sounds"] == sounds
    assert set(progress.streams) == {"sounds", "images"}


def test_a_baselines_file_is_kept_in_parts_that_a_broker_takes_in_a_partition_of_its_counters_own():
    large = replace(FIRST, content=bytes(range(256)) * 5_000)
    every = build_partitions(3)
    table = Table()
    table.expect(every)
    here = pipeline(table, build_spec(reference=large), held={0: every[2], 1: every[1]}, every=every)
    moved = advance(here, table, {0: 0, 1: 0})
    parts = [change for change in moved.changes if isinstance(change.key, BaselineKey)]
    assert len(parts) == 3
    assert {change.partition for change in parts} == {every[1]}
    assert max(len(change.value) for change in parts) <= 500_000
    assert table.baseline(large.key) == large.content
    advance(here, table, {0: 0, 1: 0})
    assert advance(here, table, {0: 0, 1: 0}).changes == []


def kept(table, partitions):
    return [table.baselines(partition) for partition in partitions]


def test_whoever_counts_against_a_baseline_keeps_its_file_where_nobody_else_forgets_it():
    every = build_partitions(2)
    table = Table()
    table.expect(every)
    owners = [pipeline(table, build_spec(), held={0: partition}, every=every) for partition in every]
    for owner in owners:
        advance(owner, table, {0: 0})
    assert kept(table, every) == [{FIRST.key}, {FIRST.key}]
    both = pipeline(table, build_spec(), held=dict(enumerate(every)), every=every)
    advance(both, table, {0: 0, 1: 0})
    assert kept(table, every) == [{FIRST.key}, set()]


def test_a_baselines_file_is_forgotten_when_no_partition_counts_against_it():
    every = build_partitions(2)
    table = Table()
    table.expect(every)
    for at_other, (partition, key) in enumerate(zip(every, (FIRST.key, OTHER.key), strict=True)):
        lane = StreamProgress(counting=(Counting(key),))
        table.apply(Change(partition, ProgressKey(), Progress(0, {"sounds": lane})))
        table.apply(Change(every[0], BaselineKey(key, 0, 1), b"file %d" % at_other))
    table.apply(Change(every[0], BaselineKey("unused", 0, 1), b"of nobody"))
    here = pipeline(table, build_spec("images", reference=OTHER), held={0: every[0]}, every=every)
    advance(here, table, {0: 0})
    assert kept(table, every[:1]) == [{FIRST.key, OTHER.key}]
    table.apply(Change(every[0], ProgressKey(), Progress(0, {})))
    here = pipeline(table, build_spec("images", reference=OTHER), held={0: every[0]}, every=every)
    advance(here, table, {0: 0})
    assert kept(table, every[:1]) == [{OTHER.key}]


def test_a_rewrite_says_again_all_that_is_kept():
    run = Run(build_spec("images"), build_spec("texts"), partition_count=2)
    for partition in (0, 1):
        run.read(at(0), at(1), at(2), stream="images", partition=partition, event_ids=["a", "b", "c"])
        run.read(at(0), at(1), at(2), stream="texts", partition=partition)
    run.close()
    written = run.pipeline.rewrite()
    run.advance()
    again = Table()
    again.expect(run.partitions)
    for change in [*written, *run.changes]:
        again.apply(change)
    for partition in run.partitions:
        assert again.progress(partition) == run.table.progress(partition)
        assert {key: counts.tolist() for key, counts in again.panes(partition).items()} == {
            key: counts.tolist() for key, counts in run.table.panes(partition).items()
        }
        assert again.examples(partition) == run.table.examples(partition) != {}
    for stream in ("images", "texts"):
        assert again.final_ms(stream) == run.table.final_ms(stream)
        assert again.published(stream).keys() == run.table.published(stream).keys() != set()
        for kept in (Table.published, Table.histories):
            assert each(kept(again, stream)) == each(kept(run.table, stream)) != {}


def each(kept):
    return {key: plain(value) for key, value in kept.items()}


@dataclass(frozen=True)
class Step:
    """Some events of a stream are read from a partition, and a round is done."""

    stream: str
    partition: int
    events: list[tuple[int, int]]


@st.composite
def recordings(draw):
    """Steps in any order, or with event time growing, so that windows are purged all along."""
    event = st.tuples(
        st.integers(0, 30 * 60).map(lambda minute: MONDAY_MS + minute * MINUTE_MS), st.integers(0, 3)
    )
    step = st.builds(
        Step, st.sampled_from(["images", "texts"]), st.integers(0, 1), st.lists(event, min_size=1, max_size=6)
    )
    steps = draw(st.lists(step, min_size=1, max_size=25))
    return sorted(steps, key=lambda step: min(step.events)) if draw(st.booleans()) else steps


def build_specs():
    return [
        build_spec("images"),
        build_spec("texts", sizes_ms=(HOUR_MS, DAY_MS), disorder_ms=20 * MINUTE_MS),
    ]


@settings(max_examples=100, deadline=None)
@given(recordings(), st.sets(st.integers(0, 24)))
def test_a_restart_from_the_state_is_not_to_be_told_from_an_uninterrupted_run(steps, restarts):
    whole, broken = Run(*build_specs(), partition_count=2), Run(*build_specs(), partition_count=2)
    for number, step in enumerate(steps):
        if number in restarts:
            broken.begin()
        late = [
            run.read(*step.events, stream=step.stream, partition=step.partition).late.tolist()
            for run in (whole, broken)
        ]
        assert late[0] == late[1]
        assert said(broken.advance()) == said(whole.advance())
        assert written(broken) == written(whole)
    broken.begin()
    assert said(broken.close(ended=True)) == said(whole.close(ended=True))


def said(results):
    return [
        (r.stream, *of, r.events_lost, r.missing) for r, of in zip(results, summary(results), strict=True)
    ]


def written(run):
    """The last round's changes but for the progress, to be compared whatever their order."""
    return Counter(
        (change.partition, change.key, str(change.value))
        for change in run.changes
        if not isinstance(change.key, ProgressKey)
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 30 * 60), st.integers(0, CLUSTERS - 1)),
        min_size=1,
        max_size=80,
    ),
    st.lists(st.integers(0, 80), max_size=8),
    st.sampled_from([(HOUR_MS,), (HOUR_MS, DAY_MS), (7 * MINUTE_MS, HOUR_MS)]),
)
def test_any_batches_and_rounds_end_in_the_exact_counts_where_nothing_is_beyond_tolerance(
    drawn, cuts, sizes_ms
):
    events = [(p, i, MONDAY_MS + minute * MINUTE_MS, c) for i, (p, minute, c) in enumerate(drawn)]
    run = Run(build_spec(sizes_ms=sizes_ms, lateness_ms=2 * DAY_MS), partition_count=3)
    results = []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(events)], strict=True):
        if events[start:end]:
            assert not run.pipeline.count(build_batch(events[start:end]), run.now_ms).late.any()
        results += run.advance()
    results += run.close(ended=True)
    published = {}
    for result in results:
        assert result.revision == published.get(result.window, (-1,))[0] + 1
        published[result.window] = (result.revision, tuple(result.counts.tolist()))
    assert {window: counts for window, (_, counts) in published.items()} == {
        window: counts_of(events, window) for window in windows_of(events, sizes_ms)
    }


RICH = build_reference(
    "rich",
    count=100_000,
    segments=(
        build_segment("country", "de", 20_000, 15_000, 10_000, 5_000),
        build_segment("country", "other", 20_000, 15_000, 10_000, 5_000),
    ),
)
WINDOWS = 4
EVENTS = 1_200


def build_events():
    """Events of four hours, of which the third and fourth are of other shares; no two vectors are alike."""
    random = np.random.default_rng(7)
    hour = np.arange(EVENTS) % WINDOWS
    shares = np.where(hour[:, None] < 2, [0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4])
    cluster = (random.random((EVENTS, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    return EventBatch(
        stream="images",
        row=np.arange(EVENTS),
        partition=np.zeros(EVENTS, dtype=np.int32),
        offset=np.arange(EVENTS),
        time_ms=MONDAY_MS + hour * HOUR_MS + random.integers(HOUR_MS, size=EVENTS),
        vectors=(np.eye(CLUSTERS)[cluster] + random.normal(0, 0.2, (EVENTS, CLUSTERS))).astype(np.float32),
        event_ids=[f"event-{number}" for number in range(EVENTS)],
        segments=[{"country": name} for name in random.choice(["de", "fr", "es"], EVENTS)],
    )


def results_of(events, partition, order, cuts):
    """The results of all windows, of events on these partitions, read in this order in these batches."""
    spec = build_spec(
        reference=RICH, sizes_ms=(HOUR_MS, 2 * HOUR_MS), alarm=replace(ALARM, segment_keys=("country",))
    )
    run = Run(spec, partition_count=int(partition.max()) + 1)
    for rows in np.split(order, sorted(cuts)):
        if len(rows):
            batch = replace(
                events,
                row=np.arange(len(rows)),
                partition=partition[rows].astype(np.int32),
                offset=rows,
                time_ms=events.time_ms[rows],
                vectors=events.vectors[rows],
                event_ids=[events.event_ids[row] for row in rows],
                segments=[events.segments[row] for row in rows],
            )
            run.pipeline.count(batch, run.now_ms)
    return [plain(result) for result in run.close(ended=True)]


EVENTS_OF_FOUR_HOURS = build_events()
AT_ONCE = results_of(EVENTS_OF_FOUR_HOURS, np.zeros(EVENTS, dtype=np.int64), np.arange(EVENTS), [])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**32 - 1), st.lists(st.integers(0, EVENTS), max_size=12))
def test_any_split_over_partitions_and_batches_gives_the_same_results_to_the_bit(partitions, seed, cuts):
    random = np.random.default_rng(seed)
    partition, order = random.integers(partitions, size=EVENTS), random.permutation(EVENTS)
    assert results_of(EVENTS_OF_FOUR_HOURS, partition, order, cuts) == AT_ONCE


def test_what_is_the_same_whatever_the_split_says_something():
    small = [result for result in AT_ONCE if result["window"]["size_ms"] == HOUR_MS]
    assert [result["verdict"] for result in small] == ["insufficient", "insufficient", "warning", "drift"]
    for result in small:
        assert 0 < result["score"]["novelty"] < 1
        assert len(result["segments"]) == 2
        assert all(segment["count"] > 50 for segment in result["segments"])
        assert {len(names) for names in result["examples"].values()} == {3}


def test_a_window_revised_by_who_has_read_a_transaction_in_part_has_all_of_it_in_the_end():
    spec = build_spec(
        reference=RICH,
        sizes_ms=(HOUR_MS, 2 * HOUR_MS),
        lateness_ms=2 * HOUR_MS,
        alarm=replace(ALARM, segment_keys=("country",)),
    )
    run = Run(spec)
    for number, hour in enumerate((0, 1, 2)):
        count_named(run, number, hour)
    run.close()
    # What a commit brings is read change by change, and windows are closed after each.
    for number, hour in ((3, 0.5), (4, 1.5)):
        count_named(run, number, hour)
    home, final = Windows(spec, run.table), {}
    changes = run.pipeline.advance(run.now_ms, run.positions, {}).changes
    assert len(changes) > 6
    for change in changes:
        run.table.apply(change)
        closed = home.close(run.now_ms, {RICH.key: RICH}.get)
        final |= {result.window: result for result in closed.results}
    assert [final[window].count for window in sorted(final)] == [2, 2, 4]
    for result in final.values():
        assert sum(segment.count for segment in result.segments) == result.count
        assert len(result.examples[3]) == min(result.count, 3)


def count_named(run, number, hour):
    """Read an event with a name and a segment; all are of the same cluster."""
    rows = [(0, number, *at(hour, cluster=3))]
    batch = build_batch(rows, event_ids=[f"event-{number}"], segments=[{"country": "de"}])
    run.positions[0] += 1
    run.pipeline.count(batch, run.now_ms)


def test_after_a_standstill_the_oldest_windows_come_first_and_none_is_final_unpublished():
    run = Run(build_spec(sizes_ms=(MINUTE_MS,), lateness_ms=0, disorder_ms=0))
    run.read(*((number * MINUTE_MS, 0) for number in range(1_150)), (1_150 * MINUTE_MS, 0))
    run.advance()
    rounds = [[result.window.start_ms // MINUTE_MS for result in run.advance()] for _ in range(4)]
    assert [len(found) for found in rounds] == [648, 502, 0, 0]
    assert [start for found in rounds for start in found] == list(range(1_150))


def test_panes_that_are_final_are_forgotten_in_portions():
    run = Run(build_spec(sizes_ms=(MINUTE_MS,), lateness_ms=0, disorder_ms=0))
    run.read(*((number * MINUTE_MS, 0) for number in range(450)), (450 * MINUTE_MS, 0))
    forgotten = []
    for _ in range(10):
        run.advance()
        forgotten.append(
            sum(isinstance(change.key, PaneKey) and change.value is None for change in run.changes)
        )
    assert max(forgotten) == 200
    assert sum(forgotten) == 450
