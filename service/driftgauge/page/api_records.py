"""The records of the page's API, and its description by OpenAPI 3.1."""

import math
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from driftgauge.core.durations import format_duration
from driftgauge.events.timestamps import format_timestamp
from driftgauge.page.overview import SizeCell
from driftgauge.page.summary import (
    CALIBRATED,
    COUNTED_TWICE,
    EVENTS_LOST,
    SEGMENT_DRIFT,
    VERDICTS,
    Series,
    kind_of,
)
from driftgauge.records.window_record import Finite, UtcDateTime, VerdictName, WindowRecord

__all__ = [
    "MAX_LAST",
    "Problem",
    "SeriesRecord",
    "SeriesRecords",
    "SummaryRecord",
    "SummaryRecords",
    "openapi",
    "series_record",
    "summary_records",
]

MAX_LAST = 10_000
"""The most windows in one answer."""

# Numbers with units that descend, such as 1d12h.
_DURATION = "^" + "".join(f"([0-9]{{1,15}}{unit})?" for unit in ("d", "h", "m", "s", "ms")) + "$"

Count = Annotated[int, Field(ge=0)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class SummaryRecord(_Record):
    """A window in short; its fields mean the same as in the contract of window results."""

    start: UtcDateTime
    """Event time at which the window starts, UTC, inclusive."""

    end: UtcDateTime
    """Event time at which the window ends, UTC, exclusive."""

    revision: Count
    """The revision."""

    published: UtcDateTime | None
    """When the revision was published, UTC; null where that is unknown, such as in a file of results."""

    count: Count
    """Events counted."""

    verdict: VerdictName
    """The verdict."""

    kind: str | None
    """The kind of drift, where the window is significant."""

    js_divergence: Finite | None
    """The divergence; null if the window is not scored, as for the numbers that follow."""

    noise_floor: Finite | None
    """The divergence that noise alone makes."""

    p_value: Finite | None
    """The combined p-value."""

    mean_shift_excess: Finite | None
    """The shift of the mean less what noise makes."""

    novelty_excess: Finite | None
    """The novelty less the expected one."""

    spread_change: Finite | None
    """The change of spread along the components or in the residual, whichever is larger."""

    duplicates_share: Finite | None
    """The share of the events that one repeated item would be."""

    slow_drift_ratio: Finite | None
    """The slow drift over its limit."""

    detectable_js_divergence: Finite | None
    """The least change of the mix that four of five windows of this count find."""

    calibrated: bool
    """Whether the overdispersion is measured."""

    missing_partitions: Count
    """The number of partitions that had not passed the window's end."""

    events_lost: bool
    """Whether Kafka may have deleted events before they were read."""

    counted_twice: bool
    """Whether events may have been counted twice."""

    segment_drift: bool
    """Whether a segment of the window drifts."""


class SummaryRecords(_Record):
    """The last windows of a stream and size."""

    stream: str
    """The stream."""

    window: str
    """The windows' length, such as 1h."""

    windows: tuple[SummaryRecord, ...]
    """The windows, by start."""


class SeriesRecord(_Record):
    """A stream and size, and what its last windows say."""

    stream: str
    """The stream."""

    window: str
    """The windows' length, such as 1h."""

    verdict: VerdictName
    """The verdict of the newest window."""

    since: UtcDateTime
    """The start of the first window in a row with this verdict, or with an alarm where it is an alarm."""

    windows_since: Count
    """The number of those windows."""

    silent: bool
    """Whether no window was published for three window lengths and a quarter of an hour."""

    newest: SummaryRecord
    """The newest window."""


class SeriesRecords(_Record):
    """All streams and sizes, the most urgent stream first."""

    complete: bool
    """Whether everything that the topic held at the start has been read."""

    problem: str | None
    """Why the topic cannot be read at the moment; null where it can be."""

    series: tuple[SeriesRecord, ...]
    """The streams and sizes."""


class Problem(_Record):
    """Why a request was not answered."""

    error: str
    """What was wrong, and what to do."""


def summary_record(row: NDArray[np.void], size_ms: int) -> SummaryRecord:
    """Return the record of a summary, () of `SUMMARY`."""
    start_ms, published_ms, flags = int(row["start_ms"]), int(row["published_ms"]), int(row["flags"])
    return SummaryRecord(
        start=format_timestamp(start_ms),
        end=format_timestamp(start_ms + size_ms),
        revision=int(row["revision"]),
        published=format_timestamp(published_ms) if published_ms > 0 else None,
        count=int(row["count"]),
        verdict=VERDICTS[row["verdict"]],
        kind=kind_of(row),
        js_divergence=_finite(row["js_divergence"]),
        noise_floor=_finite(row["noise_floor"]),
        p_value=_finite(row["p_value"]),
        mean_shift_excess=_finite(row["mean_shift"]),
        novelty_excess=_finite(row["novelty"]),
        spread_change=_finite(row["spread"]),
        duplicates_share=_finite(row["duplicates"]),
        slow_drift_ratio=_finite(row["slow_drift"]),
        detectable_js_divergence=_finite(row["detectable_js"]),
        calibrated=bool(flags & CALIBRATED),
        missing_partitions=int(row["missing"]),
        events_lost=bool(flags & EVENTS_LOST),
        counted_twice=bool(flags & COUNTED_TWICE),
        segment_drift=bool(flags & SEGMENT_DRIFT),
    )


def series_record(cell: SizeCell, now_ms: int) -> SeriesRecord:
    """Return the record of a cell of the overview."""
    return SeriesRecord(
        stream=cell.series.stream,
        window=cell.size,
        verdict=cell.run.verdict,
        since=format_timestamp(cell.run.since_ms),
        windows_since=cell.run.windows,
        silent=cell.is_silent(now_ms),
        newest=summary_record(cell.newest, cell.series.size_ms),
    )


def summary_records(series: Series, rows: NDArray[np.void]) -> SummaryRecords:
    """Return the records of n windows, (n,) of `SUMMARY`."""
    return SummaryRecords(
        stream=series.stream,
        window=format_duration(series.size_ms),
        windows=tuple(summary_record(row, series.size_ms) for row in rows),
    )


def _finite(value: Any) -> float | None:
    """Return a number of a summary; None for NaN."""
    return None if math.isnan(value) else float(value)


def openapi(version: str) -> dict[str, Any]:
    """Return the description of the API."""
    models = (SeriesRecords, SummaryRecords, WindowRecord, Problem)
    _, schemas = models_json_schema(
        [(model, "serialization") for model in models], ref_template="#/components/schemas/{model}"
    )
    stream = _parameter("stream", "The stream.", {"type": "string", "minLength": 1}, required=True)
    window = _parameter(
        "window",
        "The windows' length, such as 1h; without it, the stream's shortest.",
        {"type": "string", "pattern": _DURATION},
        required=False,
    )
    at = _parameter(
        "at",
        "A time, RFC 3339 or epoch milliseconds: the last window that starts at it or before.",
        {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer", "minimum": 0}]},
        required=True,
    )
    last = _parameter(
        "last",
        "How many windows, the newest.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LAST, "default": 200},
        required=False,
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "driftgauge",
            "version": version,
            "description": "Window results, as the page shows them.",
        },
        # Relative to this document; a path is appended to it as it is, so it ends without a slash.
        "servers": [{"url": "../v1"}],
        "paths": {
            "/streams": _path("All streams and sizes, the most urgent first", [], _json("SeriesRecords"), []),
            "/windows": _path(
                "The last windows of a stream and size",
                [stream, window, last],
                _json("SummaryRecords"),
                ["400", "404"],
            ),
            "/windows.csv": _path(
                "The same as CSV, with a header",
                [stream, window, last],
                {"text/csv": {"schema": {"type": "string"}}},
                ["400", "404"],
            ),
            "/window": _path(
                "A window's result as it is on the topic of window results",
                [stream, window, at],
                _json("WindowRecord"),
                ["400", "404", "503"],
            ),
        },
        "components": {"schemas": schemas["$defs"]},
    }


_PROBLEMS = {
    "400": "A parameter is missing, or cannot be read",
    "404": "There is no such stream, size or window, or the topic no longer holds it",
    "503": "The topic cannot be read now",
}


def _path(summary: str, parameters: list[Any], content: object, problems: list[str]) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": {"description": summary, "content": content}}
    for status in problems:
        answers[status] = {"description": _PROBLEMS[status], "content": _json("Problem")}
    return {"get": {"summary": summary, "parameters": parameters, "responses": answers}}


def _json(model: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model}"}}}


def _parameter(name: str, description: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "required": required, "schema": schema}
