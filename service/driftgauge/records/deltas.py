"""The body of a part with deltas: what a commit adds to panes, and the examples that it brings."""

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
from driftgauge.records.framing import Frame, Header, Names, assemble
from driftgauge.records.model import RecordModel
from driftgauge.records.refusals import demand

__all__ = ["decode_deltas", "encode_deltas"]

_PLACES = 5  # stream, scheme, segment, topic, partition
_NUMBERS = 3  # start_ms, events, offset
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

    def read(self) -> Scheme:
        return Scheme(self.baseline, self.pane_ms, self.segment_keys, self.statistics)


class _Header(Header):
    streams: tuple[_Stream, ...]
    schemes: tuple[_Scheme, ...]
    segments: tuple[tuple[str, str] | None, ...]
    topics: tuple[str, ...]
    tally_bytes: Literal[4, 8]
    # Stream, scheme, the pane's start, and of each example its cluster, rank and name.
    examples: tuple[tuple[_Index, _Index, _Time, tuple[tuple[_Index, _Index, str], ...]], ...]


def encode_deltas(commit: CommitId, shards: int, deltas: Sequence[PaneDelta | ExamplesDelta]) -> bytes:
    """Return the body of a part."""
    streams, schemes, topics = Names[str](), Names[Scheme](), Names[str]()
    segments = Names[Segment | None]()
    panes = [delta for delta in deltas if isinstance(delta, PaneDelta)]
    places = [
        (
            streams.place(delta.stream),
            schemes.place(delta.scheme),
            segments.place(delta.segment),
            topics.place(delta.first[0][0]),
            delta.first[0][1],
        )
        for delta in panes
    ]
    numbers = [(delta.start_ms, delta.events, delta.first[1]) for delta in panes]
    examples = [
        (
            streams.place(delta.stream),
            schemes.place(delta.scheme),
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
        np.array(places, "<i4").reshape(-1, _PLACES).T.tobytes(),
        np.array(numbers, "<i8").reshape(-1, _NUMBERS).T.tobytes(),
        tallies.astype(_TALLY_TYPES[tally_bytes]).tobytes(),
    ]
    return assemble(commit, shards, header, sections)


def decode_deltas(frame: Frame) -> Partial:
    """Return the part of a frame.

    Raises:
        ValueError: The frame does not hold what was encoded.
        OverflowError: The same.
    """
    header = _Header.model_validate_json(frame.header)
    schemes = tuple(scheme.read() for scheme in header.schemes)
    return Partial(
        header.commit_id,
        frame.index,
        frame.parts,
        header.shards,
        _panes(frame, header, schemes),
        _examples(header, schemes),
    )


def _panes(frame: Frame, header: _Header, schemes: tuple[Scheme, ...]) -> tuple[PaneDelta, ...]:
    demand(len(frame.sections) >= 3, "a section is missing")  # noqa: PLR2004 - as written above
    places = np.frombuffer(frame.sections[0], "<i4").reshape(_PLACES, -1)
    numbers = np.frombuffer(frame.sections[1], "<i8").reshape(_NUMBERS, -1)
    demand(places.shape[1] == numbers.shape[1], "its columns differ in length")
    named = (len(header.streams), len(schemes), len(header.segments), len(header.topics), 2**31)
    demand(_are_within(places, named) and (numbers[1:] >= 0).all(), "a number is out of range")
    lengths = np.array([scheme.length for scheme in schemes], np.int64)[places[1]]
    ends = np.cumsum(lengths)
    tallies = np.frombuffer(frame.sections[2], _TALLY_TYPES[header.tally_bytes])
    demand(len(tallies) == lengths.sum(), "its tallies are not as long as their schemes say")
    # A tally that is kept must not keep the whole record, so each has memory of its own.
    values = [
        tallies[start:end].astype(np.int64)
        for start, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True)
    ]
    columns = (*places.tolist(), *numbers.tolist())
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


def _examples(header: _Header, schemes: tuple[Scheme, ...]) -> tuple[ExamplesDelta, ...]:
    named = (len(header.streams), len(schemes))
    places = np.array([delta[:2] for delta in header.examples], np.int64).reshape(-1, len(named)).T
    demand(_are_within(places, named), "an example is of no stream or scheme")
    return tuple(
        ExamplesDelta(
            header.streams[stream], schemes[scheme], start_ms, tuple(Example(*each) for each in examples)
        )
        for stream, scheme, start_ms, examples in header.examples
    )


def _are_within(columns: NDArray[np.signedinteger], named: tuple[int, ...]) -> bool:
    """Tell whether each column, (columns, n), stays within 0 and the number of what it names."""
    limits = np.array(named, np.int64)[:, np.newaxis]
    return bool(((columns >= 0) & (columns < limits)).all())
