"""Tallies: exact integer sums for any split of the events."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.counting.hashing import HASH_BINS
from driftgauge.core.counting.tally import Tally, tally_batch

CLUSTERS = 3
GROUPS = 4
# Beyond 2^53 a double cannot represent every integer.
COORDINATES = st.integers(-(2**58), 2**58)
SPREAD = st.integers(0, 2**20)
EVENTS = st.lists(
    st.tuples(
        st.integers(0, GROUPS - 1),
        st.integers(0, CLUSTERS - 1),
        st.booleans(),
        st.tuples(COORDINATES, COORDINATES),
        st.tuples(SPREAD, SPREAD),
        st.integers(0, HASH_BINS - 1),
    ),
    min_size=1,
    max_size=30,
)


def tally(events, *, hashed=True):
    """Group -> the values of its tally, of (group, cluster, is_outlier, coordinates, spreads, hash)."""
    numbers, group = np.unique([event[0] for event in events], return_inverse=True)
    values = tally_batch(
        group,
        len(numbers),
        CLUSTERS,
        cluster=np.array([event[1] for event in events], dtype=np.intp),
        outliers=np.array([event[2] for event in events], dtype=np.bool_),
        coordinates=np.array([event[3] for event in events], dtype=np.int64),
        spreads=np.array([event[4] for event in events], dtype=np.int64),
        hashes=np.array([event[5] for event in events], dtype=np.intp) if hashed else None,
    )
    assert values.dtype == np.int64
    return dict(zip(numbers.tolist(), values, strict=True))


def one_by_one(events, bins=HASH_BINS):
    """Group -> its values, counted event by event in Python integers."""
    values = {}
    first = 2 * CLUSTERS + bins
    for group, cluster, is_outlier, coordinates, spreads, bin_ in events:
        its = values.setdefault(group, [0] * (first + 2 + 4))
        its[cluster] += 1
        its[CLUSTERS + cluster] += is_outlier
        if bins:
            its[2 * CLUSTERS + bin_] += 1
        for column, number in enumerate((*coordinates, *spreads), start=first):
            its[column] += number
        for column, number in enumerate(spreads, start=first + 2 + 2):
            its[column] += is_outlier * number
    return values


def as_lists(tallies):
    return {group: values.tolist() for group, values in tallies.items()}


@given(EVENTS)
def test_tally_batch_counts_events_of_each_group(events):
    assert as_lists(tally(events)) == one_by_one(events)
    assert as_lists(tally(events, hashed=False)) == one_by_one(events, bins=0)


@given(EVENTS, st.integers(0, 30), st.randoms(use_true_random=False))
def test_tally_batch_is_independent_of_order_and_split(events, cut, random):
    shuffled = events[:]
    random.shuffle(shuffled)
    total = {}
    for part in (shuffled[:cut], shuffled[cut:]):
        for group, values in (tally(part) if part else {}).items():
            total[group] = total.get(group, 0) + values
    assert as_lists(total) == as_lists(tally(events))


def test_tally_names_parts_of_values():
    hashes = np.arange(HASH_BINS)
    whole = Tally(np.array([4, 0, 2, 1, 0, 2, *hashes, -70, 900, 60, 70, 6, 7], dtype=np.int64), 3)
    assert whole.hash_counts.tolist() == hashes.tolist()
    assert whole.sums.tolist() == [-70, 900]
    seen = Tally(np.array([4, 0, 2, 1, 0, 2, -70, 900, 60, 70, 6, 7], dtype=np.int64), 3, bins=0)
    assert seen.hash_counts.tolist() == []
    assert seen.counts.tolist() == [4, 0, 2]
    assert (seen.count, type(seen.count)) == (6, int)
    assert seen.outliers.tolist() == [1, 0, 2]
    assert seen.sums.tolist() == [-70, 900]
    assert (seen.spreads.tolist(), seen.outlier_spreads.tolist()) == ([60, 70], [6, 7])


@pytest.mark.parametrize("components", [1, 32])
def test_tally_batch_has_columns_for_every_statistic(components):
    values = tally_batch(
        np.zeros(2, dtype=np.intp),
        1,
        CLUSTERS,
        cluster=np.array([0, 2]),
        outliers=np.array([False, True]),
        coordinates=np.ones((2, components), dtype=np.int64),
        spreads=np.array([[3, 4], [5, 6]]),
        hashes=None,
    )
    assert values.tolist() == [[1, 0, 1, 0, 0, 1, *[2] * components, 8, 10, 5, 6]]
