"""The records of the page's API, and its description by OpenAPI 3.1."""

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

from driftgauge.config.stream import StreamSettings
from driftgauge.core.by_stream import ByStream
from driftgauge.page.advice import next_steps, remedy_of, runbook_of, silence_of
from driftgauge.page.service_watch import ServiceFault
from driftgauge.page.status import StreamStatus
from driftgauge.page.story import tell_cause, tell_service_fault
from driftgauge.page.summary_record import Record, SummaryRecords
from driftgauge.records.window_record import WindowRecord

__all__ = ["MAX_LAST", "Problem", "StatusRecords", "openapi", "status_record", "status_records"]

MAX_LAST = 10_000
"""The most windows in one answer."""

# Numbers with units that descend, such as 1d12h.
_DURATION = "^" + "".join(f"([0-9]{{1,15}}{unit})?" for unit in ("d", "h", "m", "s", "ms")) + "$"


class StatusRecords(Record):
    """The statuses of all streams, the most urgent first."""

    complete: bool
    """Whether everything that the topic held at the start has been read; by `driftgauge status`, also whether
    no record was found that the topics should not hold."""

    problem: str | None
    """Why the topic cannot be read at the moment; null if it can be. No state is recent then."""

    faults: tuple[ServiceFault, ...]
    """The faults that concern no single stream."""

    streams: tuple[StreamStatus, ...]
    """The streams."""


class Problem(Record):
    """Why a request was not answered."""

    error: str
    """What was wrong, and what to do."""


def status_records(
    statuses: Iterable[StreamStatus],
    streams: ByStream[StreamSettings],
    faults: Sequence[ServiceFault],
    runbooks: str,
    *,
    complete: bool,
    problem: str | None,
) -> StatusRecords:
    """Return the records of streams' statuses; `runbooks` is where the runbooks are."""
    return StatusRecords(
        complete=complete,
        problem=problem,
        faults=tuple(_told(each, runbooks) for each in faults),
        streams=tuple(status_record(each, streams[each.stream], runbooks) for each in statuses),
    )


def _told(fault: ServiceFault, runbooks: str) -> ServiceFault:
    step, runbook = remedy_of(fault)
    told = {"text": tell_service_fault(fault), "next_step": step, "runbook": f"{runbooks}/{runbook}.md"}
    return fault.model_copy(update=told)


def status_record(status: StreamStatus, settings: StreamSettings, runbooks: str) -> StreamStatus:
    """Return the status of a stream with what it says in words, and the stream's labels."""
    runbook = runbook_of(status)
    told = {
        "cause": tell_cause(status),
        "next_steps": next_steps(status),
        "silence": silence_of(status),
        "runbook": None if runbook is None else f"{runbooks}/{runbook}.md",
        "owner": settings.labels.owner,
        "severity": settings.labels.severity,
    }
    return status.model_copy(update=told)


def openapi(version: str) -> dict[str, Any]:
    """Return the description of the API."""
    models = (StatusRecords, SummaryRecords, WindowRecord, Problem)
    _, schemas = models_json_schema(
        [(model, "serialization") for model in models], ref_template="#/components/schemas/{model}"
    )
    stream = _parameter("stream", "The stream.", {"type": "string", "minLength": 1}, required=True)
    window = _parameter(
        "window",
        "The windows' length, such as 1h. Without it, that of the first alarm if only the stream is "
        "named, else the shortest.",
        {"type": "string", "pattern": _DURATION},
        required=False,
    )
    time = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer", "minimum": 0}]}
    at = _parameter(
        "at",
        "A time, RFC 3339 or epoch milliseconds: the last window that starts at it or before.",
        time,
        required=True,
    )
    begin = _parameter("from", "Windows that start at this time or later.", time, required=False)
    until = _parameter("until", "Windows that start before this time.", time, required=False)
    last = _parameter(
        "last",
        f"How many windows, the newest; by default 200, and with from or until {MAX_LAST:,}.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LAST},
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
                [stream, window, begin, until, last],
                _json("SummaryRecords"),
                ["400", "404"],
            ),
            "/windows.csv": _path(
                "The same as CSV, with a header",
                [stream, window, begin, until, last],
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
