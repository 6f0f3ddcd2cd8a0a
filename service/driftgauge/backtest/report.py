"""Report of a backtest, as text for a terminal and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict

from driftgauge.backtest.timeline import AlarmEvaluation, Timeline
from driftgauge.core.durations import format_duration
from driftgauge.core.windows.result import Verdict
from driftgauge.events.timestamps import format_timestamp

__all__ = ["as_json", "describe"]

_MAX_LISTED_PAGES = 20
_HOUR_MS = 3_600_000
_CYCLE_ADVICE = (
    "a daily cycle looks like drift to windows shorter than a day; use windows of a day (see driftgauge plan)"
)


def describe(timelines: Sequence[Timeline], drift_ms: int | None) -> str:
    """Return the backtest as text for a terminal.

    Args:
        timelines: The timelines, at least one.
        drift_ms: Start of drift, event time, ms; None where unknown.
    """
    width = max(24, *(len(_name(timeline)) + 2 for timeline in timelines))
    lines = [f"{'':{width}}windows     ok  warning  drift  insufficient  incomplete  pages"]
    for timeline in timelines:
        numbers = timeline.verdicts()
        lines.append(
            f"{_name(timeline):{width}}{len(timeline.points):>7,}{numbers[Verdict.OK]:>7,}{numbers[Verdict.WARNING]:>9,}"
            f"{numbers[Verdict.DRIFT]:>7,}{numbers[Verdict.INSUFFICIENT]:>14,}{numbers[Verdict.INCOMPLETE]:>12,}"
            f"{len(timeline.pages):>7,}"
        )
    lines += ["", *_page_list(timelines)]
    if drift_ms is None:
        lines += [
            "",
            "With --drift-from, earlier pages count as false, and the report shows the delay of detection.",
        ]
    else:
        lines += ["", f"If drift began at {format_timestamp(drift_ms)}:"]
        lines += [
            f"  {_name(timeline)}: {_describe_evaluation(timeline.evaluate(drift_ms), timeline)}"
            for timeline in timelines
        ]
    for timeline in timelines:
        hours = timeline.alarms_by_hour()
        if hours is not None and any(hours):
            lines += ["", f"{_name(timeline)}, alarms by hour of day, UTC:", *_hour_table(hours)]
        peak = timeline.peak_alarm_hours()
        if peak is not None:
            lines.append(f"  Most are from {peak[0]:02}h to {peak[1]:02}h: {_CYCLE_ADVICE}.")
    return "\n".join(lines)


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


def _page_list(timelines: Sequence[Timeline]) -> list[str]:
    pages = [(page, timeline) for timeline in timelines for page in timeline.pages]
    if not pages:
        return ["No pages."]
    lines = ["Pages, by the start of the window:"]
    for page, timeline in sorted(pages, key=lambda pair: pair[0].window.start_ms)[:_MAX_LISTED_PAGES]:
        scores = "" if page.js_divergence is None else f"  divergence {page.js_divergence:.4f}"
        scores += "" if page.mean_shift is None else f", mean shift {page.mean_shift:.4f}"
        scores += "" if page.p_value is None else f", p {page.p_value:.1e}"
        lines.append(
            f"  {format_timestamp(page.window.start_ms)}  {_name(timeline)}  {page.count:,} events{scores}"
        )
    if len(pages) > _MAX_LISTED_PAGES:
        lines.append(f"  and {len(pages) - _MAX_LISTED_PAGES:,} more; --json lists all")
    return lines


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


def _hour_table(hours: list[int]) -> list[str]:
    return [
        "  " + "".join(f"{hour:>5}" for hour in range(len(hours))),
        "  " + "".join(f"{number:>5}" for number in hours),
    ]
