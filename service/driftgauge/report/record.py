"""A report as one JSON object, with the records of the page's API."""

from pydantic import BaseModel, ConfigDict

from driftgauge.events.timestamps import format_timestamp
from driftgauge.page.api_records import SummaryRecord, summary_records
from driftgauge.records.window_record import UtcDateTime, VerdictName, WindowRecord
from driftgauge.report.contents import Report

__all__ = ["OtherRecord", "ReportRecord", "report_record"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class OtherRecord(_Record):
    """A stream and size that the report leaves out."""

    stream: str
    """The stream."""

    window: str
    """The windows' length, such as 1h."""

    verdict: VerdictName
    """The most urgent verdict of its windows."""

    found: int
    """The number of windows with this verdict."""

    windows: int
    """The number of its windows."""


class ReportRecord(_Record):
    """What happened to a stream."""

    stream: str
    """The stream."""

    window: str
    """The windows' length, such as 1h."""

    verdict: VerdictName
    """The verdict of the chosen window."""

    since: UtcDateTime
    """The start of the first window of the run of alarms, or of windows with this verdict."""

    until: UtcDateTime | None
    """The start of the window that ended the run of alarms. Null while it goes on."""

    windows_since: int
    """The number of windows of the run."""

    story: tuple[str, ...]
    """What happened, a paragraph each."""

    next_steps: tuple[str, ...]
    """What to do next, in sentences."""

    chosen: WindowRecord
    """The chosen window."""

    strongest: WindowRecord | None
    """The first window of the run with about the highest divergence. Null where the chosen one is about as
    strong."""

    windows: tuple[SummaryRecord, ...]
    """The windows over time, by start."""

    others: tuple[OtherRecord, ...]
    """The other streams and sizes, the most urgent first."""

    origin: str
    """Where the results come from."""

    notes: tuple[str, ...]
    """What was left out, in sentences."""


def report_record(report: Report) -> ReportRecord:
    """Return the record of a report."""
    run, page = report.run, report.page
    return ReportRecord(
        stream=page.series.stream,
        window=page.size,
        verdict=report.chosen.record.verdict,
        since=format_timestamp(run.since_ms),
        until=None if run.until_ms is None else format_timestamp(run.until_ms),
        windows_since=run.windows,
        story=report.story,
        next_steps=report.steps,
        chosen=report.chosen.record,
        strongest=None if report.strongest is None else report.strongest.record,
        windows=summary_records(page.series, page.rows).windows,
        others=tuple(
            OtherRecord(
                stream=each.series.stream,
                window=each.size,
                verdict=each.verdict,
                found=each.found,
                windows=each.windows,
            )
            for each in report.others
        ),
        origin=report.origin,
        notes=report.notes,
    )
