"""Events by name: of each pane and cluster the same few, however the events come."""

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
from tests.core.builders import HOUR_MS
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
    """Choose among (time_ms, cluster, name) events."""
    time_ms, cluster, names = zip(*events, strict=True)
    examples.add(np.array(time_ms, dtype=np.int64), np.array(cluster, dtype=np.intp), names)


def examples_of(events, cuts=()):
    examples = ExampleSampler(HOUR_MS)
    for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        if events[start:end]:
            add(examples, *events[start:end])
    return examples


def taken(examples):
    """A pane's start -> its examples."""
    return dict(examples.panes())


def lowest(events):
    """The same, chosen by sorting all names."""
    cells = {}
    for time_ms, cluster, name in events:
        if name:
            place = time_ms // HOUR_MS * HOUR_MS
            example = Example(cluster, zlib.crc32(name.encode()), name)
            cells.setdefault(place, {}).setdefault(cluster, set()).add(example)
    return {
        place: tuple(
            example for cluster in sorted(found) for example in sorted(found[cluster])[:MAX_EXAMPLES]
        )
        for place, found in cells.items()
    }


@pytest.mark.parametrize(("one", "other"), SAME_RANK)
def test_names_may_share_a_rank(one, other):
    assert zlib.crc32(one.encode()) == zlib.crc32(other.encode())


@settings(max_examples=examples(200))
@given(EVENTS, CUTS, st.randoms(use_true_random=False))
def test_any_order_and_split_of_the_events_chooses_those_of_the_lowest_ranks(events, cuts, random):
    shuffled = events[:]
    random.shuffle(shuffled)
    assert taken(examples_of(shuffled, cuts)) == lowest(events)


@given(EVENTS, st.randoms(use_true_random=False))
def test_any_split_over_commits_and_panes_merges_to_the_same_names(events, random):
    elsewhere = [(random.randrange(3) * HOUR_MS, cluster, name) for _, cluster, name in events]
    at_once = [(0, cluster, name) for _, cluster, name in events]
    kept = list(taken(examples_of(elsewhere)).values())
    random.shuffle(kept)
    merged = ()
    for each in kept:
        merged = merge_examples((merged, each))
    assert merged == merge_examples(taken(examples_of(at_once)).values())
    assert name_examples(kept) == name_examples([merged])


def test_a_name_that_comes_twice_is_one_example_and_hides_no_other():
    names = ["a", "b", "c"]
    for repeated in names:
        events = [(0, 0, name) for name in [*[repeated] * 5, *names]]
        ((chosen,),) = [taken(examples_of(events)).values()]
        assert {example.event_id for example in chosen} == set(names)
        assert taken(examples_of(events, range(len(events)))) == {0: chosen}


def test_a_name_may_stand_for_an_event_of_each_of_two_clusters():
    ((_, chosen),) = examples_of([(0, 1, "a"), (0, 0, "a")]).panes()
    assert [(example.cluster, example.event_id) for example in chosen] == [(0, "a"), (1, "a")]


@pytest.mark.parametrize("nameless", [[None, None], [""], [None, ""]])
def test_events_without_a_name_are_nobodys_example(nameless):
    assert taken(examples_of([(0, 0, name) for name in nameless])) == {}


def test_panes_come_in_the_order_of_event_time_and_examples_by_cluster_and_rank():
    events = [
        (start, cluster, f"e{cluster}") for start, cluster in [(HOUR_MS, 2), (HOUR_MS, 1), (0, 1), (0, 0)]
    ]
    told = list(examples_of(events).panes())
    assert [start_ms for start_ms, _ in told] == [0, HOUR_MS]
    for _, chosen in told:
        assert list(chosen) == sorted(chosen, key=lambda example: (example.cluster, example.rank))


def test_merged_are_the_lowest_of_each_cluster_once():
    names = ["a", "b", "c", "d", "e"]
    ranked = sorted(Example(0, zlib.crc32(name.encode()), name) for name in names)
    expected = tuple(example.event_id for example in ranked[:MAX_EXAMPLES])
    for pair in combinations(ranked, 2):
        assert name_examples([ranked, pair, [Example(3, 9, "only")]]) == {0: expected, 3: ("only",)}
    assert name_examples([]) == {}


@pytest.mark.parametrize("name", ["x" * 65, "ü" * 33, "a\nb", "\x00"])
def test_a_name_that_is_long_or_cannot_be_printed_is_no_example(name):
    examples = examples_of([(0, 1, name), (0, 1, "ü" * 32)])
    ((_, found),) = examples.panes()
    assert [example.event_id for example in found] == ["ü" * 32]
