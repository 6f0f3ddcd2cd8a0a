"""Example events: the same sample of each pane and cluster for any order and split of the events."""

import zlib
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.counting.examples import (
    MAX_EXAMPLES,
    Example,
    ExampleSampler,
    merge_examples,
    name_examples,
)
from tests.builders.clocks import HOUR_MS
from tests.examples import examples

# Two pairs of names whose CRC-32 is the same.
SAME_RANK = [("plumless", "buckeroo"), ("codding", "gnu")]
NAMES = st.sampled_from([None, "", *sum(SAME_RANK, ()), *(f"event-{number}" for number in range(30))])
EVENTS = st.lists(
    st.tuples(st.integers(0, 3 * HOUR_MS), st.integers(0, 2), NAMES),
    min_size=1,
    max_size=60,
)
CUTS = st.lists(st.integers(0, 60), max_size=5).map(sorted)


def add(examples, *events):
    """Sample among (time_ms, cluster, name) events."""
    time_ms, cluster, names = zip(*events, strict=True)
    examples.add(np.array(time_ms, dtype=np.int64), np.array(cluster, dtype=np.intp), names)


def examples_of(events, cuts=()):
    examples = ExampleSampler(HOUR_MS)
    for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        if events[start:end]:
            add(examples, *events[start:end])
    return examples


def taken(examples):
    """Pane start -> its examples."""
    return dict(examples.panes())


def lowest(events):
    """Pane start -> its examples, by sorting all names."""
    cells = {}
    for time_ms, cluster, name in events:
        if name:
            start_ms = time_ms // HOUR_MS * HOUR_MS
            example = Example(cluster, zlib.crc32(name.encode()), name)
            cells.setdefault(start_ms, {}).setdefault(cluster, set()).add(example)
    return {
        start_ms: tuple(
            example for cluster in sorted(found) for example in sorted(found[cluster])[:MAX_EXAMPLES]
        )
        for start_ms, found in cells.items()
    }


@settings(max_examples=examples(200))
@given(EVENTS, CUTS, st.randoms(use_true_random=False))
def test_sampler_takes_lowest_ranks_in_any_order_and_split(events, cuts, random):
    shuffled = events[:]
    random.shuffle(shuffled)
    assert taken(examples_of(shuffled, cuts)) == lowest(events)


@given(EVENTS, st.randoms(use_true_random=False))
def test_merge_of_any_split_has_same_names(events, random):
    elsewhere = [(random.randrange(3) * HOUR_MS, cluster, name) for _, cluster, name in events]
    at_once = [(0, cluster, name) for _, cluster, name in events]
    kept = list(taken(examples_of(elsewhere)).values())
    random.shuffle(kept)
    merged = ()
    for each in kept:
        merged = merge_examples((merged, each))
    assert merged == merge_examples(taken(examples_of(at_once)).values())
    assert name_examples(kept) == name_examples([merged])


def test_merge_keeps_lowest_ranks_of_each_cluster():
    names = ["a", "b", "c", "d", "e"]
    ranked = sorted(Example(0, zlib.crc32(name.encode()), name) for name in names)
    expected = tuple(example.event_id for example in ranked[:MAX_EXAMPLES])
    for pair in combinations(ranked, 2):
        assert name_examples([ranked, pair, [Example(3, 9, "only")]]) == {0: expected, 3: ("only",)}
    assert name_examples([]) == {}


@pytest.mark.parametrize("name", ["x" * 65, "ü" * 33, "a\nb", "\x00"])
def test_long_or_unprintable_name_is_no_example(name):
    examples = examples_of([(0, 1, name), (0, 1, "ü" * 32)])
    ((_, found),) = examples.panes()
    assert [example.event_id for example in found] == ["ü" * 32]
