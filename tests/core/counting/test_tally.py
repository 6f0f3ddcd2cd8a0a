"""What is counted of a pane, as one vector of integers that adds up whatever the split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.counting.tally import Tally, tally_batch

CLUSTERS = 3
GROUPS = 4
# Beyond 2^53 a double would not tell neighbours apart.
PLACES = st.integers(-(2**58), 2**58)
EVENTS = st.lists(
    st.tuples(
        st.integers(0, GROUPS - 1),
        st.integers(0, CLUSTERS - 1),
        st.booleans(),
        st.tuples(PLACES, PLACES),
    ),
    min_size=1,
    max_size=30,
)


def tally(events):
    """Group -> the values of its tally, of (group, cluster, beyond, places) events."""
    numbers, group = np.unique([event[0] for event in events], return_inverse=True)
    values = tally_batch(
        group,
        len(numbers),
        CLUSTERS,
        cluster=np.array([event[1] for event in events], dtype=np.intp),
        outliers=np.array([event[2] for event in events], dtype=np.bool_),
        coordinates=np.array([event[3] for event in events], dtype=np.int64),
    )
    assert values.dtype == np.int64
    return dict(zip(numbers.tolist(), values, strict=True))


def one_by_one(events):
    """Group -> its values, event by event, in Python's integers."""
    values = {}
    for group, cluster, outliers, coordinates in events:
        its = values.setdefault(group, [0] * (CLUSTERS + 1 + len(coordinates)))
        its[cluster] += 1
        its[CLUSTERS] += outliers
        for component, place in enumerate(coordinates):
            its[CLUSTERS + 1 + component] += place
    return values


def as_lists(tallies):
    return {group: values.tolist() for group, values in tallies.items()}


@given(EVENTS)
def test_every_group_holds_exactly_its_own_events(events):
    assert as_lists(tally(events)) == one_by_one(events)


@given(EVENTS, st.integers(0, 30), st.randoms(use_true_random=False))
def test_neither_the_order_of_events_nor_their_split_changes_a_sum(events, cut, random):
    shuffled = events[:]
    random.shuffle(shuffled)
    total = {}
    for part in (shuffled[:cut], shuffled[cut:]):
        for group, values in (tally(part) if part else {}).items():
            total[group] = total.get(group, 0) + values
    assert as_lists(total) == as_lists(tally(events))


def test_a_tally_names_the_parts_of_its_values():
    seen = Tally(np.array([4, 0, 2, 5, -70, 900], dtype=np.int64), 3)
    assert seen.counts.tolist() == [4, 0, 2]
    assert (seen.count, seen.outliers) == (6, 5)
    assert (type(seen.count), type(seen.outliers)) == (int, int)
    assert seen.sums.tolist() == [-70, 900]


@pytest.mark.parametrize("components", [1, 32])
def test_a_tally_has_a_place_for_every_cluster_the_beyond_and_every_component(components):
    values = tally_batch(
        np.zeros(2, dtype=np.intp),
        1,
        CLUSTERS,
        cluster=np.array([0, 2]),
        outliers=np.array([False, False]),
        coordinates=np.ones((2, components), dtype=np.int64),
    )
    assert values.tolist() == [[1, 0, 1, 0, *[2] * components]]
