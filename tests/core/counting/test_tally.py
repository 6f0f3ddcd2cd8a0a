"""Tallies: exact integer sums for any split of the events."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.counting.hashing import HASH_BINS
from driftgauge.core.counting.tally import Directions, Tally, TallyField, tally_batch
from driftgauge.core.statistics import registry

CLUSTERS = 3
GROUPS = 4
# Those of relations hold products: see their own test.
FIELDS = tuple(
    TallyField(name, {"k": CLUSTERS, "r": 2, "h": HASH_BINS}.get(length, length))
    for each in registry.STATISTICS[:5]
    for name, length in each.fields.items()
)
# Beyond 2^53 a double cannot represent every integer.
COORDINATES = st.integers(-(2**58), 2**58)
SPREAD = st.integers(0, 2**20)
EVENTS = st.lists(
    st.tuples(
        st.integers(0, GROUPS - 1),
        st.integers(0, CLUSTERS - 1),
        st.booleans(),
        st.tuples(COORDINATES, COORDINATES),
        st.tuples(SPREAD, SPREAD, SPREAD),
        st.integers(0, HASH_BINS - 1),
    ),
    min_size=1,
    max_size=30,
)


def tally(events, *, hashed=True):
    """Group -> the values of its tally, of (group, cluster, is_outlier, coordinates, spreads, hash)."""
    numbers, group = np.unique([event[0] for event in events], return_inverse=True)
    cluster, is_outlier, coordinates, spreads, hashes = (
        np.array(column, dtype=np.int64) for column in list(zip(*events, strict=True))[1:]
    )
    outliers = np.where(is_outlier, cluster, -1)
    measured = [cluster, coordinates, outliers, spreads, hashes]
    fields = FIELDS if hashed else FIELDS[:-1]
    values = tally_batch(group, len(numbers), fields, measured[: len(fields)])
    assert values.dtype == np.int64
    return dict(zip(numbers.tolist(), values, strict=True))


def one_by_one(events, bins=HASH_BINS):
    """Group -> its values, counted event by event in Python integers."""
    values = {}
    for group, cluster, is_outlier, coordinates, spreads, bin_ in events:
        its = values.setdefault(group, [0] * (2 * CLUSTERS + 2 + 3 + bins))
        its[cluster] += 1
        its[CLUSTERS + 2 + cluster] += is_outlier
        for column, number in enumerate(coordinates, start=CLUSTERS):
            its[column] += number
        for column, number in enumerate(spreads, start=2 * CLUSTERS + 2):
            its[column] += number
        if bins:
            its[2 * CLUSTERS + 5 + bin_] += 1
    return values


def as_lists(tallies):
    return {group: values.tolist() for group, values in tallies.items()}


@given(EVENTS)
def test_tally_batch_counts_events_of_each_group(events):
    assert as_lists(tally(events)) == one_by_one(events)
    assert as_lists(tally(events, hashed=False)) == one_by_one(events, bins=0)


def test_tally_names_parts_of_values():
    seen = Tally(np.array([4, 0, 2, -70, 900, 1, 0, 2, 60, 70, 6], dtype=np.int64), FIELDS[:-1])
    parts = [seen[field.name].tolist() for field in seen.fields]
    assert parts == [[4, 0, 2], [-70, 900], [1, 0, 2], [60, 70, 6]]
    assert (seen.count, type(seen.count)) == (6, int)
    with pytest.raises(KeyError):
        seen["hash_counts"]


@pytest.mark.parametrize("groups", [1, 3])
def test_directions_are_taken_of_each_groups_sum(groups):
    random = np.random.default_rng(groups)
    vectors = random.integers(-(2**20), 2**20, (40, 5)).astype(np.float64)
    directions = random.integers(-(2**12), 2**12, (5, 2)).astype(np.float64)
    group = np.arange(40) % groups
    found = tally_batch(group, groups, [TallyField("minor", 2)], [Directions(vectors, directions)])
    own = [(vectors[group == each] @ directions).sum(axis=0).tolist() for each in range(groups)]
    assert found.tolist() == own
