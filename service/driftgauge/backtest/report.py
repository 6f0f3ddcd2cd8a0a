"""Report of a backtest, for a terminal and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict

from driftgauge.backtest.timeline import AlarmEvaluation, Timeline
from driftgauge.core.durations import format_duration
from driftgauge.core.windows.result import Verdict
from driftgauge.events.timestamps import format_timestamp
from driftgauge.layout import Block, Table

__all__ = ["as_json", "describe"]

_MAX_LISTED_PAGES = 20
_HOUR_MS = 3_600_000
_CYCLE_ADVICE = (
    "a daily cycle looks like drift to windows shorter than a day; use windows of a day (see driftgauge plan)"
)


def describe(timelines: Sequence[Timeline], drift_ms: int | None) -> list[Block]:
    """Return the backtest for a terminal.

    Args:
        timelines: The timelines, at least one.
        drift_ms: Start of drift, event time, ms; None where unknown.
    """
    rows = [
        (
            _name(timeline),
            f"{len(timeline.points):,}",
            *(f"{number:,}" for number in timeline.verdicts().values()),
            f"{len(timeline.pages):,}",
        )
        for timeline in timelines
    ]
    headings = ("stream", "windows", *(verdict.value for verdict in Verdict), "pages")
    blocks: list[Block] = [Table(headings, rows), "", *_page_list(timelines), ""]
    if drift_ms is None:
        blocks.append(
            "With --drift-from, earlier pages count as false, and the report shows the delay of detection."
        )
    else:
        blocks.append(f"If drift began at {format_timestamp(drift_ms)}:")
        blocks += [
            f"  {_name(timeline)}: {_describe_evaluation(timeline.evaluate(drift_ms), timeline)}"
            for timeline in timelines
        ]
    for timeline in timelines:
        hours = timeline.alarms_by_hour()
        if hours is not None and any(hours):
            listed = ", ".join(f"{hour:02}h {number:,}" for hour, number in enumerate(hours) if number)
            blocks += ["", f"{_name(timeline)}, alarms by hour of day, UTC:", f"  {listed}"]
        peak = timeline.peak_alarm_hours()
        if peak is not None:
            blocks.append(f"  Most are from {peak[0]:02}h to {peak[1]:02}h: {_CYCLE_ADVICE}.")
    return blocks


def as_json(timelines: Sequence[Timeline], drift_ms: int | None) -> list[dict[str, object]]:
    """Return the backtest as JSON values, one object per timeline."""
    return [
        {
            "stream": timeline.stream,
            "window": format_duration(timeline.size_ms),
            "segment": None
            if timeline.segment is None
            else dict(zip(("key", "value"), timeline.segment, strict=True)),
            "windows": len(timeline.points),
            "verdicts": {verdict.value: number for verdict, number in timeline.verdicts().items()},
            "pages": [format_timestamp(page.window.start_ms) for page in timeline.pages],
            "alarms_by_hour": timeline.alarms_by_hour(),
            "outcome": None if drift_ms is None else asdict(timeline.evaluate(drift_ms)),
        }
        for timeline in timelines
    ]


def _name(timeline: Timeline) -> str:
    segment = "" if timeline.segment is None else f" {timeline.segment[0]}={timeline.segment[1]}"
    return f"{timeline.stream} {format_duration(timeline.size_ms)}{segment}"


def _page_list(timelines: Sequence[Timeline]) -> list[Block]:
    pages = [(page, timeline) for timeline in timelines for page in timeline.pages]
    if not pages:
        return ["No pages."]
    rows = [
        (
            format_timestamp(page.window.start_ms),
            _name(timeline),
            f"{page.count:,}",
            "-" if page.js_divergence is None else f"{page.js_divergence:.4f}",
            "-" if page.mean_shift is None else f"{page.mean_shift:.4f}",
            "-" if page.p_value is None else f"{page.p_value:.1e}",
        )
        for page, timeline in sorted(pages, key=lambda pair: pair[0].window.start_ms)[:_MAX_LISTED_PAGES]
    ]
    headings = ("start", "stream", "events", "divergence", "mean shift", "p")
    listed: list[Block] = ["Pages, by the start of the window:", Table(headings, rows, text=(0, 1))]
    if len(pages) > _MAX_LISTED_PAGES:
        listed.append(f"  and {len(pages) - _MAX_LISTED_PAGES:,} more; --json lists all")
    return listed


def _describe_evaluation(evaluation: AlarmEvaluation, timeline: Timeline) -> str:
    if evaluation.pages_per_year is None:
        before = "no windows before"
    else:
        before = (
            f"{evaluation.clean:,} windows before with {evaluation.false_alarms:,} false alarms "
            f"({evaluation.false_alarms / evaluation.clean:.2%}) and {evaluation.false_pages:,} false pages "
            f"({evaluation.pages_per_year:.2g} a year)"
        )
    if evaluation.warned_after is None:
        return f"{before}; no alarm after"
    after = f"first warned by window {evaluation.warned_after} after"
    if evaluation.paged_after is None or evaluation.paged_after_ms is None:
        return f"{before}; {after}, no page"
    hours = evaluation.paged_after_ms / _HOUR_MS
    return f"{before}; {after}, paged by window {evaluation.paged_after}, {hours:.1f} h after"
