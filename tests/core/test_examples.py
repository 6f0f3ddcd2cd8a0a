"""Events by name: of each pane, partition and cluster the same few, however the events come."""

import zlib
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.counting.examples import MAX_EXAMPLES, Example, Examples, merge
from tests.core.builders import HOUR_MS

# Two pairs of names whose CRC-32 is the same.
SAME_RANK = [("plumless", "buckeroo"), ("codding", "gnu")]
NAMES = st.sampled_from([None, "", *sum(SAME_RANK, ()), *(f"event-{number}" for number in range(30))])
EVENTS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3 * HOUR_MS), st.integers(0, 2), NAMES),
    min_size=1,
    max_size=60,
)
CUTS = st.lists(st.integers(0, 60), max_size=5).map(sorted)


def add(examples, *events):
    """Choose among (partition, time_ms, cluster, name) events."""
    partition, time_ms, cluster, names = zip(*events, strict=True)
    examples.add(
        np.array(partition, dtype=np.int32),
        np.array(time_ms, dtype=np.int64),
        np.array(cluster, dtype=np.intp),
        names,
    )


def examples_of(events, cuts=()):
    examples = Examples(HOUR_MS)
    for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        if events[start:end]:
            add(examples, *events[start:end])
    return examples


def taken(examples):
    """(partition, pane's start) -> its examples, of what changed since last asked."""
    return {(partition, start_ms): chosen for partition, start_ms, chosen in examples.take_changed()}


def lowest(events):
    """The same, chosen by sorting all names."""
    cells = {}
    for partition, time_ms, cluster, name in events:
        if name:
            place = partition, time_ms // HOUR_MS * HOUR_MS
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


@settings(max_examples=200)
@given(EVENTS, CUTS, st.randoms(use_true_random=False))
def test_any_order_and_split_of_the_events_chooses_those_of_the_lowest_ranks(events, cuts, random):
    shuffled = events[:]
    random.shuffle(shuffled)
    assert taken(examples_of(shuffled, cuts)) == lowest(events)


@settings(max_examples=100)
@given(EVENTS, st.randoms(use_true_random=False))
def test_any_split_over_partitions_and_panes_merges_to_the_same_names(events, random):
    elsewhere = [
        (random.randrange(5), random.randrange(3) * HOUR_MS, cluster, name) for _, _, cluster, name in events
    ]
    at_once = [(0, 0, cluster, name) for _, _, cluster, name in events]
    kept = list(taken(examples_of(elsewhere)).values())
    random.shuffle(kept)
    assert merge(kept) == merge(taken(examples_of(at_once)).values())


def test_a_name_that_comes_twice_is_one_example_and_hides_no_other():
    names = ["a", "b", "c"]
    for repeated in names:
        events = [(0, 0, 0, name) for name in [*[repeated] * 5, *names]]
        ((chosen,),) = [taken(examples_of(events)).values()]
        assert {example.event_id for example in chosen} == set(names)
        assert taken(examples_of(events, range(len(events)))) == {(0, 0): chosen}


def test_a_name_may_stand_for_an_event_of_each_of_two_clusters():
    ((_, _, chosen),) = examples_of([(0, 0, 1, "a"), (0, 0, 0, "a")]).take_changed()
    assert [(example.cluster, example.event_id) for example in chosen] == [(0, "a"), (1, "a")]


@pytest.mark.parametrize("nameless", [[None, None], [""], [None, ""]])
def test_events_without_a_name_are_nobodys_example(nameless):
    examples = examples_of([(0, 0, 0, name) for name in nameless])
    assert (taken(examples), list(examples.places())) == ({}, [])


def test_only_panes_whose_examples_changed_since_last_asked_are_taken():
    examples = examples_of([(0, 0, 0, f"event-{number}") for number in range(20)])
    before = taken(examples)
    assert set(before) == {(0, 0)}
    assert taken(examples) == {}
    add(examples, *[(0, 5, 0, f"event-{number}") for number in range(20)])
    assert taken(examples) == {}, "what is none of the lowest, or known already, changes nothing"
    add(examples, (0, 7, 1, "event-0"), (2, HOUR_MS, 0, "event-1"))
    assert set(taken(examples)) == {(0, 0), (2, HOUR_MS)}


def test_panes_are_taken_in_the_order_of_event_time_and_examples_by_cluster_and_rank():
    events = [
        (at, start, cluster, f"e{at}{cluster}")
        for at, start, cluster in [(1, HOUR_MS, 2), (0, HOUR_MS, 1), (1, 0, 1), (1, 0, 0)]
    ]
    told = list(examples_of(events).take_changed())
    assert [(partition, start_ms) for partition, start_ms, _ in told] == [(1, 0), (0, HOUR_MS), (1, HOUR_MS)]
    for _, _, chosen in told:
        assert list(chosen) == sorted(chosen, key=lambda example: (example.cluster, example.rank))


@settings(max_examples=100)
@given(EVENTS, st.integers(0, 60))
def test_what_is_restored_is_no_change_and_is_chosen_on_from(events, cut):
    restored = Examples(HOUR_MS)
    for (partition, start_ms), chosen in lowest(events[:cut]).items():
        restored.restore(partition, start_ms, chosen)
    assert taken(restored) == {}
    if events[cut:]:
        add(restored, *events[cut:])
    restored.touch()
    assert taken(restored) == lowest(events)


def test_a_dropped_pane_is_forgotten_and_its_neighbours_are_not():
    examples = examples_of([(0, 0, 0, "a"), (1, 0, 0, "b"), (0, HOUR_MS, 0, "c")])
    examples.drop(0, 0)
    assert set(examples.places()) == {(0, 1), (HOUR_MS, 0)}
    assert set(taken(examples)) == {(1, 0), (0, HOUR_MS)}
    add(examples, (0, 3, 0, "z"))
    assert [example.event_id for example in taken(examples)[0, 0]] == ["z"]


def test_touched_panes_are_all_taken_again():
    examples = examples_of([(0, 0, 0, "a"), (1, HOUR_MS, 2, "b")])
    everything = taken(examples)
    examples.touch()
    assert taken(examples) == everything != {}


def test_merged_are_the_lowest_of_each_cluster_once():
    names = ["a", "b", "c", "d", "e"]
    ranked = sorted(Example(0, zlib.crc32(name.encode()), name) for name in names)
    expected = tuple(example.event_id for example in ranked[:MAX_EXAMPLES])
    for pair in combinations(ranked, 2):
        assert merge([ranked, pair, [Example(3, 9, "only")]]) == {0: expected, 3: ("only",)}
    assert merge([]) == {}


@pytest.mark.parametrize("name", ["x" * 65, "ü" * 33, "a\nb", "\x00"])
def test_a_name_that_is_long_or_cannot_be_printed_is_no_example(name):
    examples = examples_of([(0, 0, 1, name), (0, 0, 1, "ü" * 32)])
    ((_, _, found),) = examples.take_changed()
    assert [example.event_id for example in found] == ["ü" * 32]
