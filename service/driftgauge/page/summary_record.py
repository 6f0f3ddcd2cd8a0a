"""A window in short, as the API shows it, and what its records have in common."""

import math
from collections.abc import Collection, Iterable
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from driftgauge.core.durations import format_duration
from driftgauge.events.timestamps import format_timestamp
from driftgauge.page.summary import (
    CALIBRATED,
    CHARTED,
    COUNTED_TWICE,
    DETECTABLE,
    EVENTS_LOST,
    SEGMENT_DRIFT,
    SOURCES,
    VERDICTS,
    Series,
    kind_of,
    means_of,
)
from driftgauge.records.window_record import Finite, UtcDateTime, VerdictName

__all__ = [
    "Count",
    "Record",
    "SummaryRecord",
    "SummaryRecords",
    "UtcMs",
    "of_result",
    "summary_record",
    "summary_records",
]

Count = Annotated[int, Field(ge=0)]
UtcMs = Annotated[int, PlainSerializer(format_timestamp, return_type=UtcDateTime)]
"""A time, ms since the epoch; UTC as text in JSON."""


class Record(BaseModel):
    """A part of an answer of the API."""

    model_config = ConfigDict(
        frozen=True,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
        arbitrary_types_allowed=True,
        # An answer has every field.
        json_schema_serialization_defaults_required=True,
    )


class SummaryRecord(Record):
    """A window in short; its fields mean the same as in the contract of window results."""

    start: UtcDateTime
    """Event time at which the window starts, UTC, inclusive."""

    end: UtcDateTime
    """Event time at which the window ends, UTC, exclusive."""

    revision: Count
    """The revision."""

    published: UtcDateTime | None
    """When the revision was published, UTC; null if that is unknown, such as in a file of results."""

    count: Count
    """Events counted."""

    verdict: VerdictName
    """The verdict."""

    kind: str | None
    """The kind of drift, if the window is significant."""

    js_divergence: Finite | None
    """The divergence; null if the window is not scored, as for the numbers that follow."""

    noise_floor: Finite | None
    """The divergence that noise alone makes."""

    p_value: Finite | None
    """The combined p-value."""

    values: dict[str, Finite | None]
    """The `value` of each other finding, by the statistic's name; null if it was not tested."""

    slow_drift_ratio: Finite | None
    """The slow drift over its limit."""

    detectable: dict[str, Finite | None]
    """The least drift by each statistic that four of five windows of this count find; null if it finds
    none, or was not tested."""

    calibrated: bool
    """Whether windows of this length showed how much they vary without drift."""

    calibration: str | None
    """What showed it: none (the verdict is provisional), baseline, warm_up, first_windows or borrowed. Null
    if unknown; the window's own record has the numbers."""

    measured_until: UtcDateTime | None
    """When the measurement ends that a provisional verdict waits for. Null if it waits for none."""

    events_needed: Count | None
    """How many events a window needs to find the smallest drift of every kind. Null if no number suffices."""

    numbers: dict[str, Finite | None] = {}
    """The mean of each number that the stream names, by its name; null if the window has none. Empty in
    the statuses of streams."""

    missing_partitions: Count
    """The number of partitions that had not passed the window's end."""

    events_lost: bool
    """Whether Kafka may have deleted events before they were read."""

    counted_twice: bool
    """Whether events may have been counted twice."""

    segment_drift: bool
    """Whether a segment of the window drifts."""


class SummaryRecords(Record):
    """The last windows of a stream and size."""

    stream: str
    """The stream."""

    window: str
    """The windows' length, such as 1h."""

    windows: tuple[SummaryRecord, ...]
    """The windows, by start."""


def summary_record(row: NDArray[np.void], size_ms: int, numbers: Iterable[str] = ()) -> SummaryRecord:
    """Return the record of a summary, () of `SUMMARY`, with the means of some numbers."""
    start_ms, published_ms, flags = int(row["start_ms"]), int(row["published_ms"]), int(row["flags"])
    return SummaryRecord(
        start=format_timestamp(start_ms),
        end=format_timestamp(start_ms + size_ms),
        revision=int(row["revision"]),
        published=format_timestamp(published_ms) if published_ms > 0 else None,
        count=int(row["count"]),
        verdict=of_result(VERDICTS[row["verdict"]]),
        kind=kind_of(row),
        js_divergence=_finite(row["js_divergence"]),
        noise_floor=_finite(row["noise_floor"]),
        p_value=_finite(row["p_value"]),
        values={each.name: _finite(row[each.name]) for each in CHARTED},
        slow_drift_ratio=_finite(row["slow_drift"]),
        detectable=dict(zip(DETECTABLE, map(_finite, row["detectable"]), strict=True)),
        calibrated=bool(flags & CALIBRATED),
        calibration=SOURCES[source] if (source := int(row["calibration"])) < len(SOURCES) else None,
        measured_until=format_timestamp(until_ms) if (until_ms := int(row["measured_until_ms"])) else None,
        events_needed=int(row["events_needed"]) or None,
        numbers={name: _finite(means_of(row[np.newaxis], name)[0]) for name in numbers},
        missing_partitions=int(row["missing"]),
        events_lost=bool(flags & EVENTS_LOST),
        counted_twice=bool(flags & COUNTED_TWICE),
        segment_drift=bool(flags & SEGMENT_DRIFT),
    )


def summary_records(series: Series, rows: NDArray[np.void], numbers: Collection[str] = ()) -> SummaryRecords:
    """Return the records of n windows, (n,) of `SUMMARY`, with the means of some numbers."""
    return SummaryRecords(
        stream=series.stream,
        window=format_duration(series.size_ms),
        windows=tuple(summary_record(row, series.size_ms, numbers) for row in rows),
    )


def of_result(verdict: str) -> str:
    """Return the verdict of a result, which is ok if only a segment drifts."""
    return "ok" if verdict == "segment" else verdict


def _finite(value: Any) -> float | None:
    """Return a number of a summary; None for one that is not finite."""
    return float(value) if math.isfinite(value) else None
