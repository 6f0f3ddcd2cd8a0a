"""The codec of a part that holds deltas: a commit's additions to panes, and its examples."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from driftgauge.core.counting.examples import Example
from driftgauge.core.counting.partial import CommitId, ExamplesDelta, PaneDelta, Partial
from driftgauge.core.counting.scheme import Scheme
from driftgauge.core.reference import Segment
from driftgauge.events.contract import STREAM_NAME
from driftgauge.records.framing import Frame, NameTable, PartHeader, encode_body
from driftgauge.records.model import RecordModel
from driftgauge.records.record_errors import require

__all__ = ["decode_deltas", "encode_deltas"]

_INDEX_COLUMNS = 5  # stream, scheme, segment, topic, partition
_NUMBER_COLUMNS = 3  # start_ms, events, offset
_TALLY_TYPES = {4: "<i4", 8: "<i8"}
_NARROW = np.iinfo(np.int32)

_Stream = Annotated[str, Field(pattern=f"^{STREAM_NAME}$")]
_Index = Annotated[int, Field(ge=0)]
_Time = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class _Scheme(RecordModel):
    baseline: str
    pane_ms: Annotated[int, Field(ge=1)]
    segment_keys: tuple[str, ...]
    statistics: tuple[tuple[str, Annotated[int, Field(ge=0, lt=2**31)]], ...]

    def to_scheme(self) -> Scheme:
        return Scheme(self.baseline, self.pane_ms, self.segment_keys, self.statistics)


class _DeltasHeader(PartHeader):
    streams: tuple[_Stream, ...]
    schemes: tuple[_Scheme, ...]
    segments: tuple[tuple[str, str] | None, ...]
    topics: tuple[str, ...]
    tally_bytes: Literal[4, 8]
    # Stream, scheme, start of the pane, and the cluster, rank and name of each example.
    examples: tuple[tuple[_Index, _Index, _Time, tuple[tuple[_Index, _Index, str], ...]], ...]


def encode_deltas(commit: CommitId, shards: int, deltas: Sequence[PaneDelta | ExamplesDelta]) -> bytes:
    """Return the body of a part; `decode_deltas` reads it."""
    streams, schemes, topics = NameTable[str](), NameTable[Scheme](), NameTable[str]()
    segments = NameTable[Segment | None]()
    panes = [delta for delta in deltas if isinstance(delta, PaneDelta)]
    indices = [
        (
            streams.index(delta.stream),
            schemes.index(delta.scheme),
            segments.index(delta.segment),
            topics.index(delta.first[0][0]),
            delta.first[0][1],
        )
        for delta in panes
    ]
    numbers = [(delta.start_ms, delta.events, delta.first[1]) for delta in panes]
    examples = [
        (
            streams.index(delta.stream),
            schemes.index(delta.scheme),
            delta.start_ms,
            [(example.cluster, example.rank, example.event_id) for example in delta.examples],
        )
        for delta in deltas
        if isinstance(delta, ExamplesDelta)
    ]
    tallies = np.concatenate([np.empty(0, np.int64), *(delta.values for delta in panes)])
    is_narrow = tallies.min(initial=0) >= _NARROW.min and tallies.max(initial=0) <= _NARROW.max
    tally_bytes = 4 if is_narrow else 8
    header = {
        "streams": list(streams),
        "schemes": list(schemes),
        "segments": list(segments),
        "topics": list(topics),
        "tally_bytes": tally_bytes,
        "examples": examples,
    }
    sections = [
        np.array(indices, "<i4").reshape(-1, _INDEX_COLUMNS).T.tobytes(),
        np.array(numbers, "<i8").reshape(-1, _NUMBER_COLUMNS).T.tobytes(),
        tallies.astype(_TALLY_TYPES[tally_bytes]).tobytes(),
    ]
    return encode_body(commit, shards, header, sections)


def decode_deltas(frame: Frame) -> Partial:
    """Return the deltas in a frame.

    Raises:
        ValueError: The frame breaks the format.
        OverflowError: A number of the header does not fit its type.
    """
    header = _DeltasHeader.model_validate_json(frame.header)
    schemes = tuple(scheme.to_scheme() for scheme in header.schemes)
    return Partial(
        header.commit_id,
        frame.index,
        frame.parts,
        header.shards,
        _decode_panes(frame, header, schemes),
        _decode_examples(header, schemes),
    )


def _decode_panes(frame: Frame, header: _DeltasHeader, schemes: tuple[Scheme, ...]) -> tuple[PaneDelta, ...]:
    require(len(frame.sections) >= 3, "a section is missing")  # noqa: PLR2004 - as many as `encode_deltas` writes
    indices = np.frombuffer(frame.sections[0], "<i4").reshape(_INDEX_COLUMNS, -1)
    numbers = np.frombuffer(frame.sections[1], "<i8").reshape(_NUMBER_COLUMNS, -1)
    require(indices.shape[1] == numbers.shape[1], "the columns differ in length")
    limits = (len(header.streams), len(schemes), len(header.segments), len(header.topics), 2**31)
    require(_are_below(indices, limits) and (numbers[1:] >= 0).all(), "a number is out of range")
    lengths = np.array([scheme.length for scheme in schemes], np.int64)[indices[1]]
    ends = np.cumsum(lengths)
    tallies = np.frombuffer(frame.sections[2], _TALLY_TYPES[header.tally_bytes])
    require(len(tallies) == lengths.sum(), "the tallies are not as long as their schemes require")
    # Each tally is copied, so that a stored tally does not keep the whole record in memory.
    values = [
        tallies[start:end].astype(np.int64)
        for start, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True)
    ]
    columns = (*indices.tolist(), *numbers.tolist())
    return tuple(
        PaneDelta(
            header.streams[stream],
            schemes[scheme],
            start_ms,
            header.segments[segment],
            tally,
            events,
            ((header.topics[topic], partition), offset),
        )
        for stream, scheme, segment, topic, partition, start_ms, events, offset, tally in zip(
            *columns, values, strict=True
        )
    )


def _decode_examples(header: _DeltasHeader, schemes: tuple[Scheme, ...]) -> tuple[ExamplesDelta, ...]:
    limits = (len(header.streams), len(schemes))
    indices = np.array([delta[:2] for delta in header.examples], np.int64).reshape(-1, len(limits)).T
    require(_are_below(indices, limits), "an example names no stream or scheme of the header")
    return tuple(
        ExamplesDelta(
            header.streams[stream], schemes[scheme], start_ms, tuple(Example(*each) for each in examples)
        )
        for stream, scheme, start_ms, examples in header.examples
    )


def _are_below(columns: NDArray[np.signedinteger], limits: tuple[int, ...]) -> bool:
    """Return whether the values of each column, (columns, n), are at least 0 and below the column's limit."""
    return bool(((columns >= 0) & (columns < np.array(limits, np.int64)[:, np.newaxis])).all())
