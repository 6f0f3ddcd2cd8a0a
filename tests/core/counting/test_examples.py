"""Example events: the same sample of each pane and cluster for any order and split of the events."""

import zlib

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftgauge.core.counting.event_ids import MAX_ID_BYTES, RecordIds, rank_ids
from driftgauge.core.counting.examples import (
    MAX_EXAMPLES,
    MAX_FARTHEST,
    Example,
    Examples,
    ExampleSampler,
    FarExample,
    merge_examples,
)
from tests.builders.clocks import HOUR_MS
from tests.examples import examples

PREFIXES = {0: "embeddings-0-", 1: "embeddings-11-", 2: "t" * 56 + "-0-", 3: "", 4: "ü\n"}
OFFSETS = st.one_of(
    st.integers(0, 1_100), st.integers(0, 2**63 - 1), st.integers(0, 18).map(lambda power: 10**power - 1)
)
RUNS = st.lists(st.tuples(st.integers(0, 4), OFFSETS, st.integers(1, 4)), max_size=8)


def build_ids(runs):
    """Return the ids of runs of records: partition, first offset, number."""
    events = [(code, min(first + i, 2**63 - 1)) for code, first, number in runs for i in range(number)]
    partition, offset = np.array(events, np.int64).reshape(-1, 2).T
    return RecordIds(PREFIXES, partition.astype(np.int32), offset), events


@example([(0, 998, 4), (1, 1_001, 2), (0, 1_002, 1)])
@example([(2, 99_998, 4)])
@given(RUNS)
def test_ids_and_ranks_are_those_of_texts(runs):
    ids, events = build_ids(runs)
    texts = [f"{PREFIXES[code]}{offset}" for code, offset in events]
    assert list(ids) == texts
    ranks, expected = rank_ids(ids), rank_ids(texts)
    assert ranks.dtype == expected.dtype == np.int64
    assert np.where(ranks < 0, -1, ranks).tolist() == expected.tolist()


def test_rank_is_crc_of_id_that_can_be_example():
    longest = "x" * MAX_ID_BYTES
    event_ids = ["a", None, "", longest, longest + "x", "ü" * 33, "a\nb"]
    expected = [zlib.crc32(b"a"), -1, -1, zlib.crc32(longest.encode()), -1, -1, -1]
    assert rank_ids(event_ids).tolist() == expected


@given(RUNS, st.randoms(use_true_random=False))
def test_filter_keeps_ids(runs, random):
    ids, events = build_ids(runs)
    mask = np.array([random.random() < 0.5 for _ in events], np.bool_)
    assert list(ids.filter(mask)) == [each for each, kept in zip(ids, mask, strict=True) if kept]


# Two pairs of names whose CRC-32 is the same.
SAME_RANK = [("plumless", "buckeroo"), ("codding", "gnu")]
NAMES = st.sampled_from([None, "", *sum(SAME_RANK, ()), *(f"event-{number}" for number in range(30))])
EVENTS = st.lists(
    st.tuples(st.integers(0, 3 * HOUR_MS), st.integers(0, 2), st.integers(-1, 6), NAMES),
    min_size=1,
    max_size=60,
)
CUTS = st.lists(st.integers(0, 60), max_size=5).map(sorted)


def add(examples, *events):
    """Sample among (time_ms, cluster, distance, name) events."""
    *columns, names = zip(*events, strict=True)
    examples.add(*(np.array(column, np.int64) for column in columns), names)


def examples_of(events, cuts=()):
    examples = ExampleSampler(HOUR_MS)
    for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        if events[start:end]:
            add(examples, *events[start:end])
    return examples


def taken(examples):
    """Pane start -> its examples."""
    return dict(sorted(examples.panes.items()))


def first_of_ranks(far):
    """The farthest of each rank, sorted."""
    return sorted({rank: (near, rank, name) for near, rank, name in sorted(far, reverse=True)}.values())


def expected(events):
    """Pane start -> its examples, by sorting all names."""
    panes = {}
    for time_ms, cluster, distance, name in events:
        if name:
            found = panes.setdefault(time_ms // HOUR_MS * HOUR_MS, ({}, []))
            rank = zlib.crc32(name.encode())
            found[0].setdefault(cluster, set()).add(Example(cluster, rank, name))
            if distance >= 0:
                found[1].append((-distance, rank, name))
    return {
        start_ms: Examples(
            tuple(
                each
                for cluster in sorted(by)
                for each in sorted({each.rank: each for each in sorted(by[cluster], reverse=True)}.values())[
                    :MAX_EXAMPLES
                ]
            ),
            tuple(FarExample(-near, rank, name) for near, rank, name in first_of_ranks(far)[:MAX_FARTHEST]),
        )
        for start_ms, (by, far) in panes.items()
    }


@settings(max_examples=examples(200))
@given(EVENTS, CUTS, st.randoms(use_true_random=False))
def test_sampler_takes_lowest_ranks_and_farthest_in_any_order_and_split(events, cuts, random):
    shuffled = events[:]
    random.shuffle(shuffled)
    assert taken(examples_of(shuffled, cuts)) == expected(events)


@given(EVENTS, st.randoms(use_true_random=False))
def test_merge_of_any_split_has_same_names(events, random):
    elsewhere = [(random.randrange(3) * HOUR_MS, *others) for _, *others in events]
    at_once = [(0, *others) for _, *others in events]
    kept = list(taken(examples_of(elsewhere)).values())
    random.shuffle(kept)
    merged = Examples()
    for each in kept:
        merged = merge_examples((merged, each))
    assert merged == merge_examples(taken(examples_of(at_once)).values())
    assert merge_examples(kept) == merged
