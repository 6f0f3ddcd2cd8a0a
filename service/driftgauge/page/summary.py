"""The summary of a window: what the page keeps of a window result, in 267 bytes."""

import math
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, get_args

import numpy as np
import orjson
from numpy.typing import NDArray

from driftgauge.core.counting.numbers import MAX_NUMBERS
from driftgauge.core.durations import parse_duration
from driftgauge.core.judging.calibration import Source
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.divergence import DIVERGENCE
from driftgauge.events.timestamps import LAST_MS, parse_timestamp
from driftgauge.page.words import name_first
from driftgauge.records.window_record import VerdictName, require_understood

__all__ = [
    "CALIBRATED",
    "CHARTED",
    "COUNTED_TWICE",
    "DETECTABLE",
    "EVENTS_LOST",
    "FAULTS",
    "NO_NAMES",
    "SEGMENT_DRIFT",
    "SEGMENT_OK",
    "SOURCES",
    "SUMMARY",
    "UNKNOWN",
    "VERDICTS",
    "Fault",
    "Names",
    "Parts",
    "Series",
    "fault_of",
    "kind_names",
    "kind_of",
    "means_of",
    "number_of",
    "read_summary",
]

_OF_RESULTS = get_args(VerdictName)
VERDICTS = (*_OF_RESULTS, "segment")
"""The verdicts, by their number in a summary; `segment` is that of an ok window in which a segment drifts."""

CHARTED = tuple(each for each in registry.STATISTICS if each is not DIVERGENCE)
"""The statistics that have a field in a summary, the number that charts show, beside the divergence."""

CALIBRATED, EVENTS_LOST, COUNTED_TWICE, SEGMENT_DRIFT, SEGMENT_OK = 1, 2, 4, 8, 16
"""The bits of `flags`. `SEGMENT_DRIFT` and `SEGMENT_OK` say that the verdict of a segment is drift, and that
one's is ok."""


class Fault(StrEnum):
    """Why a window lacks events, or why its counts are in doubt; the reasons of results have these names."""

    NONE = "none"
    PARTITIONS_MISSING = "partitions_missing"
    EVENTS_LOST = "events_lost"
    COUNTED_TWICE = "counted_twice"
    COUNTED_OTHERWISE = "counted_otherwise"
    PANES_PURGED = "panes_purged"
    OTHER = "other"


FAULTS = tuple(Fault)
"""The faults, by their number in a summary; `OTHER` stands for a reason of a later version."""

_OK, _SEGMENT = VERDICTS.index("ok"), VERDICTS.index("segment")
_MAX_NAMED = 3
_IDENTITY_DIGITS = 16

SOURCES = tuple(Source)
"""What measured a calibration, by its number in a summary; their number stands for what is not known."""

UNKNOWN = -1
"""A total that the result lacks."""

DETECTABLE = tuple(each.name for each in registry.STATISTICS)
"""The statistics in the field `detectable`."""

SUMMARY = np.dtype(
    [
        ("start_ms", np.int64),
        ("published_ms", np.int64),
        ("offset", np.int64),
        ("partition", np.int32),
        ("revision", np.int32),
        ("count", np.int64),
        ("applied_total", np.int64),
        ("late_total", np.int64),
        ("js_divergence", np.float64),
        ("noise_floor", np.float32),
        ("p_value", np.float64),
        *((each.name, np.float32) for each in CHARTED),
        ("excess", np.float32, (len(CHARTED),)),
        ("p_values", np.float32, (len(CHARTED),)),
        ("segment_excess", np.float32, (len(DETECTABLE),)),
        ("slow_drift", np.float32),
        ("slow_drift_since_ms", np.int64),
        ("measured_until_ms", np.int64),
        ("changed_ms", np.int64),
        ("events_needed", np.float32),
        ("calibration", np.uint8),
        ("detectable", np.float32, (len(DETECTABLE),)),
        ("baseline", np.uint64),
        ("numbers", [("name", np.uint32), ("mean", np.float32)], (MAX_NUMBERS,)),
        ("missing", np.uint16),
        ("fault", np.uint8),
        ("verdict", np.uint8),
        ("kind", np.uint8),
        ("flags", np.uint8),
    ]
)
"""The fields of a summary; a number that the result lacks is NaN, and a total `UNKNOWN`.

`excess` and `p_values` are those of the findings, by `CHARTED`. `segment_excess` is that of the drifting
segment with the strongest evidence, by `DETECTABLE`. `detectable` are the least drifts that a window finds,
by `DETECTABLE`: infinite if it finds none, NaN if it is not tested. `slow_drift` is the
statistic over its limit, and `slow_drift_since_ms` the estimated start of that drift; without one, it is the
window's start. `measured_until_ms` is the end of the measurement that the verdict waits for, 0 if it waits
for none, and `changed_ms` when the events changed meanwhile, 0 if they have not. `events_needed` is 0 if it
is unknown. `calibration` is a number of `SOURCES`. `kind` is the number of a statistic from 1, or 0.
`baseline` is the last 64 bits of the baseline's identity, a hash: two baselines never share them in
practice. `fault` is a number of `FAULTS`, and `missing` the number of missing partitions. `numbers` are the
means of the numbers beside the embedding, each with the CRC-32 of its name; see `means_of`.
"""


class Names(NamedTuple):
    """What a window names beside its numbers.

    Attributes:
        lacking: The missing partitions, or the reason of the fault `OTHER`; empty if there is none.
        drifting: The segments that drift, as "key = value", that with the strongest evidence first.
        warned: The segments that perhaps do.
    """

    lacking: str = ""
    drifting: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()


NO_NAMES = Names()


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """The windows of one stream and size.

    Attributes:
        stream: The stream.
        size_ms: The windows' length, ms.
    """

    stream: str
    size_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What a window's clusters and segments say over time.

    Attributes:
        shares: (k,) float32, the share of each cluster in the window's events.
        p_values: (s,) float32, the adjusted p-value of each segment; NaN if it is not scored.
        verdicts: (s,) uint8, the verdict of each, by `VERDICTS`.
        segments: The s segments, key and value.
    """

    shares: NDArray[np.float32]
    p_values: NDArray[np.float32]
    verdicts: NDArray[np.uint8]
    segments: tuple[tuple[str, str], ...]


def read_summary(
    value: bytes, *, partition: int, offset: int, published_ms: int
) -> tuple[Series, NDArray[np.void], Names, Parts]:
    """Return the series of a result's record, its summary, () of `SUMMARY`, what it names, and its parts.

    Args:
        value: The record's value, by the contract of window results, version 1.
        partition: The partition that the record is read from.
        offset: Its offset.
        published_ms: Its Kafka timestamp; 0 if it has none.

    Raises:
        ValueError: The value is no window result.
    """
    try:
        record = orjson.loads(value)
        require_understood(record.get("must_understand") or ())
        series = Series(_text(record["stream"]), parse_duration(record["window"]))
        drifting, warned = _by_evidence(record, "drift"), _by_evidence(record, "warning")
        fault, lacking = _fault(record)
        fields = _fields(record, partition, offset, published_ms, fault, drifting)
        row = np.array(fields, dtype=SUMMARY)
        _check_bounds(series, int(row["start_ms"]))
        # Many windows name the same, and share the texts.
        names = Names(sys.intern(lacking), _named(drifting), _named(warned))
        parts = _parts(record)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        message = f"not a window result: {type(error).__name__}: {error}"
        raise ValueError(message) from error
    return series, row, names, parts


def _named(segments: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(sys.intern(f"{each['key']} = {each['value']}") for each in segments)


def _by_evidence(record: dict[str, Any], verdict: str) -> list[dict[str, Any]]:
    own = (each for each in record.get("segments") or () if each["verdict"] == verdict)
    return sorted(own, key=lambda each: _number(each.get("p_value")))


def _parts(record: dict[str, Any]) -> Parts:
    segments = record.get("segments") or []
    return Parts(
        np.array([_number(each["share"]) for each in record["clusters"]], np.float32),
        np.array([_number(each["adjusted_p_value"]) for each in segments], np.float32),
        np.array([_OF_RESULTS.index(each["verdict"]) for each in segments], np.uint8),
        tuple((_text(each["key"]), _text(each["value"])) for each in segments),
    )


def fault_of(reason: str | None) -> Fault:
    """Return the fault that a result gives as the reason why it is incomplete."""
    return Fault(reason) if reason in FAULTS else Fault.OTHER


def _fault(record: dict[str, Any]) -> tuple[Fault, str]:
    """Return the fault of a window, and the names of what is missing or the reason of another version."""
    reason = record.get("incomplete_reason")
    if reason is not None and reason != Fault.PARTITIONS_MISSING:
        fault = fault_of(_text(reason))
        return fault, reason.replace("_", " ") if fault is Fault.OTHER else ""
    if missing := [f"{each['topic']}[{each['partition']}]" for each in record["incomplete"]]:
        return Fault.PARTITIONS_MISSING, name_first(missing, _MAX_NAMED)
    if record["events_lost"] is True:
        return Fault.EVENTS_LOST, ""
    return Fault.OTHER if record["verdict"] == "incomplete" else Fault.NONE, ""


def _fields(
    record: dict[str, Any],
    partition: int,
    offset: int,
    published_ms: int,
    fault: Fault,
    drifting: Sequence[dict[str, Any]],
) -> tuple[object, ...]:
    identity = _text(record["baseline"])
    verdict = _OF_RESULTS.index(record["verdict"])
    findings = record.get("findings") or {}
    of_charted = [findings.get(each.name) or {} for each in CHARTED]
    slow_drift = record["slow_drift"] or {}
    of_segment = (drifting[0].get("excess") if drifting else None) or {}
    measuring, calibration = record.get("measuring") or {}, record.get("calibration") or {}
    return (
        parse_timestamp(_text(record["start"])),
        published_ms,
        offset,
        partition,
        _count(record["revision"]),
        _count(record["count"]),
        *_totals(record),
        _number(record["js_divergence"]),
        _number(record["noise_floor"]),
        _number(record["p_value"]),
        *(_number(each.get("value")) for each in of_charted),
        [_number(each.get("excess")) for each in of_charted],
        [_number(each.get("p_value")) for each in of_charted],
        [_number(of_segment.get(name)) for name in DETECTABLE],
        _number(slow_drift.get("statistic")) / (_number(slow_drift.get("limit")) or math.nan),
        parse_timestamp(_text(slow_drift.get("since") or record["start"])),
        parse_timestamp(_text(measuring["until"])) if measuring else 0,
        parse_timestamp(_text(changed)) if (changed := measuring.get("changed")) else 0,
        _count(record.get("events_needed") or 0),
        SOURCES.index(source) if (source := calibration.get("source")) in SOURCES else len(SOURCES),
        [_least(record["detectable"] or {}, name) for name in DETECTABLE],
        int(identity.rpartition(":")[2][-_IDENTITY_DIGITS:], 16),
        _means(record.get("numbers") or {}),
        min(len(record["incomplete"]), 65_535),
        FAULTS.index(fault),
        _SEGMENT if drifting and verdict == _OK else verdict,
        _number_of_kind(record.get("kind")),
        CALIBRATED * (record["calibrated"] is True)
        + EVENTS_LOST * (record["events_lost"] is True)
        + COUNTED_TWICE * (record.get("counted_twice") is True)
        + SEGMENT_DRIFT * bool(drifting)
        + SEGMENT_OK * any(each["verdict"] == "ok" for each in record.get("segments") or ()),
    )


def _means(numbers: Mapping[str, Any]) -> list[tuple[int, float]]:
    """Return the names, as in a summary, and means of the first numbers; NaN if there is none."""
    found = [
        (_code(_text(name)), _number((each["mean"] or {}).get("value")))
        for name, each in list(numbers.items())[:MAX_NUMBERS]
    ]
    return found + [(0, math.nan)] * (MAX_NUMBERS - len(found))


def means_of(rows: NDArray[np.void], name: str) -> NDArray[np.float64]:
    """Return the means of a number in n summaries, (n,) float64; NaN if a window has none."""
    numbers = rows["numbers"]
    own = np.where(numbers["name"] == _code(name), numbers["mean"].astype(np.float64), np.nan)
    means: NDArray[np.float64] = np.fmax.reduce(own, axis=1)
    return means


def _code(name: str) -> int:
    return zlib.crc32(name.encode())


def kind_names() -> dict[int, str]:
    """Return the kinds of drift by their number in a summary; 0 is none."""
    return {number: each.kind for number, each in enumerate(registry.STATISTICS, 1)}


def kind_of(row: NDArray[np.void]) -> str | None:
    """Return the kind of drift in a summary; None for that of a later version as well."""
    number = int(row["kind"])
    return registry.STATISTICS[number - 1].kind if number else None


def number_of(row: NDArray[np.void]) -> str:
    """Return the field with the number of a summary's kind of drift; without a kind that of slow drift."""
    name = registry.STATISTICS[int(row["kind"]) - 1].name if row["kind"] else "slow_drift"
    return name if name in (SUMMARY.names or ()) else "slow_drift"


def _number_of_kind(kind: object) -> int:
    names = [each.kind for each in registry.STATISTICS]
    return names.index(kind) + 1 if isinstance(kind, str) and kind in names else 0


def _text(value: object) -> str:
    if not isinstance(value, str):
        message = f"{value!r} is not a text"
        raise TypeError(message)
    return value


def _check_bounds(series: Series, start_ms: int) -> None:
    if not series.stream or not series.size_ms or start_ms + series.size_ms > LAST_MS:
        message = "the stream has no name, or the window no length, or it ends after the year 9999"
        raise ValueError(message)


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        message = f"{value!r} is not a number of events or revisions"
        raise ValueError(message)
    return value


def _totals(record: dict[str, Any]) -> tuple[int, int]:
    totals = record.get("applied_total"), record.get("late_total")
    return (UNKNOWN, UNKNOWN) if None in totals else (_count(totals[0]), _count(totals[1]))


def _number(value: object) -> float:
    if value is None:
        return float("nan")
    if not isinstance(value, float | int) or not math.isfinite(value):
        message = f"{value!r} is not a finite number"
        raise TypeError(message)
    return float(value)


def _least(detectable: dict[str, object], name: str) -> float:
    """Return the least drift that a statistic finds in a window; infinite: none, NaN: it was not tested."""
    if name not in detectable:
        return math.nan
    return math.inf if detectable[name] is None else _number(detectable[name])
