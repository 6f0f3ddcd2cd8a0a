"""Raw records to event batches: per event only what cannot be done per batch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from re import fullmatch

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.counting.batch import EventBatch
from driftgauge.errors import ConfigError
from driftgauge.events.contract import STREAM_NAME, read_json, validate_event
from driftgauge.events.reader import BaselineContract, Schedule, read_exact, read_fast
from driftgauge.events.records import Records
from driftgauge.events.rejection import EventError, Reason, Rejection

__all__ = ["BaselineContract", "Decoded", "Decoder", "ParsedEvent", "parse_event"]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A batch of records, sorted out: each row is in exactly one of the two.

    Attributes:
        batches: The accepted events, one batch per stream and baseline that has any, rows in record order.
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
    """The rows of one stream and baseline, while they are collected."""

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

    def __init__(self, contracts: Iterable[BaselineContract], *, lead_ms: int) -> None:
        """Prepare to decode the events of some streams.

        Args:
            contracts: What each baseline of each stream asks of them.
            lead_ms: How far an event's time may be ahead of its record and of the reader's clock.

        Raises:
            ConfigError: No event can name a stream.
        """
        schedules: dict[str, list[BaselineContract]] = {}
        for contract in sorted(contracts, key=lambda contract: contract.from_ms, reverse=True):
            schedules.setdefault(contract.stream, []).append(contract)
        for name in schedules:
            if not fullmatch(STREAM_NAME, name):
                message = f"stream {name!r}: no event can name it; use 1 to 128 of A-Z a-z 0-9 . _ -"
                raise ConfigError(message)
        self._schedules: dict[str, Schedule] = {name: tuple(listed) for name, listed in schedules.items()}
        self._lead_ms = lead_ms

    def decode(self, records: Records) -> Decoded:
        """Sort the records out into event batches and rejections."""
        collected: dict[BaselineContract, _Columns] = {}
        schedules = self._schedules
        rejections: list[Rejection] = []
        for row, raw in enumerate(records.values):
            if raw is None:
                rejections.append(Rejection(row, Reason.UNDECODABLE, "no value (a tombstone)", None))
                continue
            document: object = None
            try:
                document = read_json(raw)
                event = read_fast(document, raw, schedules) or read_exact(document, schedules)
            except EventError as error:
                rejections.append(Rejection(row, error.reason, error.detail, self._configured(document)))
                continue
            contract, time_ms, vector, event_id, segments = event
            columns = collected.get(contract)
            if columns is None:
                columns = collected[contract] = _Columns()
            columns.row.append(row)
            columns.time_ms.append(time_ms)
            columns.vector.append(vector)
            columns.event_id.append(event_id)
            columns.segments.append(segments)
        batches = [
            self._batch(contract, columns, records, rejections) for contract, columns in collected.items()
        ]
        rejections.sort(key=lambda rejection: rejection.row)
        return Decoded(tuple(batch for batch in batches if len(batch)), tuple(rejections))

    def _configured(self, document: object) -> str | None:
        stream = document.get("stream") if isinstance(document, dict) else None
        return stream if isinstance(stream, str) and stream in self._schedules else None

    def _batch(
        self,
        contract: BaselineContract,
        columns: _Columns,
        records: Records,
        rejections: list[Rejection],
    ) -> EventBatch:
        """Return the rows whose values are sound, and append the rejections of the others."""
        row = np.array(columns.row, np.intp)
        time_ms = np.array(columns.time_ms, np.int64)
        vectors = _unpack(b"".join(columns.vector)).reshape(len(row), contract.dimension)
        credible_ms = records.credible_ms[row]
        lead_ms = time_ms - credible_ms

        sound = lead_ms <= self._lead_ms
        sound &= np.isfinite(vectors).all(axis=1)
        if contract.metric is DistanceMetric.COSINE:
            sound &= vectors.any(axis=1)
        if not sound.all():
            for i in np.flatnonzero(~sound).tolist():
                reason, detail = _fault(vectors[i], contract.metric, int(lead_ms[i]), self._lead_ms)
                rejections.append(Rejection(columns.row[i], reason, detail, contract.stream))
        batch = EventBatch(
            stream=contract.stream,
            baseline=contract.baseline,
            row=row,
            partition=records.partition[row],
            offset=records.offset[row],
            time_ms=time_ms,
            credible_ms=np.minimum(time_ms, credible_ms),
            vectors=vectors,
            event_ids=columns.event_id if any(columns.event_id) else (),
            segments=columns.segments if any(columns.segments) else (),
        )
        return batch if sound.all() else batch.filter(sound)


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


def _fault(
    vector: NDArray[np.float32], metric: DistanceMetric, lead_ms: int, allowed_ms: int
) -> tuple[Reason, str]:
    """Return the first fault of a row that is not sound."""
    if not np.isfinite(vector).all():
        return Reason.NON_FINITE, _non_finite(vector)
    if metric is DistanceMetric.COSINE and not vector.any():
        return Reason.ZERO_VECTOR, "embedding: all zeros, which has no direction"
    detail = (
        f"timestamp: {lead_ms} ms ahead of its record's time or of the clock, {allowed_ms} ms are allowed"
    )
    return Reason.FUTURE, detail


def _non_finite(vector: NDArray[np.float32]) -> str:
    place = int(np.isfinite(vector).argmin())
    return f"embedding.{place}: {vector[place]} as float32"
