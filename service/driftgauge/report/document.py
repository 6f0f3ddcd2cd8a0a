"""The report: the page of one stream and window as one file, for a ticket."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files

from markupsafe import Markup
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import QueryParams

from driftgauge.config import Settings
from driftgauge.core.durations import format_duration
from driftgauge.errors import InputError
from driftgauge.nearest import suggest
from driftgauge.page.api_records import MAX_LAST, status_record
from driftgauge.page.history import WindowHistory
from driftgauge.page.marks import Marks
from driftgauge.page.overview import Overview
from driftgauge.page.queries import WindowQuery, read_query
from driftgauge.page.site import Site, comparable
from driftgauge.page.states import URGENCY
from driftgauge.page.status import StreamStatus
from driftgauge.page.summary_record import SummaryRecord, summary_records
from driftgauge.page.words import name_first
from driftgauge.records.window_record import WindowRecord
from driftgauge.report.pictures import picture_loader
from driftgauge.report.reading import Material

__all__ = ["Report", "ReportRecord", "build_report", "render_report", "report_record"]

_MAX_NAMED = 10


@dataclass(frozen=True, slots=True)
class Report:
    """What a report shows.

    Attributes:
        material: The results.
        settings: The configuration.
        query: The stream and window, and the window that it is compared with.
        status: The status of the stream.
        others: The statuses of the other streams, the most urgent first.
        made_ms: When the report is made, ms.
        now_ms: The time that ages are counted to, ms.
        shows_examples: Whether pictures and texts of events are in it.
    """

    material: Material
    settings: Settings
    query: WindowQuery
    status: StreamStatus
    others: tuple[StreamStatus, ...]
    made_ms: int
    now_ms: int
    shows_examples: bool


class ReportRecord(BaseModel):
    """A report as one JSON object, with the records of the page's API."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    status: StreamStatus
    """The status of the stream."""

    window: WindowRecord
    """The window."""

    windows: tuple[SummaryRecord, ...]
    """The windows of the stream and size, by start; at most 10,000, the newest."""

    others: tuple[StreamStatus, ...]
    """The statuses of the other streams, the most urgent first."""

    origin: str
    """Where the results come from."""

    notes: tuple[str, ...]
    """What was left out, in sentences."""


def build_report(
    material: Material,
    settings: Settings,
    *,
    stream: str | None,
    size_ms: int | None,
    at_ms: int | None,
    made_ms: int,
    shows_examples: bool = False,
) -> Report:
    """Return the report of a stream and window.

    Without a stream, the most urgent is taken, and without a size or time the window with the evidence of its
    alarm, or of its last one; without any alarm the newest. The window is compared with the last one before
    that is ok.

    Args:
        material: The results.
        settings: The configuration.
        stream: The stream.
        size_ms: The windows' length, ms.
        at_ms: The last window that starts at this time or before, event time, ms.
        made_ms: The wall clock, ms.
        shows_examples: Whether pictures and texts of events are in it.

    Raises:
        InputError: There is no such stream, size or window.
    """
    material.results.shows_snippets = shows_examples
    history = material.results.history
    # Results without times of publication are of no age, so they are reported as of their end.
    now_ms = made_ms if history.published_ms else _end_ms(history)
    sizes: dict[str, list[str]] = {}
    for series in history.series():
        # Also those that are no longer configured.
        sizes.setdefault(series.stream, []).append(format_duration(series.size_ms))
    overview = Overview(history, settings)
    service = material.watch.status(now_ms)
    statuses = [each for each in overview.statuses(now_ms, service) if each.stream in sizes]
    size = None if size_ms is None else format_duration(size_ms)
    matching = [
        status
        for status in statuses
        if stream in (None, status.stream) and size in (None, *sizes[status.stream])
    ]
    if not matching:
        raise InputError(_unknown(sizes, stream, size, material.origin))
    status = min(matching, key=lambda each: (URGENCY.index(each.state), not each.passed))
    alarms = (each for each in (*status.alarms, *status.passed) if size in (None, each.size))
    alarm = next(alarms, None)
    shown = status.lead if alarm is None else alarm
    window = size or (sizes[status.stream][0] if shown is None else shown.size)
    if at_ms is None and alarm is not None:
        at_ms = int(alarm.evidence["start_ms"])
    asked = {"stream": status.stream, "window": window}
    asked |= {} if at_ms is None else {"at": str(at_ms)}
    query = read_query(history, settings.by_stream, QueryParams(asked))
    compared = next((at for _, at in comparable(query, query.chosen, status)), None)
    return Report(
        material,
        settings,
        replace(query, compare=compared),
        status,
        tuple(each for each in statuses if each is not status),
        made_ms,
        now_ms,
        shows_examples,
    )


def render_report(report: Report) -> str:
    """Return a report's HTML: one file that loads nothing and runs nothing.

    Raises:
        ServiceError: The topic cannot be read now.
    """
    site = Site(
        report.material.results,
        report.settings,
        lambda: report.now_ms,
        Marks(),
        report.material.watch,
        picture_loader() if report.shows_examples else lambda _: None,
    )
    style = files("driftgauge.page").joinpath("static", "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return site.render_stream(
        report.query,
        report.status,
        report.now_ms,
        report.material.watch.status(report.now_ms),
        "report.html",
        # It is the project's own file, and the policy lets no other style through.
        style=Markup(style),  # noqa: S704
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'",
        others=report.others,
        material=report.material,
        made_ms=report.made_ms,
        dead_letters=None,
    )


def report_record(report: Report) -> ReportRecord:
    """Return the record of a report.

    Raises:
        MissingWindowError: The topic no longer holds the window.
        ServiceError: The topic cannot be read now.
    """
    query, settings = report.query, report.settings
    records = [
        status_record(each, settings.by_stream[each.stream], settings.page.runbooks_url)
        for each in (report.status, *report.others)
    ]
    return ReportRecord(
        status=records[0],
        window=report.material.results.whole(query.series, query.rows[query.chosen]),
        windows=summary_records(
            query.series, query.rows[-MAX_LAST:], settings.by_stream[query.series.stream].numbers
        ).windows,
        others=tuple(records[1:]),
        origin=report.material.origin,
        notes=report.material.notes,
    )


def _end_ms(history: WindowHistory) -> int:
    """Return the end of the last window, event time, ms; 0 without any."""
    ends = (int(history.windows(each)["start_ms"][-1]) + each.size_ms for each in history.series())
    return max(ends, default=0)


def _unknown(sizes: Mapping[str, Sequence[str]], stream: str | None, size: str | None, origin: str) -> str:
    if not sizes:
        return f"there is no window in {origin}; check what it holds, and the streams' names"
    asked = ("" if size is None else f" of {size}") + ("" if stream is None else f" of the stream {stream}")
    known = [f"{name} {each}" for name, own in sizes.items() for each in own]
    remedy = f"choose one of: {name_first(known, _MAX_NAMED)}"
    if stream is not None and stream not in sizes:
        remedy = suggest(stream, sizes, remedy)
    return f"there is no window{asked} in {origin}; {remedy}"
