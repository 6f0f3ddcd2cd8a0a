"""The decoder of raw records to event batches; checks run per batch wherever possible."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, groupby
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from driftgauge.config.settings import LARGEST_RECORD
from driftgauge.core.by_stream import ByStream
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.counting.event_ids import RecordIds
from driftgauge.core.durations import format_duration, round_duration
from driftgauge.errors import BrokerError
from driftgauge.events.mapped import MappedReader
from driftgauge.events.own_contract import OwnContractReader
from driftgauge.events.records import RawRecord, Records
from driftgauge.events.rejection import EventError, Reason, Rejection, SchemaPending
from driftgauge.events.rows import (
    BaselineContract,
    Events,
    RecordId,
    Row,
    count_numbers,
    in_force,
    is_stream,
)
from driftgauge.events.timestamps import LAST_MS, unit_hint
from driftgauge.events.vectors import are_finite, to_matrix

__all__ = ["Decoded", "Decoder", "Outcome", "describe_non_finite"]

_log = logging.getLogger(__name__)

_PRECEDENCE = {reason: rank for rank, reason in enumerate(Reason)}

_Collected: TypeAlias = Sequence[tuple[int, Row]]
"""Events, each after the row of its record."""

Outcome: TypeAlias = Events | EventError | SchemaPending
"""What becomes of a record: its events, why it is refused as a whole, or that it cannot be read yet."""


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

    Each record is read by its topic's reader, in the service's own contract unless another one is given; the
    values are checked per batch. A record with several faults gets the first reason in the order of
    `Reason`. A record may hold several events; if one is refused, the record is.

    Why orjson and struct, where simdjson is not installed: of 21 us for 512 numbers, orjson takes 14 to make
    Python floats and struct 4 for the row (np.array or array.array: 8).
    """

    def __init__(
        self,
        contracts: Iterable[BaselineContract],
        *,
        lead_ms: int,
        age_ms: int = LAST_MS,
        readers: Mapping[str, MappedReader] = MappingProxyType({}),
        largest_bytes: int = LARGEST_RECORD,
    ) -> None:
        """Create a decoder for some streams.

        Args:
            contracts: The requirements of each baseline of each stream.
            readers: The readers of topics whose records are not in the service's own contract.
            lead_ms: How far an event's time may be ahead of its record and of the reader's clock.
            age_ms: How far an event's time may be behind its record, or behind the reader's clock where the
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
        self._own_contract = OwnContractReader()
        self._logged: set[tuple[str | None, type[Exception]]] = set()

    def decode(self, records: Records) -> Decoded:
        """Return the event batches and rejections of raw records."""
        return self.check(self.read(records.raw), records)

    def check(self, outcomes: Iterable[Outcome], records: Records) -> Decoded:
        """Return the event batches and rejections of records that were read.

        Args:
            outcomes: What became of each record, see `read`.
            records: The records.
        """
        collected: dict[str, list[tuple[int, Row]]] = defaultdict(list)
        rejections: list[Rejection] = []
        filtered: list[int] = []
        pending: list[int] = []
        waiting: set[int] = set()  # codes of partitions
        for row, outcome in enumerate(outcomes):
            if waiting and int(records.partition[row]) in waiting:
                pending.append(row)
            elif isinstance(outcome, tuple):
                collected[outcome[0]].append((row, outcome))
            elif outcome is None:
                filtered.append(row)
            elif isinstance(outcome, EventError):
                stream = outcome.stream or self._reader(records.raw[row]).stream
                # A refused record may name any text, which a pattern would match.
                is_known = stream is not None and is_stream(stream) and stream in self._schedules
                rejections.append(
                    Rejection(row, outcome.reason, outcome.detail, stream if is_known else None)
                )
            elif isinstance(outcome, SchemaPending):
                waiting.add(int(records.partition[row]))
                pending.append(row)
            else:
                for event in outcome:
                    collected[event[0]].append((row, event))
        batches = [
            self._batch(stream, contract, fitting, records, rejections)
            for stream, events in collected.items()
            for contract, own in self._by_contract(stream, events, rejections)
            if (fitting := _select(stream, contract, own, rejections))
        ]
        if rejections:
            batches, rejections = _refuse_whole_records(batches, rejections)
        rejections.sort(key=lambda rejection: rejection.row)
        return Decoded(
            tuple(batch for batch in batches if len(batch)),
            tuple(rejections),
            tuple(filtered),
            tuple(pending),
        )

    def _by_contract(
        self, stream: str, collected: _Collected, rejections: list[Rejection]
    ) -> Iterable[tuple[BaselineContract, _Collected]]:
        """Return a stream's events by the contract of the baseline in force; of an unknown stream none."""
        schedule = self._schedules.get(stream)
        if schedule is None:
            detail = f"stream: {stream!r} is not configured"
            rows = dict.fromkeys(row for row, _ in collected)
            rejections += [Rejection(row, Reason.UNKNOWN_STREAM, detail, None) for row in rows]
            return ()
        from_ms = schedule[0].from_ms
        if not from_ms or all(event[1] >= from_ms for _, event in collected):
            return ((schedule[0], collected),)
        found: dict[BaselineContract, list[tuple[int, Row]]] = defaultdict(list)
        for row, event in collected:
            found[in_force(schedule, event[1])].append((row, event))
        return found.items()

    def read(self, raw: Iterable[RawRecord]) -> Iterator[Outcome]:
        """Yield what becomes of each record. Most polls have one topic, and all have runs of one."""
        for (topic, is_too_large), run in groupby(raw, self._kind):
            if is_too_large:
                yield from map(self._too_large, run)
                continue
            reader, records = self._readers.get(topic, self._own_contract), list(run)
            rows = reader.read_all(records)
            if rows is not None:
                yield from rows
                continue
            # One value at a time: that of a hostile record may take twenty times the memory of its bytes.
            for record in records:
                try:
                    yield reader.read(record)
                except (EventError, SchemaPending) as fault:
                    yield fault
                except (MemoryError, BrokerError):
                    raise
                except Exception as error:  # noqa: BLE001 - a record or a schema must not stop all of them
                    yield self._refuse(record, error)

    def _kind(self, record: RawRecord) -> tuple[str, bool]:
        return record.topic() or "", len(record.value() or b"") > self._largest_bytes

    def _too_large(self, record: RawRecord) -> EventError:
        size = len(record.value() or b"")
        detail = f"value: {size:,} bytes, {self._largest_bytes:,} are allowed (largest_record)"
        return EventError(Reason.TOO_LARGE, detail)

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
        collected: _Collected,
        records: Records,
        rejections: list[Rejection],
    ) -> EventBatch:
        """Return the events as a batch, and append the rejections of those with other values than allowed."""
        rows, events = zip(*collected, strict=True)
        _, times_ms, packed, formats, event_ids, _, segments, snippets = zip(*events, strict=True)
        row = np.array(rows, np.intp)
        time_ms = np.array(times_ms, np.int64)
        vectors = to_matrix(formats, packed, contract.dimension)
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
            event_ids=_name_events(event_ids, row, records),
            segments=segments if any(segments) else (),
            snippets=snippets if any(snippets) else (),
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

    def _reader(self, record: RawRecord) -> MappedReader:
        return self._readers.get(record.topic() or "", self._own_contract)


def _select(
    stream: str, contract: BaselineContract, collected: _Collected, rejections: list[Rejection]
) -> _Collected:
    """Return a stream's events of a contract's dimension and version; append the rejections of the others."""
    dimension, version = contract.dimension, contract.model_version
    # The length in place, because a call takes as long as the rest: see `count_numbers`.
    fits = [
        (len(event[2]) if type(event[2]) is memoryview else len(event[2]) / event[3].size) == dimension
        and (version is None or event[5] in (None, version))
        for _, event in collected
    ]
    if all(fits):
        return collected
    refused_row = -1
    vectors = Counter(row for row, _ in collected)
    before: Counter[int] = Counter()
    for (row, event), fit in zip(collected, fits, strict=True):
        before[row] += 1
        # Of a record's many events the first is enough, for they have one version.
        if fit or row == refused_row:
            continue
        refused_row = row
        if version is not None and event[5] not in (None, version):
            reason, detail = Reason.WRONG_MODEL, f"model_version: {event[5]!r}, the baseline's is {version!r}"
        else:
            found = count_numbers(event[2], event[3])
            expected = f"the baseline has {dimension}" if contract.baseline else f"the first have {dimension}"
            which = f"vector {before[row]:,} of {vectors[row]:,} has " if vectors[row] > 1 else ""
            reason, detail = Reason.WRONG_DIMENSION, f"embedding: {which}{found} numbers, {expected}"
        rejections.append(Rejection(row, reason, detail, stream))
    return list(compress(collected, fits))


def _name_events(
    event_ids: Sequence[str | RecordId | None], row: NDArray[np.intp], records: Records
) -> Sequence[str | None]:
    """Return the ids of n events, the rows of whose records are (n,); empty where none has one."""
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
