"""Panes: exact integer tallies, however the events are split, ordered and spread."""

from math import gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.panes import PanePlace, Panes
from driftgauge.core.counting.tally import Tally
from tests.core.builders import CLUSTERS, DAY_MS, HOUR_MS, MINUTE_MS

SEGMENTS = 3
SIZES = st.sampled_from(
    [(HOUR_MS,), (HOUR_MS, DAY_MS), (7 * MINUTE_MS, HOUR_MS), (90 * MINUTE_MS, 2 * HOUR_MS), (1, 1_000)]
)
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, SEGMENTS - 1),
        st.integers(0, 3 * DAY_MS),
        st.integers(0, CLUSTERS - 1),
    ),
    min_size=1,
    max_size=60,
)
CUTS = st.lists(st.integers(0, 60), max_size=5).map(sorted)


def is_beyond(time_ms):
    return time_ms % 3 == 0


def places_of(time_ms, cluster):
    """Whatever differs from event to event, in two components."""
    return time_ms, -(10**12) * (cluster + 1)


def add(panes, *events):
    """Count (partition, segment, time_ms, cluster) events."""
    partition, segment, time_ms, cluster = np.array(events, dtype=np.int64).T
    panes.add(
        partition.astype(np.int32),
        time_ms,
        segment,
        cluster=cluster,
        beyond=is_beyond(time_ms),
        places=np.stack(places_of(time_ms, cluster), axis=1),
    )


def panes_of(events, pane_ms, cuts=()):
    panes = Panes(pane_ms, CLUSTERS, SEGMENTS)
    for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        if events[start:end]:
            add(panes, *events[start:end])
    return panes


def taken(panes):
    """Where -> values, of what changed since last asked."""
    return {place: values.tolist() for place, values in panes.take_changed()}


def taken_counts(panes):
    """(partition, start) -> counts, of what changed since last asked."""
    return {
        (place.partition, place.start_ms): Tally(values, CLUSTERS).counts.tolist()
        for place, values in panes.take_changed()
    }


def direct_tally(events, pane_ms):
    tallies = {}
    for partition, segment, time_ms, cluster in events:
        place = PanePlace(time_ms // pane_ms * pane_ms, partition, segment)
        values = tallies.setdefault(place, [0] * (CLUSTERS + 3))
        values[cluster] += 1
        values[CLUSTERS] += is_beyond(time_ms)
        for component, along in enumerate(places_of(time_ms, cluster)):
            values[CLUSTERS + 1 + component] += along
    return tallies


@settings(max_examples=60)
@given(EVENTS, SIZES, CUTS)
def test_every_pane_of_every_partition_is_counted_exactly_however_the_events_are_split(events, sizes, cuts):
    pane_ms = gcd(*sizes)
    assert taken(panes_of(events, pane_ms, cuts)) == direct_tally(events, pane_ms)


@given(EVENTS, st.permutations(range(4)))
def test_the_order_in_which_partitions_are_read_changes_no_count(events, order):
    by_partition = [event for partition in order for event in events if event[0] == partition]
    assert taken(panes_of(events, HOUR_MS)) == taken(panes_of(by_partition, HOUR_MS))


@pytest.mark.parametrize(("time_ms", "start"), [(0, 0), (HOUR_MS - 1, 0), (HOUR_MS, HOUR_MS)])
def test_a_pane_begins_at_its_first_millisecond_and_ends_before_the_next_ones(time_ms, start):
    assert list(panes_of([(0, 0, time_ms, 0)], HOUR_MS).places()) == [PanePlace(start, 0, 0)]


def test_only_panes_that_were_counted_into_since_last_asked_are_taken_whole_and_in_order():
    panes = panes_of([(0, 0, HOUR_MS, 1), (1, 2, 0, 2), (1, 0, 0, 2), (0, 0, 0, 3)], HOUR_MS)
    assert [place for place, _ in panes.take_changed()] == [
        PanePlace(0, 0, 0),
        PanePlace(0, 1, 0),
        PanePlace(0, 1, 2),
        PanePlace(HOUR_MS, 0, 0),
    ]
    assert taken(panes) == {}
    add(panes, (1, 0, 5, 2))
    assert taken_counts(panes) == {(1, 0): [0, 0, 2, 0]}


def test_what_was_taken_is_not_changed_by_later_events():
    panes = panes_of([(0, 0, 1, 1)], HOUR_MS)
    ((_, before),) = panes.take_changed()
    add(panes, (0, 0, 2, 1))
    assert before.tolist() == [0, 1, 0, 0, 0, *places_of(1, 1)]
    assert before.dtype == np.int64


def test_a_restored_pane_is_no_change_and_is_counted_on():
    panes = Panes(HOUR_MS, CLUSTERS, SEGMENTS)
    place = PanePlace(HOUR_MS, 2, 1)
    kept = np.array([5, 0, 0, 0, 1, 100, 200])
    panes.restore(place, kept)
    assert taken(panes) == {}
    add(panes, (2, 1, HOUR_MS + 1, 3))
    along = places_of(HOUR_MS + 1, 3)
    assert taken(panes) == {place: [5, 0, 0, 1, 1, 100 + along[0], 200 + along[1]]}
    assert kept.tolist() == [5, 0, 0, 0, 1, 100, 200]


def test_a_dropped_pane_is_forgotten_and_its_neighbours_are_not():
    panes = panes_of([(0, 0, 0, 1), (0, 1, 0, 1), (0, 0, HOUR_MS, 2), (1, 0, 0, 3)], HOUR_MS)
    panes.drop(PanePlace(0, 0, 0))
    left = {PanePlace(HOUR_MS, 0, 0), PanePlace(0, 1, 0), PanePlace(0, 0, 1)}
    assert set(panes.places()) == left
    assert set(taken(panes)) == left


def test_a_pane_that_is_filled_again_after_its_drop_starts_anew():
    panes = panes_of([(0, 0, 0, 1)], HOUR_MS)
    panes.drop(PanePlace(0, 0, 0))
    add(panes, (0, 0, 7, 2))
    assert taken_counts(panes) == {(0, 0): [0, 0, 1, 0]}


def test_touched_panes_are_all_taken_again():
    panes = panes_of([(0, 0, 0, 1), (1, 1, HOUR_MS, 2)], HOUR_MS)
    everything = taken(panes)
    restored = PanePlace(0, 3, 0)
    panes.restore(restored, np.array([0, 0, 0, 9, 0, 0, 0]))
    panes.touch()
    assert taken(panes) == everything | {restored: [0, 0, 0, 9, 0, 0, 0]}
