"""The decoder of raw records to event batches; checks run per batch wherever possible."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from driftgauge.config.settings import LARGEST_RECORD
from driftgauge.core.by_stream import ByStream
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.counting.event_ids import RecordIds
from driftgauge.core.durations import format_duration, round_duration
from driftgauge.events.baseline_contract import BaselineContract, in_force
from driftgauge.events.columns import Columns, RecordId
from driftgauge.events.fields import is_stream, to_numbers
from driftgauge.events.own_contract import build_own_reader
from driftgauge.events.reader import Reader
from driftgauge.events.records import RawRecord, Records
from driftgauge.events.rejection import EventError, Reason, Rejection
from driftgauge.events.timestamps import LAST_MS, unit_hint
from driftgauge.events.vectors import are_finite, to_matrix

__all__ = ["Decoded", "Decoder", "describe_non_finite"]

_log = logging.getLogger(__name__)

_PRECEDENCE = {reason: rank for rank, reason in enumerate(Reason)}


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded batch of records; a record is in one of the fields, or had no event.

    Attributes:
        batches: The accepted events, one batch per stream and baseline with any, rows in record order.
        rejections: The refused records, in record order.
        filtered: The rows of the records that the configuration filters out.
        pending: The rows of the records that cannot be read yet, and of those after them in their partitions.
    """

    batches: tuple[EventBatch, ...]
    rejections: tuple[Rejection, ...]
    filtered: tuple[int, ...] = ()
    pending: tuple[int, ...] = ()


class Decoder:
    """Turns raw records into event batches and rejections.

    Records are read by their topic's reader, in the service's own contract unless another one is given; the
    values are checked per batch. A record with several faults gets the first reason in the order of
    `Reason`. A record may hold several events; if one is refused, the record is.
    """

    def __init__(
        self,
        contracts: Iterable[BaselineContract],
        *,
        lead_ms: int,
        age_ms: int = LAST_MS,
        readers: Mapping[str, Reader] = MappingProxyType({}),
        largest_bytes: int = LARGEST_RECORD,
    ) -> None:
        """Create a decoder for some streams.

        Args:
            contracts: The requirements of each baseline of each stream.
            readers: The readers of topics whose records are not in the service's own contract.
            lead_ms: How far an event's time may be ahead of its record and of the reader's clock.
            age_ms: How far an event's time may be behind its record, or behind the reader's clock if the
                record has no timestamp. By default no event is too old.
            largest_bytes: The largest value of a record that is read.
        """
        schedules: dict[str, list[BaselineContract]] = {}
        for contract in contracts:
            schedules.setdefault(contract.stream, []).append(contract)
        # In the order of the configuration, by which of two patterns the first holds.
        self._schedules = ByStream(
            {
                name: tuple(sorted(listed, key=lambda contract: contract.from_ms, reverse=True))
                for name, listed in schedules.items()
            }
        )
        self._lead_ms, self._age_ms = lead_ms, age_ms
        self._readers = readers
        self._largest_bytes = largest_bytes
        self._own_contract = build_own_reader()
        self._logged: set[tuple[str | None, type[Exception]]] = set()

    def decode(self, records: Records) -> Decoded:
        """Return the event batches and rejections of raw records."""
        return self.check(self.read(records.raw), records)

    def read(self, raw: Sequence[RawRecord]) -> Columns:
        """Return the events of records, and what became of the others, before any baseline is asked.

        Most polls have one topic, and all have runs of one.
        """
        columns, topics = Columns(), [record.topic() for record in raw]
        first = 0
        for _, run in groupby(topics):
            records = raw[first : first + len(list(run))]
            self._reader(records[0]).read(records, first, columns, self._largest_bytes)
            first += len(records)
        return columns

    def check(self, columns: Columns, records: Records) -> Decoded:
        """Return the event batches and rejections of records that were read.

        Args:
            columns: What became of each record, see `read`.
            records: The records.
        """
        if columns.pending:
            columns = _hold_back(columns, records.partition)
        rejections = [self._reject(row, error, records.raw[row]) for row, error in columns.refused]
        by_stream: dict[str, list[int]] = {stream: [] for stream in dict.fromkeys(columns.stream)}
        for entry, stream in enumerate(columns.stream if len(by_stream) > 1 else ()):
            by_stream[stream].append(entry)
        batches = [
            self._batch(stream, contract, fitting, records, rejections)
            for stream, entries in by_stream.items()
            for contract, own in self._by_contract(
                stream, columns.take(entries) if entries else columns, rejections
            )
            if len(fitting := _select(stream, contract, own, rejections))
        ]
        if rejections:
            batches, rejections = _refuse_whole_records(batches, rejections)
        rejections.sort(key=lambda rejection: rejection.row)
        return Decoded(
            tuple(batch for batch in batches if len(batch)),
            tuple(rejections),
            tuple(columns.filtered),
            tuple(columns.pending),
        )

    def _by_contract(
        self, stream: str, events: Columns, rejections: list[Rejection]
    ) -> Iterable[tuple[BaselineContract, Columns]]:
        """Return a stream's events by the contract of the baseline in force; of an unknown stream none."""
        schedule = self._schedules.get(stream)
        if schedule is None:
            detail = f"stream: {stream!r} is not configured"
            rows = dict.fromkeys(events.row)
            rejections += [Rejection(row, Reason.UNKNOWN_STREAM, detail, None) for row in rows]
            return ()
        from_ms = schedule[0].from_ms
        if not from_ms or min(events.time_ms) >= from_ms:
            return ((schedule[0], events),)
        found: dict[BaselineContract, list[int]] = defaultdict(list)
        for entry, time_ms in enumerate(events.time_ms):
            found[in_force(schedule, time_ms)].append(entry)
        return [(contract, events.take(entries)) for contract, entries in found.items()]

    def _reject(self, row: int, error: Exception, record: RawRecord) -> Rejection:
        if not isinstance(error, EventError):
            error = self._refuse(record, error)
        stream = error.stream or self._reader(record).stream
        # A refused record may name any text, which a pattern would match.
        is_known = stream is not None and is_stream(stream) and stream in self._schedules
        return Rejection(row, error.reason, error.detail, stream if is_known else None)

    def _refuse(self, record: RawRecord, error: Exception) -> EventError:
        """Return the refusal of a record on which its reader fails; log the first of a topic and an error."""
        kind = record.topic(), type(error)
        if kind not in self._logged:
            self._logged.add(kind)
            _log.error(
                "a record cannot be read; it and its like are refused as undecodable",
                extra={
                    "record": f"{record.topic()}[{record.partition()}]@{record.offset()}",
                    "remedy": "keep the dead letter, and report it with the logged traceback",
                },
                exc_info=error,
            )
        detail = f"value: the reader fails on it ({type(error).__name__}: {error})"
        return EventError(Reason.UNDECODABLE, detail)

    def _batch(
        self,
        stream: str,
        contract: BaselineContract,
        events: Columns,
        records: Records,
        rejections: list[Rejection],
    ) -> EventBatch:
        """Return the events as a batch, and append the rejections of those with other values than allowed."""
        rows = events.row
        row = np.array(rows, np.intp)
        time_ms = np.array(events.time_ms, np.int64)
        vectors = to_matrix(events.number, events.vector, contract.dimension)
        credible_ms = records.credible_ms[row]
        lead_ms = time_ms - credible_ms

        faults = {
            Reason.NON_FINITE: ~are_finite(vectors),
            Reason.FUTURE: lead_ms > self._lead_ms,
            Reason.PAST: lead_ms < -self._age_ms,
        }
        if contract.metric is DistanceMetric.COSINE:
            faults[Reason.ZERO_VECTOR] = np.logical_not(vectors.any(axis=1))
        for reason, are_faulty in faults.items():
            if not are_faulty.any():
                continue
            # Of a record's many events the first is enough.
            _, firsts = np.unique(row[are_faulty], return_index=True)
            for i in np.flatnonzero(are_faulty)[firsts].tolist():
                record = records.raw[rows[i]]
                detail = self._describe(reason, vectors[i], int(time_ms[i]), int(lead_ms[i]), record)
                gap_ms = int(-lead_ms[i]) if reason in (Reason.FUTURE, Reason.PAST) else None
                rejections.append(Rejection(rows[i], reason, detail, stream, gap_ms))
        return EventBatch(
            stream=stream,
            baseline=contract.baseline,
            row=row,
            partition=records.partition[row],
            offset=records.offset[row],
            time_ms=time_ms,
            credible_ms=np.minimum(time_ms, credible_ms),
            vectors=vectors,
            event_ids=_name_events(events.event_id, row, records),
            segments=events.segments if any(events.segments) else (),
            snippets=events.snippet if any(events.snippet) else (),
            numbers={name: to_numbers(events.numbers, name) for name in contract.numbers},
        )

    def _describe(
        self, reason: Reason, vector: NDArray[np.float32], time_ms: int, lead_ms: int, record: RawRecord
    ) -> str:
        """Return what is wrong with the vector of an event, or with a time too far from its record's."""
        distance = f"timestamp: {round_duration(abs(lead_ms))}"
        match reason:
            case Reason.NON_FINITE:
                return describe_non_finite(vector)
            case Reason.ZERO_VECTOR:
                return "embedding: all zeros, which has no direction"
            case Reason.FUTURE:
                allowed = f"{format_duration(self._lead_ms)} are allowed (allowed_lead)"
                return f"{distance} ahead of its record's time or of the clock, {allowed}"
        allowed = f"{format_duration(self._age_ms)} are allowed (allowed_age)"
        hint = unit_hint(time_ms, self._reader(record).unit)
        return f"{distance} behind its record's time or the clock, {allowed}{hint}"

    def _reader(self, record: RawRecord) -> Reader:
        return self._readers.get(record.topic() or "", self._own_contract)


def _hold_back(columns: Columns, partition: NDArray[np.int32]) -> Columns:
    """Return columns where all records of a partition wait from the first one on that cannot be read yet.

    Args:
        columns: What became of each record.
        partition: (n,) int32, the code of each record's partition.
    """
    first: dict[int, int] = {}
    for row in sorted(columns.pending):
        first.setdefault(int(partition[row]), row)
    is_read = [row < first.get(code, len(partition)) for row, code in enumerate(partition.tolist())]
    kept = columns.take([entry for entry, row in enumerate(columns.row) if is_read[row]])
    kept.filtered = [row for row in columns.filtered if is_read[row]]
    kept.refused = [(row, error) for row, error in columns.refused if is_read[row]]
    kept.pending = [row for row, each in enumerate(is_read) if not each]
    return kept


def _select(stream: str, contract: BaselineContract, events: Columns, rejections: list[Rejection]) -> Columns:
    """Return a stream's events of a contract's dimension and version; append the rejections of the others."""
    dimension, version = contract.dimension, contract.model_version
    found, versions = events.dimensions(), events.model_version
    if set(found) == {dimension} and (version is None or {None, version}.issuperset(versions)):
        return events
    is_right = [version is None or each in (None, version) for each in versions]
    fits = [right and each == dimension for right, each in zip(is_right, found, strict=True)]
    before: Counter[int] = Counter()
    vectors, refused = Counter(events.row), set()
    for entry, row in enumerate(events.row):
        before[row] += 1
        # Of a record's many events the first is enough.
        if fits[entry] or row in refused:
            continue
        refused.add(row)
        if not is_right[entry]:
            reason = Reason.WRONG_MODEL
            detail = f"model_version: {versions[entry]!r}, the baseline's is {version!r}"
        else:
            expected = f"the baseline has {dimension}" if contract.baseline else f"the first have {dimension}"
            which = f"vector {before[row]:,} of {vectors[row]:,} has " if vectors[row] > 1 else ""
            reason = Reason.WRONG_DIMENSION
            detail = f"embedding: {which}{found[entry]} numbers, {expected}"
        rejections.append(Rejection(row, reason, detail, stream))
    return events.take([entry for entry, fit in enumerate(fits) if fit])


def _name_events(
    event_ids: Sequence[str | RecordId | None], row: NDArray[np.intp], records: Records
) -> Sequence[str | None]:
    """Return the ids of n events, the rows of whose records are (n,); empty if none has one."""
    kinds = set(map(type, event_ids))
    if RecordId not in kinds:
        return event_ids if any(event_ids) else ()  # type: ignore[return-value]
    codes, firsts = np.unique(records.partition[row], return_index=True)
    named = zip(codes.tolist(), (records.raw[first] for first in row[firsts].tolist()), strict=True)
    prefixes = {code: f"{record.topic()}-{record.partition()}-" for code, record in named}
    default = RecordIds(prefixes, records.partition[row], records.offset[row])
    if len(kinds) == 1:
        return default
    return [
        default[i] if isinstance(event_id, RecordId) else event_id for i, event_id in enumerate(event_ids)
    ]


def _refuse_whole_records(
    batches: list[EventBatch], rejections: list[Rejection]
) -> tuple[list[EventBatch], list[Rejection]]:
    """Drop the events of refused records, and keep the first rejection of each record."""
    first: dict[int, Rejection] = {}
    for rejection in sorted(rejections, key=lambda rejection: _PRECEDENCE[rejection.reason]):
        first.setdefault(rejection.row, rejection)
    refused = np.array(list(first))
    kept = [~np.isin(batch.row, refused) for batch in batches]
    batches = [batch if rows.all() else batch.filter(rows) for batch, rows in zip(batches, kept, strict=True)]
    return batches, list(first.values())


def describe_non_finite(vector: NDArray[np.float32]) -> str:
    """Return the first number of a vector that is not finite, in words."""
    index = int(np.isfinite(vector).argmin())
    return f"embedding.{index}: {vector[index]} as float32"
