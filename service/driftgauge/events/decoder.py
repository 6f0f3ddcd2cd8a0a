"""Raw records to event batches: per event only what cannot be done per batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from re import fullmatch

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.assignment import Metric
from driftgauge.core.counting.batch import EventBatch
from driftgauge.errors import ConfigError
from driftgauge.events.contract import STREAM_NAME, read_json, validate_event
from driftgauge.events.reader import expect, read_exact, read_fast
from driftgauge.events.records import Records
from driftgauge.events.rejection import EventError, Reason, Rejection

__all__ = ["Decoded", "Decoder", "ParsedEvent", "StreamContract", "parse_event"]


@dataclass(frozen=True, slots=True)
class StreamContract:
    """What a stream's baseline asks of its events.

    Attributes:
        dimension: The length of a vector.
        model_version: The model's version, if the baseline knows it.
        metric: What "nearest" means; a zero vector has no direction under cosine.
    """

    dimension: int
    model_version: str | None
    metric: Metric


@dataclass(frozen=True, slots=True)
class Decoded:
    """A batch of records, sorted out: each row is in exactly one of the two.

    Attributes:
        batches: The accepted events, one batch per stream that has any, rows in record order.
        rejections: The others, in record order.
    """

    batches: tuple[EventBatch, ...]
    rejections: tuple[Rejection, ...]


@dataclass(frozen=True, slots=True)
class ParsedEvent:
    """One event, without regard to any baseline.

    Attributes:
        stream: The stream's name.
        time_ms: Event time in milliseconds since the epoch, UTC.
        vector: (d,) float32, finite.
        model_version: The model's version, if the event names it.
        segments: What the event can be told apart by; empty if it names nothing.
    """

    stream: str
    time_ms: int
    vector: NDArray[np.float32]
    model_version: str | None
    segments: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Columns:
    """The rows of one stream, while they are collected."""

    row: list[int] = field(default_factory=list)
    time_ms: list[int] = field(default_factory=list)
    vector: list[bytes] = field(default_factory=list)
    event_id: list[str | None] = field(default_factory=list)
    segments: list[dict[str, str] | None] = field(default_factory=list)


class Decoder:
    """Turns raw records into event batches and rejections.

    Each record is parsed once and read the quick way or else the exact way (see `reader`); whether
    its values are sound is judged per batch. A record with several faults gets the first reason in
    the order of `Reason`.

    Why orjson and struct: of 21 us for 512 numbers, orjson needs 14 to make them Python floats and
    struct 4 for the row (np.array or array.array: 8). pysimdjson's buffer, with the checks it needs,
    makes it 14 to 17, but has no wheels past Python 3.13, flattens nested arrays, skips a byte order mark.
    """

    def __init__(self, streams: Mapping[str, StreamContract]) -> None:
        for name in streams:
            if not fullmatch(STREAM_NAME, name):
                message = f"stream {name!r}: no event can name it; use 1 to 128 of A-Z a-z 0-9 . _ -"
                raise ConfigError(message)
        self._streams = dict(streams)
        self._expected = {
            name: expect(contract.dimension, contract.model_version) for name, contract in streams.items()
        }

    def decode(self, records: Records) -> Decoded:
        """Sort the records out into event batches and rejections."""
        streams: dict[str, _Columns] = {}
        rejections: list[Rejection] = []
        for row, raw in enumerate(records.values):
            if raw is None:
                rejections.append(Rejection(row, Reason.UNDECODABLE, "no value (a tombstone)", None))
                continue
            document: object = None
            try:
                document = read_json(raw)
                event = read_fast(document, raw, self._expected) or read_exact(document, self._expected)
            except EventError as error:
                rejections.append(Rejection(row, error.reason, error.detail, self._configured(document)))
                continue
            stream, time_ms, vector, event_id, segments = event
            columns = streams.get(stream)
            if columns is None:
                columns = streams[stream] = _Columns()
            columns.row.append(row)
            columns.time_ms.append(time_ms)
            columns.vector.append(vector)
            columns.event_id.append(event_id)
            columns.segments.append(segments)
        batches = [self._batch(stream, columns, records, rejections) for stream, columns in streams.items()]
        rejections.sort(key=lambda rejection: rejection.row)
        return Decoded(tuple(batch for batch in batches if len(batch)), tuple(rejections))

    def _configured(self, document: object) -> str | None:
        stream = document.get("stream") if isinstance(document, dict) else None
        return stream if isinstance(stream, str) and stream in self._streams else None

    def _batch(
        self, stream: str, columns: _Columns, records: Records, rejections: list[Rejection]
    ) -> EventBatch:
        """Return the rows whose values are sound, and append the rejections of the others."""
        contract = self._streams[stream]
        row = np.array(columns.row, np.intp)
        time_ms = np.array(columns.time_ms, np.int64)
        vectors = _unpack(b"".join(columns.vector)).reshape(len(row), contract.dimension)
        lead_ms = time_ms - records.latest_ms[row]

        sound = lead_ms <= 0
        sound &= np.isfinite(vectors).all(axis=1)
        if contract.metric is Metric.COSINE:
            sound &= vectors.any(axis=1)
        if not sound.all():
            for i in np.flatnonzero(~sound).tolist():
                reason, detail = _fault(vectors[i], contract.metric, int(lead_ms[i]))
                rejections.append(Rejection(columns.row[i], reason, detail, stream))
        batch = EventBatch(
            stream=stream,
            row=row,
            partition=records.partition[row],
            offset=records.offset[row],
            time_ms=time_ms,
            vectors=vectors,
            event_ids=columns.event_id if any(columns.event_id) else (),
            segments=columns.segments if any(columns.segments) else (),
        )
        return batch if sound.all() else batch.only(sound)


def parse_event(raw: bytes) -> ParsedEvent | Rejection:
    """Return the event that `raw` holds, judged by the contract alone, or why it is none (as row 0)."""
    try:
        event = validate_event(read_json(raw))
    except EventError as error:
        return Rejection(0, error.reason, error.detail, None)
    vector = _unpack(event.packed_vector())
    if not np.isfinite(vector).all():
        return Rejection(0, Reason.NON_FINITE, _non_finite(vector), None)
    return ParsedEvent(event.stream, event.timestamp, vector, event.model_version, event.segments or {})


def _unpack(vectors: bytes) -> NDArray[np.float32]:
    return np.frombuffer(vectors, "<f4").astype(np.float32, copy=False)


def _fault(vector: NDArray[np.float32], metric: Metric, lead_ms: int) -> tuple[Reason, str]:
    """Return the first fault of a row that is not sound."""
    if not np.isfinite(vector).all():
        return Reason.NON_FINITE, _non_finite(vector)
    if metric is Metric.COSINE and not vector.any():
        return Reason.ZERO_VECTOR, "embedding: all zeros, which has no direction"
    return Reason.FUTURE, f"timestamp: {lead_ms} ms above the latest credible time"


def _non_finite(vector: NDArray[np.float32]) -> str:
    place = int(np.isfinite(vector).argmin())
    return f"embedding.{place}: {vector[place]} as float32"
