"""Ids made of records: the same ids and ranks as those of the texts."""

import zlib

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from driftgauge.core.counting.event_ids import MAX_ID_BYTES, RecordIds, rank_ids

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
