"""A batch's road through the core: counted, closed, corrected, purged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.assignment import Centroids, Metric
from driftgauge.core.batch import EventBatch
from driftgauge.core.divergence import js_contributions
from driftgauge.core.result import Window
from tests.core.builders import (
    CLUSTERS,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    MONDAY_MS,
    SECOND_MS,
    Run,
    build_batch,
    build_spec,
    counts_of,
    summary,
    windows_of,
)

LATENESS_MS = 10 * MINUTE_MS
FIRST_HOUR = Window(HOUR_MS, MONDAY_MS)
IDLE_MS = MINUTE_MS


def at(hours, cluster=0):
    return (MONDAY_MS + round(hours * HOUR_MS), cluster)


def hours(results):
    """(hour since Monday, revision, count) of each hourly result."""
    return [
        ((r.window.start_ms - MONDAY_MS) / HOUR_MS, r.revision, r.count)
        for r in results
        if r.window.size_ms == HOUR_MS
    ]


def test_a_window_closes_when_the_watermark_passes_its_end():
    run = Run(build_spec(disorder_ms=30 * SECOND_MS))
    run.read(at(0), at(0.5, 1), at(0.99, 1))
    assert run.close() == []
    run.read((MONDAY_MS + HOUR_MS + 30 * SECOND_MS - 1, 2))
    assert run.close() == []
    run.read((MONDAY_MS + HOUR_MS + 30 * SECOND_MS, 2))
    (result,) = run.close()
    assert (result.stream, result.window, result.revision) == ("images", FIRST_HOUR, 0)
    assert result.counts.tolist() == [1, 2, 0, 0]
    assert run.close() == []


def test_a_result_bears_the_baseline_and_the_score():
    spec = build_spec()
    run = Run(spec)
    run.read(at(0, 3), at(0, 1), at(1))
    (result,) = run.close()
    assert result.baseline_id == spec.baseline_id
    np.testing.assert_array_equal(result.baseline_counts, spec.baseline_counts)
    np.testing.assert_array_equal(
        result.score.contributions, js_contributions(result.counts, spec.baseline_counts)
    )


@pytest.mark.parametrize(("count", "scored"), [(4, False), (5, True)])
def test_a_window_with_too_few_events_has_no_score(count, scored):
    run = Run(build_spec(min_events=5))
    run.read(*[at(0)] * count, at(1))
    (result,) = run.close()
    assert (result.count, result.score is not None) == (count, scored)


def test_an_event_within_the_allowed_lateness_gives_the_next_revision_with_the_whole_count():
    run = Run(build_spec())
    run.read(at(0), at(1))
    assert summary(run.close()) == [(HOUR_MS, MONDAY_MS, 0, (1, 0, 0, 0))]
    counted = run.read(at(0.5, 3))
    assert not counted.late.any()
    assert summary(run.close()) == [(HOUR_MS, MONDAY_MS, 1, (1, 0, 0, 1))]


def test_rounds_without_a_change_publish_nothing():
    run = Run(build_spec())
    run.read(at(0), at(1))
    run.close()
    run.read(at(1.1))
    assert run.close() == []
    assert run.close(after_ms=DAY_MS) == []


def test_an_event_beyond_the_horizon_is_late_and_counted_nowhere():
    run = Run(build_spec())
    run.read(at(0), at(1), (MONDAY_MS + HOUR_MS + LATENESS_MS, 0))
    assert len(run.close()) == 1
    counted = run.read(at(0.9), at(1.5))
    assert counted.late.tolist() == [True, False]
    assert counted.late_by_size[HOUR_MS].tolist() == [True, False]
    run.read(at(2))
    assert hours(run.close()) == [(1, 0, 3)]


def test_each_partition_of_a_batch_has_its_own_watermark():
    run = Run(build_spec(), partitions=(0, 1))
    events = [(0, 0, *at(0)), (1, 0, *at(5)), (0, 1, *at(1)), (1, 1, *at(4))]
    run.pipeline.count(build_batch(events), run.now_ms)
    assert hours(run.close()) == [(0, 0, 1)]
    assert run.pipeline.watermarks_ms() == {"images": MONDAY_MS + HOUR_MS}


def test_the_horizon_is_exact_to_the_millisecond():
    run = Run(build_spec())
    run.read(at(0), (MONDAY_MS + HOUR_MS + LATENESS_MS - 1, 0))
    run.close()
    assert not run.read(at(0)).late.any()
    run.read((MONDAY_MS + HOUR_MS + LATENESS_MS, 0))
    assert hours(run.close()) == [(0, 1, 2)]
    assert run.read(at(0)).late.all()


def test_an_event_late_for_its_hour_is_still_counted_in_its_day():
    run = Run(build_spec(sizes_ms=(HOUR_MS, DAY_MS)))
    run.read(at(0), at(2))
    run.close()
    counted = run.read(at(0.5))
    assert counted.late_by_size[HOUR_MS].tolist() == [True]
    assert counted.late_by_size[DAY_MS].tolist() == [False]
    assert counted.late.tolist() == [False]
    assert run.close() == []
    run.read(at(24))
    assert summary(run.close()) == [
        (HOUR_MS, MONDAY_MS + 2 * HOUR_MS, 0, (1, 0, 0, 0)),
        (DAY_MS, MONDAY_MS, 0, (3, 0, 0, 0)),
    ]


def test_an_overflown_event_is_counted_nowhere_and_moves_no_watermark():
    centroids = Centroids(np.array([[0, 0, 0, 0], [3, 3, 3, 3]], dtype=np.float32), Metric.EUCLIDEAN)
    run = Run(build_spec(centroids=centroids, baseline_counts=np.array([5, 5])))
    run.read(at(0))
    huge = EventBatch(
        stream="images",
        row=np.array([0]),
        partition=np.array([0], dtype=np.int32),
        offset=np.array([1]),
        time_ms=np.array([MONDAY_MS + DAY_MS]),
        vectors=np.full((1, 4), 3e38, dtype=np.float32),
    )
    counted = run.pipeline.count(huge, run.now_ms)
    assert (counted.overflown.tolist(), counted.late.tolist()) == ([True], [False])
    assert run.close() == []
    assert [r.count for r in run.pipeline.finish()] == [1]


def test_streams_do_not_share_counts_or_watermarks():
    run = Run(build_spec("images"), build_spec("texts", sizes_ms=(DAY_MS,)))
    run.read(at(0), at(1), stream="images")
    run.read(at(0, 2), stream="texts")
    assert [(r.stream, r.window) for r in run.close()] == [("images", FIRST_HOUR)]
    assert run.pipeline.watermarks_ms() == {"images": MONDAY_MS + HOUR_MS, "texts": MONDAY_MS}
    assert run.pipeline.open_windows() == {("images", HOUR_MS): 2, ("texts", DAY_MS): 1}
    assert [(r.stream, r.window, r.revision, r.count) for r in run.pipeline.finish()] == [
        ("images", Window(HOUR_MS, MONDAY_MS + HOUR_MS), 0, 1),
        ("texts", Window(DAY_MS, MONDAY_MS), 0, 1),
    ]
    with pytest.raises(KeyError):
        run.read(at(0), stream="sounds")


def test_a_stream_six_hours_behind_another_on_the_same_partitions_loses_nothing():
    run = Run(build_spec("live"), build_spec("behind"), partitions=(0, 1))
    results = []
    for step in range(200):
        for partition in (0, 1):
            live = run.read(at(6 + step / 10, 1), stream="live", partition=partition)
            behind = run.read(at(step / 10, 2), stream="behind", partition=partition)
            assert not live.late.any()
            assert not behind.late.any()
        results += run.close(after_ms=SECOND_MS)
    results += run.pipeline.finish()
    for stream, first in (("live", 6), ("behind", 0)):
        assert [(start, revision, count) for start, revision, count in hours(of(stream, results))] == [
            (first + hour, 0, 20) for hour in range(20)
        ]


def of(stream, results):
    return [result for result in results if result.stream == stream]


def test_a_partition_far_ahead_in_a_catch_up_purges_and_closes_nothing_early():
    run = Run(build_spec(), partitions=(0, 1))
    run.read(at(0, 1), partition=1)
    for hour in range(100):
        run.read(at(hour), partition=0)
        assert run.close(after_ms=SECOND_MS) == []
    results = []
    for hour in range(100):
        assert not run.read(at(hour, 1), partition=1).late.any()
        results += run.close(after_ms=SECOND_MS)
    results += run.pipeline.finish()
    assert hours(results) == [(0, 0, 3), *[(hour, 0, 2) for hour in range(1, 100)]]


def test_a_partition_that_was_never_read_holds_every_window_open():
    run = Run(build_spec(), partitions=(0, 1))
    run.read(at(0), at(50))
    assert run.close(after_ms=DAY_MS) == []
    assert run.pipeline.watermarks_ms() == {}


def test_an_idle_stream_closes_its_windows_only_once_they_have_ended_by_wall_time():
    run = Run(build_spec(idle_ms=IDLE_MS), now_ms=MONDAY_MS)
    run.read(at(0), at(0.01))
    assert run.fall_silent(IDLE_MS) == []
    assert run.fall_silent(HOUR_MS - IDLE_MS - 1) == []
    assert hours(run.fall_silent(1)) == [(0, 0, 2)]


def test_silence_without_the_end_offsets_closes_nothing():
    run = Run(build_spec(idle_ms=IDLE_MS))
    run.read(at(0))
    assert run.ask(after_ms=DAY_MS) == {0}
    assert run.close() == []
    end = run.positions[0] + 1
    assert run.ask() == {0}
    assert run.close({0: end}) == []
    run.positions[0] = end  # what was ahead was another stream's, or a refused event
    assert run.ask() == {0}
    assert run.close() == []  # an earlier answer is no answer
    assert run.ask() == {0}
    assert hours(run.close({0: end})) == [(0, 0, 1)]


def test_idleness_found_in_one_round_closes_nothing_in_the_next_without_an_answer():
    run = Run(build_spec(idle_ms=IDLE_MS), now_ms=MONDAY_MS)
    run.read(at(0))
    assert run.fall_silent(HOUR_MS - 1) == []
    assert run.close(after_ms=1) == []
    assert hours(run.fall_silent(0)) == [(0, 0, 1)]


def test_a_partition_that_is_idle_for_one_stream_is_not_for_another_that_speaks_there():
    run = Run(build_spec("images", idle_ms=IDLE_MS), build_spec("texts", idle_ms=IDLE_MS), now_ms=MONDAY_MS)
    run.read(at(0), stream="images")
    run.now_ms += HOUR_MS
    run.read(at(0), stream="texts")
    assert [(r.stream, r.window) for r in run.fall_silent(0)] == [("images", FIRST_HOUR)]
    assert [(r.stream, r.window) for r in run.fall_silent(IDLE_MS)] == [("texts", FIRST_HOUR)]


def half_hours(first, last, cluster=0):
    """An event every half hour, from and to these hours."""
    return [at(half / 2, cluster) for half in range(2 * first, 2 * last + 1)]


def test_a_backlog_that_lands_after_the_question_is_not_late_where_the_active_partition_is_read_first():
    run = Run(build_spec(idle_ms=IDLE_MS), partitions=(0, 1))
    run.read(at(0), partition=0)
    run.read(at(0), partition=1)
    run.now_ms += IDLE_MS
    run.read(at(0.1), partition=0)
    assert run.ask() == {1}
    ends = {1: run.positions[1]}
    # Only now is the backlog produced, to both.
    run.read(*half_hours(1, 5), partition=0)
    assert run.close(ends) == []
    assert run.pipeline.watermarks_ms() == {"images": at(0.1)[0]}
    assert run.ask() == {1}
    assert run.close({1: run.positions[1] + 9}) == []
    assert not run.read(*half_hours(1, 5, cluster=1), partition=1).late.any()
    assert hours(run.close()) == [(0, 0, 3), *[(hour, 0, 4) for hour in range(1, 5)]]


def test_a_partition_whose_reader_has_fallen_behind_is_not_idle_any_more_and_loses_nothing():
    run = Run(build_spec(idle_ms=IDLE_MS), partitions=(0, 1))
    run.read(at(0), partition=1)
    run.now_ms += IDLE_MS
    run.read(at(1), partition=0)
    assert hours(run.fall_silent(0)) == [(0, 0, 1)]
    backlog = half_hours(1, 5, cluster=1)
    for hour in range(2, 6):
        run.read(at(hour), partition=0)
        assert run.ask(after_ms=SECOND_MS) == {1}
        assert run.close({1: run.positions[1] + len(backlog)}) == []
    assert run.pipeline.watermarks_ms() == {"images": at(1)[0]}
    assert not run.read(*backlog, partition=1).late.any()
    assert hours(run.close()) == [(hour, 0, 3) for hour in range(1, 5)]


def test_a_window_closed_by_idleness_gets_no_revision_from_new_traffic_until_it_is_due_again():
    run = Run(build_spec(idle_ms=IDLE_MS), now_ms=MONDAY_MS + HOUR_MS)
    run.read(at(0.5))
    assert hours(run.fall_silent(IDLE_MS)) == [(0, 0, 1)]
    for minute in range(1, 6):
        run.read(at(0.5 + minute / 60))
        assert run.close(after_ms=SECOND_MS) == []
    run.read(at(1))
    assert hours(run.close()) == [(0, 1, 6)]


def test_a_window_closed_by_idleness_is_corrected_once_the_stream_is_idle_again():
    run = Run(build_spec(idle_ms=IDLE_MS), now_ms=MONDAY_MS + HOUR_MS)
    run.read(at(0.5))
    run.fall_silent(IDLE_MS)
    run.read(at(0.6))
    assert run.close(after_ms=IDLE_MS - 1) == []
    assert hours(run.fall_silent(1)) == [(0, 1, 2)]
    assert run.fall_silent(IDLE_MS) == []


def test_an_idle_partition_that_wakes_rewrites_no_purged_window():
    run = Run(build_spec(idle_ms=IDLE_MS), partitions=(0, 1))
    run.read(at(0), partition=0)
    run.now_ms += IDLE_MS
    run.read(at(0), at(3), partition=1)
    assert hours(run.fall_silent(0)) == [(0, 0, 2)]
    assert run.read(at(0.5), at(2.9), partition=0).late.tolist() == [True, False]
    assert hours(run.pipeline.finish()) == [(2, 0, 1), (3, 0, 1)]


def test_a_stream_silent_for_its_largest_window_and_the_lateness_is_retired():
    run = Run(build_spec(idle_ms=IDLE_MS), now_ms=MONDAY_MS)
    run.read(at(0.5), at(0.6))
    run.fall_silent(IDLE_MS)
    assert hours(run.fall_silent(HOUR_MS - IDLE_MS)) == [(0, 0, 2)]
    assert run.fall_silent(LATENESS_MS - 1) == []
    assert run.pipeline.open_windows() == {("images", HOUR_MS): 1}
    assert run.pipeline.first_open_offsets() == {0: 0}
    assert run.fall_silent(1) == []
    assert run.pipeline.open_windows() == {("images", HOUR_MS): 0}
    assert run.pipeline.first_open_offsets() == {}
    assert run.read(at(0.7)).late.all()
    assert run.pipeline.first_open_offsets() == {}  # a late event opens no pane again


def test_a_stream_whose_ends_are_unknown_is_not_retired_however_long_it_is_silent():
    run = Run(build_spec(idle_ms=IDLE_MS), now_ms=MONDAY_MS)
    run.read(at(0.5))
    assert hours(run.fall_silent(HOUR_MS)) == [(0, 0, 1)]
    assert run.close(after_ms=DAY_MS) == []
    assert run.pipeline.open_windows() == {("images", HOUR_MS): 1}
    assert not run.read(at(0.7)).late.any()


def test_retirement_keeps_a_window_that_has_not_ended():
    run = Run(build_spec(idle_ms=IDLE_MS, sizes_ms=(HOUR_MS,)), now_ms=MONDAY_MS)
    run.read(at(0.5), at(1.9))  # the second by a clock ahead of ours
    assert hours(run.fall_silent(HOUR_MS + LATENESS_MS)) == [(0, 0, 1)]
    assert run.pipeline.open_windows() == {("images", HOUR_MS): 1}
    assert run.pipeline.first_open_offsets() == {0: 1}
    assert hours(run.fall_silent(HOUR_MS)) == [(1, 0, 1)]


def test_a_late_event_breaks_the_silence():
    run = Run(build_spec(idle_ms=IDLE_MS))
    run.read(at(0), at(2))
    run.close()
    run.now_ms += IDLE_MS - 1
    assert run.read(at(0)).late.all()
    assert run.ask(after_ms=1) == set()
    assert run.ask(after_ms=IDLE_MS - 1) == {0}


def test_finish_closes_what_is_open_and_not_what_was_published():
    run = Run(build_spec())
    run.read(at(0), at(1), at(1))
    assert hours(run.close()) == [(0, 0, 1)]
    assert hours(run.pipeline.finish()) == [(1, 0, 2)]
    assert run.pipeline.finish() == []


def test_the_first_open_offset_is_the_lowest_over_streams():
    run = Run(build_spec("images"), build_spec("texts"), partitions=(0, 1))
    run.read(at(0), stream="images")
    run.read(at(0), stream="texts")
    assert run.pipeline.first_open_offsets() == {0: 0}
    run.read(at(5), stream="images", partition=0)
    run.read(at(5), stream="images", partition=1)
    run.close()
    assert run.pipeline.first_open_offsets() == {0: 1, 1: 0}


MINUTES = st.integers(0, 30 * 60)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2), MINUTES, st.integers(0, CLUSTERS - 1)), min_size=1, max_size=80),
    st.lists(st.integers(0, 80), max_size=8),
    st.sampled_from([(HOUR_MS,), (HOUR_MS, DAY_MS), (7 * MINUTE_MS, HOUR_MS)]),
)
def test_any_batches_and_rounds_end_in_the_exact_counts_where_nothing_is_beyond_tolerance(
    drawn, cuts, sizes_ms
):
    events = [(p, i, MONDAY_MS + minute * MINUTE_MS, c) for i, (p, minute, c) in enumerate(drawn)]
    run = Run(build_spec(sizes_ms=sizes_ms, lateness_ms=2 * DAY_MS), partitions=(0, 1, 2))
    results = []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(events)], strict=True):
        if events[start:end]:
            assert not run.pipeline.count(build_batch(events[start:end]), run.now_ms).late.any()
        results += run.close(after_ms=SECOND_MS)
    results += run.pipeline.finish()
    published = {}
    for result in results:
        assert result.revision == published.get(result.window, (-1,))[0] + 1
        published[result.window] = (result.revision, tuple(result.counts.tolist()))
    assert {window: counts for window, (_, counts) in published.items()} == {
        window: counts_of(events, window) for window in windows_of(events, sizes_ms)
    }
