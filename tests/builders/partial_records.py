"""Examples, strategies and builders of partials, shared by their tests."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from driftgauge.core.counting.examples import Example, FarExample
from driftgauge.core.counting.partial import (
    CommitId,
    CommitPart,
    PaneDelta,
    PartitionProgress,
    StreamTime,
)
from driftgauge.core.counting.scheme import Scheme
from driftgauge.core.counting.tally import CLUSTER_COUNTS, TallyField
from driftgauge.core.reference import Segment
from driftgauge.records.partials import decode_part, encode_commit
from tests.builders.clocks import MONDAY_MS
from tests.builders.results import CONFIDENCE, tally_number
from tests.builders.strategies import EXAMPLE_ROWS, FARTHEST, LAST, PARTITIONS, SEGMENTS, STREAMS, TEXTS

OFFSETS = st.integers(0, LAST)
MOMENTS = st.integers(0, LAST)
COMMITS = st.builds(CommitId, TEXTS, st.integers(0, 2**31), OFFSETS)
SCHEMES = st.builds(
    Scheme,
    st.from_regex("[0-9a-f]{16}", fullmatch=True),
    st.integers(1, LAST),
    st.lists(TEXTS, max_size=2).map(tuple),
    st.lists(st.builds(TallyField, TEXTS, st.integers(0, 9), st.booleans()), max_size=3).map(tuple),
)
PANES = SCHEMES.flatmap(
    lambda scheme: st.builds(
        PaneDelta,
        STREAMS,
        st.just(scheme),
        MOMENTS,
        st.none() | SEGMENTS,
        st.sampled_from([9, 2**31, LAST]).flatmap(
            lambda most: arrays.arrays(np.int64, scheme.length, elements=st.integers(-most, most))
        ),
        OFFSETS,
        st.tuples(PARTITIONS, OFFSETS),
        EXAMPLE_ROWS,
        FARTHEST,
    )
)
PROGRESS = st.builds(
    PartitionProgress,
    topic_id=st.sampled_from(["", "ab" * 16]),
    partitions=st.integers(0, 2**20),
    begins=st.booleans(),
    lost=OFFSETS,
    since_ms=MOMENTS,
    caught_up_ms=st.none() | MOMENTS,
    partition=PARTITIONS,
    start=OFFSETS,
    end=OFFSETS,
    skipped=OFFSETS,
    streams=st.dictionaries(STREAMS, st.builds(StreamTime, MOMENTS, MOMENTS, MOMENTS), max_size=4),
)
CONTENTS = st.tuples(st.lists(PANES, max_size=4), st.lists(PROGRESS, max_size=4))

SCHEME = Scheme(
    "0123456789abcdef",
    60_000,
    ("country",),
    (
        TallyField(CLUSTER_COUNTS, 2),
        TallyField("cluster_outliers", 2),
        TallyField("clipped_coordinate_sums", 1),
    ),
)
COMMIT = CommitId("driftgauge-0", 3, 4711)


def build_pane(
    stream: str = "resnet18-fc1",
    values: Sequence[int] = (5, 7, 1, 0, -2),
    segment: Segment | None = None,
    scheme: Scheme = SCHEME,
) -> PaneDelta:
    return PaneDelta(
        stream, scheme, MONDAY_MS, segment, np.array(values, np.int64), 12, (("embeddings", 3), 880)
    )


WRITTEN_MS = MONDAY_MS + 20


def build_progress(partition: int = 3, **changes: Any) -> PartitionProgress:
    fields = {
        "partition": ("embeddings", partition),
        "topic_id": "00112233445566778899aabbccddeeff",
        "partitions": 12,
        "start": 880,
        "end": 900,
        "begins": False,
        "lost": 2,
        "since_ms": MONDAY_MS,
        "caught_up_ms": None,
        "streams": {"resnet18-fc1": StreamTime(MONDAY_MS + 5, MONDAY_MS + 9, MONDAY_MS + 1)},
        "skipped": 1,
    }
    return PartitionProgress(**{**fields, **changes})


def encode_parts(
    panes: Sequence[PaneDelta] = (),
    partitions: Sequence[PartitionProgress] = (),
    part_bytes: int = 2**20,
) -> list[bytes]:
    return encode_commit(COMMIT, 16, panes, partitions, part_bytes, written_ms=WRITTEN_MS)


def join_parts(
    records: Iterable[bytes],
) -> tuple[list[PaneDelta], list[PartitionProgress]]:
    """Return the panes and partitions in all parts of a commit."""
    parts = [decode_part(record) for record in records]
    assert [(part.index, part.parts) for part in parts] == [
        (index, len(parts)) for index in range(len(parts))
    ]
    return (
        [delta for part in parts for delta in part.panes],
        [each for part in parts for each in part.partitions],
    )


GERMANY = PaneDelta(
    "resnet18-fc1",
    SCHEME,
    MONDAY_MS,
    ("country", "de"),
    np.array([1, 0, 0, 0, -5]),
    1,
    (("embeddings", 3), 885),
)
PART = CommitPart(
    COMMIT,
    index=0,
    parts=1,
    shards=16,
    written_ms=WRITTEN_MS,
    panes=(
        replace(
            build_pane(),
            examples=(Example(1, 12, "köln"),),
            farthest=(FarExample(2_125, 12, "köln", "eine"),),
            numbers={CONFIDENCE.key: tally_number(CONFIDENCE, (0.75, 2.0), (math.nan,)).values},
        ),
        GERMANY,
    ),
    partitions=(build_progress(),),
)
(RECORD,) = encode_parts(PART.panes, PART.partitions)
