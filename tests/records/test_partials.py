"""The parts of a commit as records; `schemas/partial.v1.md` must show the same bytes."""


import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from driftgauge.core.counting.partial import (
    CommitId,
    ExamplesDelta,
    PaneDelta,
    Partial,
    PartitionProgress,
    Progress,
    StreamTime,
)
from driftgauge.core.counting.scheme import CLUSTER_COUNTS, COORDINATE_SUMS, OUTLIERS, Scheme
from driftgauge.records.partials import decode_part, encode_commit
from tests.events.strategies import EXAMPLES, LAST, PARTITIONS, SEGMENTS, STREAMS, TEXTS, TIMES
from tests.results import plain

OFFSETS = st.integers(0, LAST)
COMMITS = st.builds(CommitId, TEXTS, st.integers(0, 2**31), OFFSETS)
SCHEMES = st.builds(
    Scheme,
    st.from_regex("[0-9a-f]{16}", fullmatch=True),
    st.integers(1, LAST),
    st.lists(TEXTS, max_size=2).map(tuple),
    st.lists(st.tuples(TEXTS, st.integers(0, 9)), max_size=3).map(tuple),
)
PANES = SCHEMES.flatmap(
    lambda scheme: st.builds(
        PaneDelta,
        STREAMS,
        st.just(scheme),
        TIMES,
        st.none() | SEGMENTS,
        st.sampled_from([9, 2**31, LAST]).flatmap(
            lambda most: arrays.arrays(np.int64, scheme.length, elements=st.integers(-most, most))
        ),
        OFFSETS,
        st.tuples(PARTITIONS, OFFSETS),
    )
)
EXAMPLES_OF_PANES = st.builds(ExamplesDelta, STREAMS, SCHEMES, TIMES, EXAMPLES)
PROGRESS = st.builds(
    PartitionProgress,
    PARTITIONS,
    st.sampled_from(["", "ab" * 16]),
    st.integers(0, 2**31 - 1),
    OFFSETS,
    OFFSETS,
    st.booleans(),
    OFFSETS,
    TIMES,
    st.none() | TIMES,
    st.dictionaries(STREAMS, st.builds(StreamTime, TIMES, TIMES, TIMES), max_size=4),
)
CONTENTS = st.tuples(
    st.lists(PANES, max_size=4), st.lists(EXAMPLES_OF_PANES, max_size=3), st.lists(PROGRESS, max_size=4)
)

START_MS = 1_762_128_000_000
SCHEME = Scheme(
    "0123456789abcdef", 60_000, ("country",), ((CLUSTER_COUNTS, 2), (OUTLIERS, 1), (COORDINATE_SUMS, 1))
)
COMMIT = CommitId("driftgauge-0", 3, 4711)


def pane(stream="resnet18-fc1", values=(5, 7, 1, -2), segment=None, scheme=SCHEME):
    return PaneDelta(
        stream, scheme, START_MS, segment, np.array(values, np.int64), 12, (("embeddings", 3), 880)
    )


def progress(partition=3, **changes):
    fields = {
        "partition": ("embeddings", partition),
        "topic_id": "00112233445566778899aabbccddeeff",
        "partitions": 12,
        "start": 880,
        "end": 900,
        "begins": False,
        "lost": 2,
        "since_ms": START_MS,
        "caught_up_ms": None,
        "streams": {"resnet18-fc1": StreamTime(START_MS + 5, START_MS + 9, START_MS + 1)},
    }
    return PartitionProgress(**{**fields, **changes})


def encode(panes=(), examples=(), partitions=(), limit_bytes=2**20):
    return encode_commit(COMMIT, 16, panes, examples, partitions, limit_bytes)


def join(records):
    """What the parts of a commit say together."""
    parts = [decode_part(record) for record in records]
    deltas = [part for part in parts if isinstance(part, Partial)]
    last = [part for part in parts if isinstance(part, Progress)]
    assert parts == deltas + last, "progress last"
    assert last
    assert [part.index for part in parts] == list(range(len(parts)))
    assert {part.parts for part in parts} == {len(parts)}
    return (
        [delta for part in deltas for delta in part.panes],
        [delta for part in deltas for delta in part.examples],
        [each for part in last for each in part.partitions],
    )


@settings(max_examples=300, deadline=None)
@given(COMMITS, st.integers(1, 2**31 - 1), CONTENTS)
def test_commit_survives(commit, shards, contents):
    panes, examples, partitions = contents
    records = encode_commit(commit, shards, panes, examples, partitions, 2**20)
    assert len(records) == (2 if panes or examples else 1)
    assert plain(tuple(map(tuple, join(records)))) == plain(tuple(map(tuple, contents)))
    for record in records:
        part = decode_part(record)
        assert (part.commit, part.shards) == (commit, shards)


@settings(max_examples=100, deadline=None)
@given(CONTENTS, st.integers(0, 3_000))
def test_no_part_exceeds_the_limit(contents, spare):
    panes, examples, partitions = contents
    alone = [
        *(encode([each])[0] for each in panes),
        *(encode((), [each])[0] for each in examples),
        *(encode((), (), [each])[0] for each in partitions),
        encode()[0],
    ]
    limit_bytes = max(map(len, alone)) + spare
    records = encode(panes, examples, partitions, limit_bytes)
    assert max(map(len, records)) <= limit_bytes
    assert plain(tuple(map(tuple, join(records)))) == plain(tuple(map(tuple, contents)))
