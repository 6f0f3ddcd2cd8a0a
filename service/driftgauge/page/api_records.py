"""The records of the page's API, and its description by OpenAPI 3.1."""

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from driftgauge.config.stream import StreamSettings
from driftgauge.core.by_stream import ByStream
from driftgauge.core.durations import format_duration
from driftgauge.events.timestamps import format_timestamp
from driftgauge.page.advice import RUNBOOKS, next_steps, remedy_of, runbook_of, silence_of
from driftgauge.page.service_watch import FaultName, ServiceFault
from driftgauge.page.status import Alarm, ConcernName, SizeStatus, StateName, StreamStatus
from driftgauge.page.story import tell_cause, tell_service_fault
from driftgauge.page.summary import (
    CALIBRATED,
    CHARTED,
    COUNTED_TWICE,
    DETECTABLE,
    EVENTS_LOST,
    SEGMENT_DRIFT,
    SOURCES,
    VERDICTS,
    Fault,
    Series,
    kind_of,
)
from driftgauge.records.window_record import Finite, UtcDateTime, VerdictName, WindowRecord

__all__ = [
    "MAX_LAST",
    "Problem",
    "StatusRecord",
    "StatusRecords",
    "SummaryRecord",
    "SummaryRecords",
    "openapi",
    "status_record",
    "status_records",
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

    values: dict[str, Finite | None]
    """The `value` of each other finding, by the statistic's name; null where it was not tested."""

    slow_drift_ratio: Finite | None
    """The slow drift over its limit."""

    detectable: dict[str, Finite | None]
    """The least drift by each statistic that four of five windows of this count find; null where it finds
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


class AlarmRecord(_Record):
    """An alarm of a window size."""

    window: str
    """The windows' length, such as 1h."""

    verdict: VerdictName
    """The verdict of its last window; ok where only a segment drifts."""

    segments: str
    """The segments that drifted first, as "key = value"; empty where all events drift."""

    since: UtcDateTime
    """The start of its first window; of slow drift, its estimated start."""

    after: UtcDateTime | None
    """The start of the last window before it with another conclusion. The events changed between this time
    and the end of its first window, or so little before that no window showed it. Null without such a window.
    """

    until: UtcDateTime | None
    """The start of the window that ended it. Null while it goes on."""

    windows: Count
    """The number of its windows."""


class ConcernRecord(_Record):
    """A fault of a stream's data."""

    window: str
    """The windows' length, such as 1h."""

    name: ConcernName
    """misfit: every window differs from the baseline. refused: so are many of the records read in the last
    hour. late: many accepted events of a day came too late for their window. incomplete: partitions are
    missing, or counts are in doubt. silent: no window for longer than the stream allows. behind: windows come
    long after their end. insufficient: too few events to see anything. unclear: a segment that no window of a
    day found ok or in drift. warming_up: how much clean windows vary is measured still, and only gross drift
    pages. waiting: no window yet."""

    since: UtcDateTime | None
    """When it began, event time. Null where that is unknown."""

    fault: Fault
    """What the newest window lacks, or why its counts are in doubt: as `incomplete_reason` of its result, or
    events_lost; other for a reason of a later version. none where the concern is not incomplete."""

    detail: str
    """The missing partitions, a reason of a later version, the share of late events, or the segments with
    their verdicts; empty where there is none."""

    extent: str
    """Of refused, how many records of how many that were read in the last hour. Empty for the others."""

    unread: Count | None
    """Of behind, how many records of the stream's topics are not read yet. Null where that is unknown, and
    for the others."""


class SizeRecord(_Record):
    """A window size of a stream, and what its last windows say."""

    window: str
    """The windows' length, such as 1h."""

    state: StateName
    """The state by this size alone."""

    old: bool
    """Whether its last conclusion is older than the stream allows, or missing."""

    concluded: UtcDateTime | None
    """The start of the last window with a conclusion. Null without any."""

    newest: SummaryRecord
    """The newest window."""


class StatusRecord(_Record):
    """The status of a stream: its alarm, its last conclusion, and the health of its data."""

    stream: str
    """The stream."""

    state: StateName
    """The most urgent of its alarm, its drifting segments and the faults of its data. ok only while a recent
    window says so and nothing is missing."""

    old: bool
    """Whether the conclusion behind the state is older than the stream allows."""

    concluded: UtcDateTime | None
    """The end of the last window with a conclusion; with an alarm, the last that confirms it. Null without
    any."""

    alarms: tuple[AlarmRecord, ...]
    """The alarms that go on: first the one that dates their beginning best, then by start."""

    passed: tuple[AlarmRecord, ...]
    """The last alarm of each size, where it has ended."""

    cause: str
    """What happened to the events, in a sentence; empty without an alarm."""

    concerns: tuple[ConcernRecord, ...]
    """The faults of the data, the most urgent first."""

    notes: tuple[str, ...]
    """What else a reader should know, which changes no state: times of events that are whole hours from those
    of their records, few refused records, a warm_up with too few windows, an alarm of a size that is not
    configured.
    """

    next_steps: tuple[str, ...]
    """What to do, in sentences."""

    silence: str | None
    """The command that silences every alert on the stream's drift for four hours. Null without an alarm of a
    configured window size."""

    runbook: str | None
    """The address of the runbook. Null where nothing is wrong."""

    owner: str | None
    """The owner in the stream's labels. Null where they name none."""

    severity: str
    """The severity in the stream's labels."""

    sizes: tuple[SizeRecord, ...]
    """The window sizes that have windows."""


class ServiceFaultRecord(_Record):
    """A fault that concerns no single stream."""

    name: FaultName
    """missing_topic: an events topic does not exist. hidden_topic: this process may not see one. no_leader:
    of partitions. no_heartbeat: no replica is known to serve a role. not_polling: a role of a replica hangs.
    not_ready: a condition of a replica's readiness is not met. A replica cannot work on partitions:
    transaction (one does not end there), schema (the registry has not answered), unwritable, stopped (state,
    offset and log do not match), restore (their start is not known yet). refused: many records of a topic,
    of those read in the last hour, name no stream. surplus: an entry with a pattern has more streams than its
    `most`."""

    subject: str
    """The topic, the partitions, the roles, the conditions or the pattern."""

    since: UtcDateTime | None
    """When it was first seen within the last hour, wall time. Null where that is unknown."""

    text: str
    """The fault, in words."""

    next_step: str
    """What to do."""

    runbook: str
    """The address of the runbook."""


class StatusRecords(_Record):
    """The statuses of all streams, the most urgent first."""

    complete: bool
    """Whether everything that the topic held at the start has been read; by `driftgauge status`, also whether
    no record was found that the topics should not hold."""

    problem: str | None
    """Why the topic cannot be read at the moment; null where it can be. No state is recent then."""

    faults: tuple[ServiceFaultRecord, ...]
    """The faults that concern no single stream."""

    streams: tuple[StatusRecord, ...]
    """The streams."""


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
        verdict=_of_result(VERDICTS[row["verdict"]]),
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
        missing_partitions=int(row["missing"]),
        events_lost=bool(flags & EVENTS_LOST),
        counted_twice=bool(flags & COUNTED_TWICE),
        segment_drift=bool(flags & SEGMENT_DRIFT),
    )


def status_records(
    statuses: Iterable[StreamStatus],
    streams: ByStream[StreamSettings],
    faults: Sequence[ServiceFault],
    *,
    complete: bool,
    problem: str | None,
) -> StatusRecords:
    """Return the records of streams' statuses."""
    return StatusRecords(
        complete=complete,
        problem=problem,
        faults=tuple(map(_fault_record, faults)),
        streams=tuple(status_record(each, streams[each.stream]) for each in statuses),
    )


def _fault_record(fault: ServiceFault) -> ServiceFaultRecord:
    step, runbook = remedy_of(fault)
    return ServiceFaultRecord(
        name=fault.name,
        subject=fault.subject,
        since=None if fault.since_ms is None else format_timestamp(fault.since_ms),
        text=tell_service_fault(fault),
        next_step=step,
        runbook=f"{RUNBOOKS}/{runbook}.md",
    )


def status_record(status: StreamStatus, settings: StreamSettings) -> StatusRecord:
    """Return the record of a stream's status."""
    runbook = runbook_of(status)
    concluded_ms = status.concluded_ms
    return StatusRecord(
        stream=status.stream,
        state=status.state,
        old=status.is_old,
        concluded=None if concluded_ms is None else format_timestamp(concluded_ms),
        alarms=tuple(map(_alarm_record, status.alarms)),
        passed=tuple(map(_alarm_record, status.passed)),
        cause=tell_cause(status),
        concerns=tuple(
            ConcernRecord(
                window=each.size,
                name=each.name,
                since=None if each.since_ms is None else format_timestamp(each.since_ms),
                fault=each.fault,
                detail=each.detail,
                extent=each.extent,
                unread=each.unread,
            )
            for each in status.concerns
        ),
        notes=status.notes,
        next_steps=next_steps(status),
        silence=silence_of(status),
        runbook=None if runbook is None else f"{RUNBOOKS}/{runbook}.md",
        owner=settings.labels.owner,
        severity=settings.labels.severity,
        sizes=tuple(_size_record(size) for size in status.sizes),
    )


def _alarm_record(alarm: Alarm) -> AlarmRecord:
    run = alarm.run
    return AlarmRecord(
        window=alarm.size,
        segments=alarm.segments,
        verdict=_of_result(run.verdict),
        since=format_timestamp(alarm.since_ms),
        after=None if run.after_ms is None else format_timestamp(run.after_ms),
        until=None if run.until_ms is None else format_timestamp(run.until_ms),
        windows=run.windows,
    )


def _size_record(size: SizeStatus) -> SizeRecord:
    concluded = size.facts.concluded
    return SizeRecord(
        window=size.size,
        state=size.state,
        old=size.is_old,
        concluded=None if concluded is None else format_timestamp(int(concluded["start_ms"])),
        newest=summary_record(size.facts.newest, size.facts.series.size_ms),
    )


def summary_records(series: Series, rows: NDArray[np.void]) -> SummaryRecords:
    """Return the records of n windows, (n,) of `SUMMARY`."""
    return SummaryRecords(
        stream=series.stream,
        window=format_duration(series.size_ms),
        windows=tuple(summary_record(row, series.size_ms) for row in rows),
    )


def _of_result(verdict: str) -> str:
    """Return the verdict of a result, which is ok where only a segment drifts."""
    return "ok" if verdict == "segment" else verdict


def _finite(value: Any) -> float | None:
    """Return a number of a summary; None for one that is not finite."""
    return float(value) if math.isfinite(value) else None


def openapi(version: str) -> dict[str, Any]:
    """Return the description of the API."""
    models = (StatusRecords, SummaryRecords, WindowRecord, Problem)
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
            "/streams": _path("All streams, the most urgent first", [], _json("StatusRecords"), []),
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
