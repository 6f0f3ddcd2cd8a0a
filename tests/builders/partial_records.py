"""Examples, strategies and builders of partials, shared by their tests."""

import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
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
from driftgauge.core.counting.scheme import CLUSTER_COUNTS, CLUSTER_OUTLIERS, COORDINATE_SUMS, Scheme
from driftgauge.core.reference import Segment
from driftgauge.records.partials import decode_part, encode_commit
from tests.builders.clocks import MONDAY_MS
from tests.builders.strategies import EXAMPLES, LAST, PARTITIONS, SEGMENTS, STREAMS, TEXTS, TIMES

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
EXAMPLE_DELTAS = st.builds(ExamplesDelta, STREAMS, SCHEMES, TIMES, EXAMPLES)
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
    st.lists(PANES, max_size=4), st.lists(EXAMPLE_DELTAS, max_size=3), st.lists(PROGRESS, max_size=4)
)

SCHEME = Scheme(
    "0123456789abcdef",
    60_000,
    ("country",),
    ((CLUSTER_COUNTS, 2), (CLUSTER_OUTLIERS, 2), (COORDINATE_SUMS, 1)),
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
    examples: Sequence[ExamplesDelta] = (),
    partitions: Sequence[PartitionProgress] = (),
    limit_bytes: int = 2**20,
) -> list[bytes]:
    return encode_commit(COMMIT, 16, panes, examples, partitions, limit_bytes, written_ms=WRITTEN_MS)


def join_parts(
    records: Iterable[bytes],
) -> tuple[list[PaneDelta], list[ExamplesDelta], list[PartitionProgress]]:
    """Return the panes, examples and partitions in all parts of a commit."""
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


GOLDEN = {
    "deltas": (
        "02 3a6590a2 01 00000000 02000000"
        "7f010000"
        + (
            '{"producer":"driftgauge-0","epoch":3,"commit":4711,"shards":16,"streams":["resnet18-fc1"],'
            '"schemes":[{"baseline":"0123456789abcdef","pane_ms":60000,"segment_keys":["country"],'
            '"statistics":[["cluster_counts",2],["cluster_outliers",2],["coordinate_sums",1]]}],'
            '"segments":[null,["country","de"]],"topics":["embeddings"],"tally_bytes":4,'
            '"examples":[[0,0,1762128000000,[[1,12,"köln"]]]]}'
        )
        .encode()
        .hex()
        + "28000000  0000000000000000 0000000000000000 0000000001000000 0000000000000000 0300000003000000"
        "30000000  007403479a010000007403479a010000 0c000000000000000100000000000000"
        "70030000000000007503000000000000"
        "28000000  05000000070000000100000000000000feffffff 01000000000000000000000000000000fbffffff"
    ),
    "progress": (
        "02 83a8a852 02 01000000 02000000"
        "ce000000"
        + (
            b'{"producer":"driftgauge-0","epoch":3,"commit":4711,"shards":16,"written_ms":1762128000020,'
            b'"topics":[{"name":"embeddings",'
            b'"id":"00112233445566778899aabbccddeeff","partitions":12}],"streams":["resnet18-fc1"]}'
        ).hex()
        + "50000000  0000000000000000 0300000000000000 0100000000000000 7003000000000000 8403000000000000"
        "0000000000000000 0200000000000000 0100000000000000 007403479a010000 0000000000000080"
        "20000000  0000000000000000 057403479a010000 097403479a010000 017403479a010000"
    ),
}
GERMANY = PaneDelta(
    "resnet18-fc1",
    SCHEME,
    MONDAY_MS,
    ("country", "de"),
    np.array([1, 0, 0, 0, -5]),
    1,
    (("embeddings", 3), 885),
)
RECORDS = [bytes.fromhex(text) for text in GOLDEN.values()]
RECORD = pytest.mark.parametrize("record", RECORDS, ids=GOLDEN)

HEAD = 14


def split_record(record: bytes) -> list[bytes]:
    """Return the header and the sections."""
    pieces, at = [], HEAD
    while at < len(record):
        (length,) = struct.unpack_from("<I", record, at)
        pieces.append(record[at + 4 : at + 4 + length])
        at += 4 + length
    return pieces


def rebuild_record(
    record: bytes, pieces: Iterable[bytes], version: int = 2, head: bytes | None = None
) -> bytes:
    """Return the record with other pieces and a matching checksum."""
    content = head or record[5:HEAD]
    content += b"".join(struct.pack("<I", len(piece)) + piece for piece in pieces)
    return struct.pack("<BI", version, zlib.crc32(content)) + content
