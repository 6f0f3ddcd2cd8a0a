"""Panes: exact integer counts, however the events are split, ordered and spread."""

from math import gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.panes import Panes
from tests.core.builders import CLUSTERS, DAY_MS, HOUR_MS, MINUTE_MS, build_batch, counts_of, windows_of

SIZES = st.sampled_from(
    [(HOUR_MS,), (HOUR_MS, DAY_MS), (7 * MINUTE_MS, HOUR_MS), (90 * MINUTE_MS, 2 * HOUR_MS), (1, 1_000)]
)


@st.composite
def event_lists(draw, span_ms=3 * DAY_MS):
    """(partition, offset, time_ms, cluster) in the order read; offsets grow within a partition."""
    drawn = draw(
        st.lists(
            st.tuples(
                st.integers(0, 3), st.integers(0, span_ms), st.integers(0, CLUSTERS - 1), st.integers(1, 3)
            ),
            min_size=1,
            max_size=60,
        )
    )
    position = dict.fromkeys(range(4), 0)
    events = []
    for partition, time_ms, cluster, step in drawn:
        events.append((partition, position[partition], time_ms, cluster))
        position[partition] += step
    return events


def pane_ms(sizes_ms):
    return gcd(*sizes_ms)


def panes_of(events, sizes_ms, cuts=()):
    panes = Panes(pane_ms(sizes_ms), CLUSTERS)
    for part in np.split(np.array(events), sorted(cuts)):
        if len(part):
            batch = build_batch([tuple(event) for event in part.tolist()])
            panes.add(batch.partition, batch.offset, batch.time_ms, batch.vectors.argmax(axis=1))
    return panes


@settings(max_examples=60)
@given(event_lists(), SIZES, st.lists(st.integers(0, 60), max_size=5))
def test_every_window_of_every_size_is_counted_exactly_from_the_shared_panes(events, sizes_ms, cuts):
    panes = panes_of(events, sizes_ms, cuts)
    for window in windows_of(events, sizes_ms):
        # Summing milliseconds over hours would prove no more, only slowly.
        if window.size_ms // pane_ms(sizes_ms) <= 1_000:
            total = panes.total(window.start_ms, window.end_ms)
            assert total.dtype == np.int64
            assert tuple(total.tolist()) == counts_of(events, window)


@settings(max_examples=60)
@given(event_lists(), SIZES, st.lists(st.integers(0, 60), max_size=5))
def test_a_split_into_batches_leaves_the_same_panes_and_offsets(events, sizes_ms, cuts):
    whole, split = panes_of(events, sizes_ms), panes_of(events, sizes_ms, cuts)
    assert set(split.starts()) == set(whole.starts())
    for start in whole.starts():
        end = start + pane_ms(sizes_ms)
        np.testing.assert_array_equal(split.total(start, end), whole.total(start, end))
    assert split.first_offsets() == whole.first_offsets()


@given(event_lists(), st.permutations(range(4)))
def test_the_order_in_which_partitions_are_read_changes_no_count(events, order):
    by_partition = [event for partition in order for event in events if event[0] == partition]
    one, other = panes_of(events, (HOUR_MS,)), panes_of(by_partition, (HOUR_MS,))
    for window in windows_of(events, (HOUR_MS,)):
        np.testing.assert_array_equal(
            one.total(window.start_ms, window.end_ms), other.total(window.start_ms, window.end_ms)
        )


@given(event_lists(), st.sets(st.integers(0, 72)), st.lists(st.integers(0, 60), max_size=5))
def test_the_first_offset_is_the_lowest_of_the_events_in_open_panes(events, dropped, cuts):
    panes = panes_of(events, (HOUR_MS,), cuts)
    panes.drop([start for start in list(panes.starts()) if start // HOUR_MS in dropped])
    expected = {}
    for partition, offset, time_ms, _ in events:
        if time_ms // HOUR_MS not in dropped:
            expected[partition] = min(offset, expected.get(partition, offset))
    assert panes.first_offsets() == expected


def test_a_dropped_pane_is_forgotten_and_its_neighbours_are_not():
    panes = panes_of([(0, 5, 0, 1), (0, 6, HOUR_MS, 2), (1, 9, HOUR_MS - 1, 3)], (HOUR_MS,))
    panes.drop([0])
    assert list(panes.starts()) == [HOUR_MS]
    assert panes.total(0, 2 * HOUR_MS).tolist() == [0, 0, 1, 0]
    assert panes.first_offsets() == {0: 6}


def test_a_pane_that_is_filled_again_after_its_drop_starts_anew():
    panes = panes_of([(0, 5, 0, 1)], (HOUR_MS,))
    panes.drop([0])
    panes.add(np.array([0], np.int32), np.array([8]), np.array([7]), np.array([2]))
    assert panes.total(0, HOUR_MS).tolist() == [0, 0, 1, 0]
    assert panes.first_offsets() == {0: 8}


@pytest.mark.parametrize(("time_ms", "start"), [(0, 0), (HOUR_MS - 1, 0), (HOUR_MS, HOUR_MS)])
def test_a_pane_begins_at_its_first_millisecond_and_ends_before_the_next_panes(time_ms, start):
    assert list(panes_of([(0, 0, time_ms, 0)], (HOUR_MS,)).starts()) == [start]


def test_totals_are_copies_that_later_events_do_not_change():
    panes = panes_of([(0, 0, 0, 1)], (HOUR_MS,))
    before = panes.total(0, HOUR_MS)
    panes.add(np.array([0], np.int32), np.array([1]), np.array([1]), np.array([1]))
    assert before.tolist() == [0, 1, 0, 0]
