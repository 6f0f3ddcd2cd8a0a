"""The report of a backtest: the verdicts and pages, and how good they were if drift began at a known time."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from driftgauge.core.durations import format_duration
from driftgauge.core.judging.verdict import Verdict
from driftgauge.core.reference import Segment
from driftgauge.core.spec import Alarm
from driftgauge.core.statistics.budget import YEAR_MS
from driftgauge.core.statistics.overdispersion import fewest_windows
from driftgauge.core.window import Window
from driftgauge.core.windows.result import WindowResult
from driftgauge.events.timestamps import format_timestamp
from driftgauge.layout import Block, Table

__all__ = [
    "AlarmEvaluation",
    "BacktestReport",
    "TimelineReport",
    "WindowPoint",
    "build_timelines",
    "describe",
    "report_backtest",
]

_MAX_LISTED_PAGES = 20
_HOUR_MS = 3_600_000
_HOURS = 24
_ALARMS = {Verdict.WARNING, Verdict.DRIFT}


@dataclass(frozen=True, slots=True)
class WindowPoint:
    """The first complete revision of a window, or of one of its segments.

    Attributes:
        window: The window.
        count: The number of events.
        verdict: The verdict.
        js_divergence, p_value: The scores; None if the window was not scored.
        noise_floor: The expected divergence without drift; None if unknown.
        kind: The kind of drift; None if the window is not significant, and of a segment.
        detectable: As in `Score`; None if the window was not scored, and of a segment.
    """

    window: Window
    count: int
    verdict: Verdict
    js_divergence: float | None
    noise_floor: float | None
    p_value: float | None
    kind: str | None
    detectable: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class AlarmEvaluation:
    """Evaluation of a timeline's alarms against a known start of drift.

    Attributes:
        clean: The number of windows that end before drift starts.
        false_alarms: The warnings and drift verdicts among them.
        false_pages: The pages among them: the verdict turns to drift.
        pages_per_year: False pages per year of such windows; None if there is no such window.
        warned_after: Position of the first warning or drift verdict after the start of drift, from 1;
            None if there is none.
        paged_after: Position of the first drift verdict after the start of drift, likewise.
        paged_after_ms: Time from the start of drift to the end of that window; None if there is none.
    """

    clean: int
    false_alarms: int
    false_pages: int
    pages_per_year: float | None
    warned_after: int | None
    paged_after: int | None
    paged_after_ms: int | None


@dataclass(frozen=True, slots=True)
class TimelineReport:
    """The verdicts and pages of a timeline.

    Attributes:
        stream: The stream.
        size_ms: The window size, ms.
        segment: The segment; None for all events.
        windows: The number of windows.
        verdicts: The number of windows by verdict.
        pages: The windows that would have paged: the verdict is drift, and was not in the window before.
        alarms_by_hour: The number of warnings and drift verdicts by the hour of the day, UTC, in which their
            window starts; None for windows of a day or longer.
        outcome: The evaluation of the alarms; None if no start of drift is known.
        warnings: Why these verdicts may say nothing, in sentences.
    """

    stream: str
    size_ms: int
    segment: Segment | None
    windows: int
    verdicts: dict[Verdict, int]
    pages: list[WindowPoint]
    alarms_by_hour: list[int] | None
    outcome: AlarmEvaluation | None
    warnings: list[str]

    @property
    def name(self) -> str:
        """The stream, the window size and the segment."""
        segment = "" if self.segment is None else f" {'='.join(self.segment)}"
        return f"{self.stream} {format_duration(self.size_ms)}{segment}"


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """The report of a backtest.

    Attributes:
        timelines: The timelines, at least one.
        drift_ms: Start of drift, event time, ms; None if unknown.
        refused: The number of refused events by reason.
    """

    timelines: list[TimelineReport]
    drift_ms: int | None
    refused: dict[str, int]


TimelineKey = tuple[str, int, Segment | None]
"""The stream, the window size in ms, and the segment; None for all events."""


def build_timelines(results: Iterable[WindowResult]) -> dict[TimelineKey, list[WindowPoint]]:
    """Return the windows of each timeline in order of time, by their first complete revision, which may page.

    None is empty, and those of all events come first.
    """
    chosen: dict[tuple[str, Window], WindowResult] = {}
    for result in results:
        earlier = chosen.get((result.stream, result.window))
        if earlier is None or earlier.verdict is Verdict.INCOMPLETE:
            chosen[result.stream, result.window] = result
    timelines: dict[TimelineKey, list[WindowPoint]] = {}
    for (stream, window), result in sorted(chosen.items(), key=lambda item: item[0]):
        timelines.setdefault((stream, window.size_ms, None), []).append(_point_of(result))
        for segment in result.segments:
            timelines.setdefault((stream, window.size_ms, segment.segment), []).append(
                WindowPoint(
                    window=window,
                    count=segment.count,
                    verdict=segment.verdict,
                    js_divergence=segment.js_divergence,
                    noise_floor=None,
                    p_value=segment.adjusted_p_value,
                    kind=None,
                )
            )
    return dict(sorted(timelines.items(), key=lambda item: (*item[0][:2], item[0][2] or ("", ""))))


def _point_of(result: WindowResult) -> WindowPoint:
    score = result.score
    return WindowPoint(
        window=result.window,
        count=result.count,
        verdict=result.verdict,
        js_divergence=None if score is None else score.divergence.js_divergence,
        noise_floor=None if score is None else score.divergence.noise_floor,
        p_value=None if score is None else score.p_value,
        kind=None if score is None else score.kind,
        detectable=None if score is None else score.detectable,
    )


def report_backtest(
    timelines: Mapping[TimelineKey, Sequence[WindowPoint]],
    alarms: Mapping[str, Alarm],
    drift_ms: int | None,
    refused: dict[str, int],
) -> BacktestReport:
    """Return the report on timelines, given the alarms of their streams."""
    reports = [_report(key, points, alarms[key[0]], drift_ms) for key, points in timelines.items()]
    return BacktestReport(reports, drift_ms, refused)


def _report(
    key: TimelineKey, points: Sequence[WindowPoint], alarm: Alarm, drift_ms: int | None
) -> TimelineReport:
    _, size_ms, segment = key
    verdicts = Counter(point.verdict for point in points)
    is_drift = [False, *(point.verdict is Verdict.DRIFT for point in points)]
    pages = [point for point, (was, is_) in zip(points, pairwise(is_drift), strict=True) if is_ and not was]
    hours = Counter(
        point.window.start_ms // _HOUR_MS % _HOURS for point in points if point.verdict in _ALARMS
    )
    return TimelineReport(
        *key,
        len(points),
        {verdict: verdicts[verdict] for verdict in Verdict},
        pages,
        None if size_ms >= _HOURS * _HOUR_MS else [hours[hour] for hour in range(_HOURS)],
        None if drift_ms is None else _evaluate(points, size_ms, pages, drift_ms),
        [] if segment is not None else [*_warnings(points, format_duration(size_ms), alarm)],
    )


def _warnings(points: Sequence[WindowPoint], size: str, alarm: Alarm) -> Iterator[str]:
    """Yield why the verdicts of all events may say nothing."""
    scored = [(point.window, point.detectable) for point in points if point.detectable is not None]
    if not scored:
        yield f"no window of {size} has enough events to be scored; use longer windows (see driftgauge plan)"
        return
    # What is not tested has no size, and is neither seen nor missed.
    found = {name: [each[name] for _, each in scored if name in each] for name in alarm.smallest}
    unseen = [name for name, sizes in found.items() if sizes and min(sizes) > alarm.smallest[name]]
    if unseen:
        named = ", ".join(f"smallest_drift.{name}" for name in unseen)
        listed = "smallest_drift" if len(unseen) == sum(map(bool, found.values())) else named
        larger = "larger drift is seen; " if all(min(found[name]) < math.inf for name in unseen) else ""
        yield (
            f"no window of {size} can see drift as small as {listed}, so ok does not mean that there is "
            f"none; {larger}use longer windows (see driftgauge plan), or raise the setting"
        )
    if alarm.warm_up is None:
        return
    start_ms, end_ms = alarm.warm_up
    fewest = fewest_windows(points[0].window.size_ms)
    inside = sum(start_ms <= window.start_ms and window.end_ms <= end_ms for window, _ in scored)
    if inside < fewest:
        yield (
            f"the warm_up, {format_timestamp(start_ms)} to {format_timestamp(end_ms)}, holds {inside} scored "
            f"windows of {size}, and it takes {fewest} to measure how they vary; read events "
            "from its start on, or choose a time that holds as many"
        )


def _evaluate(
    points: Sequence[WindowPoint], size_ms: int, pages: Iterable[WindowPoint], drift_ms: int
) -> AlarmEvaluation:
    clean = [point for point in points if point.window.end_ms <= drift_ms]
    drifted = points[len(clean) :]
    false_pages = sum(point.window.end_ms <= drift_ms for point in pages)
    # An alarm that is already active does not page again, but the drift is visible.
    paged = _first_position(drifted, {Verdict.DRIFT})
    return AlarmEvaluation(
        clean=len(clean),
        false_alarms=sum(point.verdict in _ALARMS for point in clean),
        false_pages=false_pages,
        pages_per_year=false_pages * YEAR_MS / (len(clean) * size_ms) if clean else None,
        warned_after=_first_position(drifted, _ALARMS),
        paged_after=paged,
        paged_after_ms=None if paged is None else drifted[paged - 1].window.end_ms - drift_ms,
    )


def _first_position(points: Sequence[WindowPoint], verdicts: set[Verdict]) -> int | None:
    """Return the position, from 1, of the first point with one of the verdicts."""
    return next((place for place, point in enumerate(points, start=1) if point.verdict in verdicts), None)


def describe(report: BacktestReport) -> list[Block]:
    """Return the backtest for a terminal."""
    rows = [
        (
            each.name,
            f"{each.windows:,}",
            *(f"{number:,}" for number in each.verdicts.values()),
            f"{len(each.pages):,}",
        )
        for each in report.timelines
    ]
    headings = ("stream", "windows", *(verdict.value for verdict in Verdict), "pages")
    warnings = [f"warning: {each.name}: {warning}" for each in report.timelines for warning in each.warnings]
    return [
        Table(headings, rows),
        "",
        *warnings,
        *([""] if warnings else []),
        *_pages(report),
        "",
        *_outcomes(report),
        *_hours(report),
    ]


def _pages(report: BacktestReport) -> list[Block]:
    pages = [(page, each.name) for each in report.timelines for page in each.pages]
    if not pages:
        return ["No pages."]
    rows = [
        (
            format_timestamp(page.window.start_ms),
            name,
            f"{page.count:,}",
            _number(page.js_divergence, ".4f"),
            _number(page.p_value, ".1e"),
            page.kind or "-",
        )
        for page, name in sorted(pages, key=lambda pair: pair[0].window.start_ms)[:_MAX_LISTED_PAGES]
    ]
    headings = ("start", "stream", "events", "divergence", "p", "kind")
    more = len(pages) - len(rows)
    return [
        "Pages, by the start of the window:",
        Table(headings, rows, text=(0, 1, 5)),
        *([f"  and {more:,} more; --json lists all"] if more else []),
    ]


def _outcomes(report: BacktestReport) -> list[Block]:
    if report.drift_ms is None:
        return [
            "With --drift-from, earlier pages count as false, and the report shows the delay of detection."
        ]
    rows = [
        (
            each.name,
            f"{outcome.clean:,}",
            f"{outcome.false_alarms:,}",
            f"{outcome.false_pages:,}",
            _number(outcome.pages_per_year, ".2g"),
            _number(outcome.warned_after, ","),
            _number(outcome.paged_after, ","),
            "-" if outcome.paged_after_ms is None else format_duration(outcome.paged_after_ms),
        )
        for each in report.timelines
        if (outcome := each.outcome) is not None
    ]
    headings = (
        "stream",
        "windows before",
        "false alarms",
        "false pages",
        "a year",
        "warned by",
        "paged by",
        "after",
    )
    return [
        f"If drift began at {format_timestamp(report.drift_ms)}:",
        Table(headings, rows),
        "  Warned by, paged by: the first window to do so, counted from then. After: the time to its end.",
    ]


def _hours(report: BacktestReport) -> list[Block]:
    blocks: list[Block] = []
    for each in report.timelines:
        if any(each.alarms_by_hour or ()):
            listed = ", ".join(
                f"{hour:02}h {number:,}" for hour, number in enumerate(each.alarms_by_hour or ()) if number
            )
            blocks += ["", f"{each.name}, alarms by hour of day, UTC:", f"  {listed}"]
    if blocks:
        blocks.append(
            "  If the hours are the same every day, a daily cycle looks like drift to windows shorter than a "
            "day: use windows of a day (see driftgauge plan)."
        )
    return blocks


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
