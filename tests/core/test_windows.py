"""Tumbling windows: due, revised, purged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.result import Window
from driftgauge.core.windows import Windows, WindowsSnapshot
from tests.core.builders import CLUSTERS, DAY_MS, HOUR_MS, MINUTE_MS, build_batch, counts_of, windows_of
from tests.core.test_panes import SIZES, event_lists


def windows(*sizes_ms, lateness_ms=0, baseline_id="one", snapshot=None):
    return Windows(
        sizes_ms or (HOUR_MS,),
        CLUSTERS,
        lateness_ms=lateness_ms,
        baseline_id=baseline_id,
        snapshot=snapshot or WindowsSnapshot(),
    )


def add(windows, events):
    batch = build_batch(events)
    windows.panes.add(batch.partition, batch.offset, batch.time_ms, batch.vectors.argmax(axis=1))


def at(*times_ms, cluster=0):
    return [(0, i, time_ms, cluster) for i, time_ms in enumerate(times_ms)]


def everything(_):
    return True


def passed_by(watermark_ms):
    return lambda window: window.end_ms <= watermark_ms


@settings(max_examples=60)
@given(event_lists(), SIZES.filter(lambda sizes: sizes[0] > 1))
def test_every_window_that_holds_events_closes_once_with_its_exact_count(events, sizes_ms):
    several = windows(*sizes_ms)
    add(several, events)
    closed = several.close(everything)
    assert {(c.window, tuple(c.counts.tolist()), c.revision, c.repeated) for c in closed} == {
        (window, counts_of(events, window), 0, False) for window in windows_of(events, sizes_ms)
    }
    assert len({c.window for c in closed}) == len(closed)
    assert several.close(everything) == []


def test_windows_close_oldest_end_first_and_the_smaller_of_equals_before_the_larger():
    both = windows(HOUR_MS, DAY_MS)
    add(both, at(DAY_MS - 1, 0, DAY_MS))
    assert [closed.window for closed in both.close(everything)] == [
        Window(HOUR_MS, 0),
        Window(HOUR_MS, DAY_MS - HOUR_MS),
        Window(DAY_MS, 0),
        Window(HOUR_MS, DAY_MS),
        Window(DAY_MS, DAY_MS),
    ]


def test_only_due_windows_close():
    hourly = windows()
    add(hourly, at(0, HOUR_MS))
    assert [closed.window.start_ms for closed in hourly.close(passed_by(HOUR_MS))] == [0]
    assert hourly.close(passed_by(2 * HOUR_MS - 1)) == []
    assert [closed.window.start_ms for closed in hourly.close(passed_by(2 * HOUR_MS))] == [HOUR_MS]


def test_a_changed_window_closes_again_with_the_next_revision_and_the_whole_count():
    hourly = windows(lateness_ms=DAY_MS)
    add(hourly, at(0, 1))
    hourly.close(everything)
    add(hourly, [(0, 2, 5, 3)])
    (again,) = hourly.close(everything)
    assert (again.revision, again.counts.tolist(), again.repeated) == (1, [2, 0, 0, 1], False)
    assert hourly.close(everything) == []


def test_nothing_is_late_before_the_first_horizon():
    assert windows().late(np.array([0, 10**14])) == {HOUR_MS: pytest.approx([False, False])}


def test_an_event_is_late_once_the_horizon_reaches_its_windows_end():
    both = windows(HOUR_MS, DAY_MS, lateness_ms=10 * MINUTE_MS)
    both.purge(HOUR_MS + 10 * MINUTE_MS - 1)
    times = np.array([0, HOUR_MS - 1, HOUR_MS])
    assert both.late(times)[HOUR_MS].tolist() == [False, False, False]
    both.purge(HOUR_MS + 10 * MINUTE_MS)
    assert both.late(times)[HOUR_MS].tolist() == [True, True, False]
    assert both.late(times)[DAY_MS].tolist() == [False, False, False]


def test_the_horizon_never_goes_back():
    hourly = windows()
    hourly.purge(3 * HOUR_MS)
    hourly.purge(HOUR_MS)
    assert hourly.late(np.array([3 * HOUR_MS - 1]))[HOUR_MS].tolist() == [True]
    assert hourly.snapshot().horizon_ms == 3 * HOUR_MS


@settings(max_examples=60)
@given(event_lists(), SIZES.filter(lambda sizes: sizes[0] > 1), st.integers(0, 4 * DAY_MS))
def test_the_purge_drops_exactly_the_panes_that_every_size_is_past(events, sizes_ms, horizon_ms):
    several = windows(*sizes_ms)
    add(several, events)
    several.purge(horizon_ms)
    left = [
        event
        for event in events
        if any(event[2] // size_ms * size_ms + size_ms > horizon_ms for size_ms in sizes_ms)
    ]
    assert several.panes.total(0, 4 * DAY_MS).sum() == len(left)
    open_windows = {window for window in windows_of(events, sizes_ms) if window.end_ms > horizon_ms}
    assert several.open_windows() == open_windows
    assert several.count_open() == {
        size_ms: sum(window.size_ms == size_ms for window in open_windows) for size_ms in sizes_ms
    }
    assert {(c.window, tuple(c.counts.tolist())) for c in several.close(everything)} == {
        (window, counts_of(events, window)) for window in open_windows
    }


def test_a_size_without_an_open_window_counts_none():
    both = windows(HOUR_MS, DAY_MS)
    assert both.count_open() == {HOUR_MS: 0, DAY_MS: 0}
    add(both, at(0, HOUR_MS))
    assert both.count_open() == {HOUR_MS: 2, DAY_MS: 1}
    both.purge(2 * HOUR_MS)
    assert both.count_open() == {HOUR_MS: 0, DAY_MS: 1}


def test_a_window_past_correction_is_not_published_again_though_a_larger_one_keeps_its_panes():
    both = windows(HOUR_MS, DAY_MS)
    add(both, at(0))
    both.close(passed_by(HOUR_MS))
    both.purge(HOUR_MS)
    add(both, [(0, 1, 1, 0)])
    assert both.close(passed_by(HOUR_MS)) == []
    (day,) = both.close(everything)
    assert (day.window, day.counts.sum()) == (Window(DAY_MS, 0), 2)


def test_retirement_gives_up_what_has_ended_by_wall_time_and_nothing_else():
    hourly = windows(lateness_ms=DAY_MS)
    add(hourly, at(0, HOUR_MS, 2 * HOUR_MS))
    hourly.retire(2 * HOUR_MS + 1)
    assert hourly.open_windows() == {Window(HOUR_MS, 2 * HOUR_MS)}
    assert hourly.late(np.array([2 * HOUR_MS - 1, 2 * HOUR_MS]))[HOUR_MS].tolist() == [True, False]


def test_retirement_of_nothing_moves_no_horizon():
    hourly = windows()
    hourly.retire(DAY_MS)
    add(hourly, at(5 * DAY_MS))
    hourly.retire(DAY_MS)
    assert hourly.snapshot().horizon_ms is None


def test_retirement_keeps_the_panes_of_a_larger_window_that_goes_on():
    both = windows(HOUR_MS, DAY_MS)
    add(both, at(0, HOUR_MS))
    both.retire(2 * HOUR_MS)
    assert both.open_windows() == {Window(DAY_MS, 0)}
    assert both.panes.total(0, DAY_MS).sum() == 2


def test_a_restored_window_is_published_again_with_its_last_revision_where_nothing_changed():
    hourly = windows(lateness_ms=DAY_MS)
    add(hourly, at(0))
    hourly.close(everything)
    add(hourly, at(1))
    hourly.close(everything)
    restored = windows(lateness_ms=DAY_MS, snapshot=hourly.snapshot())
    add(restored, at(0, 1))
    assert [(c.window.start_ms, *said(c)) for c in restored.close(everything)] == [(0, 1, 2, True)]
    assert restored.close(everything) == []


def test_a_repeated_window_that_changes_afterwards_gets_the_next_revision_and_is_no_repetition():
    hourly = windows(lateness_ms=DAY_MS)
    add(hourly, at(0))
    hourly.close(everything)
    restored = windows(lateness_ms=DAY_MS, snapshot=hourly.snapshot())
    add(restored, at(0))
    assert [said(c) for c in restored.close(everything)] == [(0, 1, True)]
    add(restored, at(1))
    assert [said(c) for c in restored.close(everything)] == [(1, 2, False)]


def said(closed):
    return closed.revision, closed.counts.sum(), closed.repeated


def test_a_restored_window_that_had_changed_since_its_publication_is_published_with_the_next_revision():
    hourly = windows(lateness_ms=DAY_MS)
    add(hourly, at(0))
    hourly.close(everything)
    add(hourly, at(1))
    restored = windows(lateness_ms=DAY_MS, snapshot=hourly.snapshot())
    add(restored, at(0, 1))
    assert [said(c) for c in restored.close(everything)] == [(1, 2, False)]


def test_a_restored_window_counted_against_another_baseline_is_published_with_the_next_revision():
    hourly = windows(lateness_ms=DAY_MS, baseline_id="one")
    add(hourly, at(0, 1))
    hourly.close(everything)
    other = windows(lateness_ms=DAY_MS, baseline_id="other", snapshot=hourly.snapshot())
    add(other, at(0, 1, cluster=2))
    (closed,) = other.close(everything)
    assert said(closed) == (1, 2, False)
    assert closed.counts.tolist() == [0, 0, 2, 0]
    assert other.close(everything) == []
    assert other.snapshot() == WindowsSnapshot(None, ((Window(HOUR_MS, 0), 1, 2),), "other")


@pytest.mark.parametrize("baseline_id", ["one", "other"])
def test_another_baseline_is_not_forgotten_by_a_run_that_ended_before_it_published(baseline_id):
    hourly = windows(lateness_ms=DAY_MS, baseline_id="one")
    add(hourly, at(0, 1))
    hourly.close(everything)
    other = windows(lateness_ms=DAY_MS, baseline_id="other", snapshot=hourly.snapshot())
    add(other, at(0, 1))
    last = windows(lateness_ms=DAY_MS, baseline_id=baseline_id, snapshot=other.snapshot())
    add(last, at(0, 1))
    assert [said(c) for c in last.close(everything)] == [(1, 2, False)]


def test_a_restored_window_that_has_lost_events_stays_as_it_was_published():
    before = WindowsSnapshot(None, ((Window(HOUR_MS, 0), 4, 3),), "one")
    short = windows(snapshot=before)
    add(short, at(0, 1))
    assert short.close(everything) == []
    assert short.snapshot() == before
    add(short, at(2, 3))
    assert [said(c) for c in short.close(everything)] == [(5, 4, False)]


def test_a_snapshot_taken_before_the_restored_windows_are_published_again_says_the_same():
    hourly = windows(lateness_ms=DAY_MS)
    add(hourly, at(0, HOUR_MS))
    hourly.close(everything)
    restored = windows(lateness_ms=DAY_MS, snapshot=hourly.snapshot())
    add(restored, at(0, HOUR_MS))
    assert restored.snapshot() == hourly.snapshot()


def test_a_restored_horizon_judges_lateness_before_any_watermark_is_known():
    hourly = windows(snapshot=WindowsSnapshot(horizon_ms=2 * HOUR_MS))
    assert hourly.late(np.array([2 * HOUR_MS - 1, 2 * HOUR_MS]))[HOUR_MS].tolist() == [True, False]


def test_a_size_that_is_no_longer_configured_is_forgotten():
    both = windows(HOUR_MS, DAY_MS, lateness_ms=DAY_MS)
    add(both, at(0))
    both.close(everything)
    daily = windows(DAY_MS, lateness_ms=DAY_MS, snapshot=both.snapshot())
    add(daily, at(0))
    assert {entry[0].size_ms for entry in daily.snapshot().published} == {DAY_MS}
    assert [closed.window for closed in daily.close(everything)] == [Window(DAY_MS, 0)]


def test_purged_windows_leave_the_snapshot():
    hourly = windows()
    add(hourly, at(0, HOUR_MS))
    hourly.close(everything)
    assert len(hourly.snapshot().published) == 2
    hourly.purge(HOUR_MS)
    assert [entry[0] for entry in hourly.snapshot().published] == [Window(HOUR_MS, HOUR_MS)]
