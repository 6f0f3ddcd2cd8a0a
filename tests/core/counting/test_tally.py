"""Tallies: exact integer sums for any split of the events."""

import numpy as np
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
