"""A backtest as text for a terminal and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict

from driftgauge.backtest.track import Outcome, Track
from driftgauge.core.durations import format_duration
from driftgauge.core.windows.result import Verdict
from driftgauge.events.timestamps import format_timestamp

__all__ = ["as_json", "describe"]

_MAX_PAGES = 20
_HOUR_MS = 3_600_000
_CYCLE_ADVICE = (
    "a daily cycle looks like drift to windows shorter than a day; judge windows of a day (see plan)"
)


def describe(tracks: Sequence[Track], drift_ms: int | None) -> str:
    """Return lines for a terminal.

    Args:
        tracks: What was found.
        drift_ms: When drift began, event time; None where nothing is said of it.
    """
    width = max(24, *(len(_name(track)) + 2 for track in tracks))
    lines = [f"{'':{width}}windows     ok  warning  drift  insufficient  incomplete  pages"]
    for track in tracks:
        found = track.verdicts()
        lines.append(
            f"{_name(track):{width}}{len(track.points):>7,}{found[Verdict.OK]:>7,}{found[Verdict.WARNING]:>9,}"
            f"{found[Verdict.DRIFT]:>7,}{found[Verdict.INSUFFICIENT]:>14,}{found[Verdict.INCOMPLETE]:>12,}"
            f"{len(track.pages):>7,}"
        )
    lines += ["", *_pages(tracks)]
    if drift_ms is None:
        lines += [
            "",
            "With --drift-from the pages before it count as false, and the delay of those after is told.",
        ]
    else:
        lines += ["", f"If drift began at {format_timestamp(drift_ms)}, and not before:"]
        lines += [f"  {_name(track)}: {_worth(track.judge(drift_ms), track)}" for track in tracks]
    for track in tracks:
        hours = track.alarms_by_hour()
        if hours is not None and any(hours):
            lines += ["", f"{_name(track)}, alarms by hour of day, UTC:", *_hours(hours)]
        busy = track.busy_hours()
        if busy is not None:
            lines.append(f"  They gather from {busy[0]:02}h to {busy[1]:02}h: {_CYCLE_ADVICE}.")
    return "\n".join(lines)


def as_json(tracks: Sequence[Track], drift_ms: int | None) -> list[dict[str, object]]:
    """Return the same as JSON values, a track each."""
    return [
        {
            "stream": track.stream,
            "window": format_duration(track.size_ms),
            "segment": None
            if track.segment is None
            else dict(zip(("key", "value"), track.segment, strict=True)),
            "windows": len(track.points),
            "verdicts": {verdict.value: number for verdict, number in track.verdicts().items()},
            "pages": [format_timestamp(page.window.start_ms) for page in track.pages],
            "alarms_by_hour": track.alarms_by_hour(),
            "outcome": None if drift_ms is None else asdict(track.judge(drift_ms)),
        }
        for track in tracks
    ]


def _name(track: Track) -> str:
    segment = "" if track.segment is None else f" {track.segment[0]}={track.segment[1]}"
    return f"{track.stream} {format_duration(track.size_ms)}{segment}"


def _pages(tracks: Sequence[Track]) -> list[str]:
    pages = [(page, track) for track in tracks for page in track.pages]
    if not pages:
        return ["No page."]
    lines = ["Pages, by the start of the window:"]
    for page, track in sorted(pages, key=lambda pair: pair[0].window.start_ms)[:_MAX_PAGES]:
        scores = "" if page.js_divergence is None else f"  divergence {page.js_divergence:.4f}"
        scores += "" if page.mean_shift is None else f", mean shift {page.mean_shift:.4f}"
        scores += "" if page.p_value is None else f", p {page.p_value:.1e}"
        lines.append(
            f"  {format_timestamp(page.window.start_ms)}  {_name(track)}  {page.count:,} events{scores}"
        )
    if len(pages) > _MAX_PAGES:
        lines.append(f"  and {len(pages) - _MAX_PAGES:,} more; --json names all")
    return lines


def _worth(outcome: Outcome, track: Track) -> str:
    if outcome.pages_per_year is None:
        before = "no window before"
    else:
        before = (
            f"{outcome.clean:,} windows before with {outcome.false_alarms:,} false alarms "
            f"({outcome.false_alarms / outcome.clean:.2%}) and {outcome.false_pages:,} false pages "
            f"({outcome.pages_per_year:.2g} a year)"
        )
    if outcome.warned_after is None:
        return f"{before}; no alarm after"
    after = f"first warned by window {outcome.warned_after} after"
    if outcome.paged_after is None or outcome.paged_after_ms is None:
        return f"{before}; {after}, no page"
    hours = outcome.paged_after_ms / _HOUR_MS
    return f"{before}; {after}, paged by window {outcome.paged_after}, {hours:.1f} h after"


def _hours(hours: list[int]) -> list[str]:
    return [
        "  " + "".join(f"{hour:>5}" for hour in range(len(hours))),
        "  " + "".join(f"{number:>5}" for number in hours),
    ]
