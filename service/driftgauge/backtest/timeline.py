"""Timelines of windows, per stream, window size and segment, and the evaluation of their alarms."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from driftgauge.core.reference import Segment
from driftgauge.core.statistics.budget import YEAR_MS
from driftgauge.core.windows.result import Verdict, WindowResult
from driftgauge.core.windows.window import Window

__all__ = ["AlarmEvaluation", "Timeline", "WindowPoint", "build_timelines"]

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_HOURS = 24

# A daily cycle puts most alarms into a third of the day; a few alarms may fall there by chance.
_PEAK_HOURS = 8
_PEAK_SHARE = 0.75
_MIN_ALARMS = 8


@dataclass(frozen=True, slots=True)
class WindowPoint:
    """The first complete revision of a window, or of one of its segments.

    Attributes:
        window: The window.
        count: The number of events.
        verdict: The verdict.
        js_divergence, mean_shift, p_value: The scores; None where the window was not scored.
        noise_floor: The expected divergence without drift; None where unknown.
    """

    window: Window
    count: int
    verdict: Verdict
    js_divergence: float | None
    noise_floor: float | None
    mean_shift: float | None
    p_value: float | None

    @property
    def is_alarm(self) -> bool:
        """Whether the verdict is warning or drift."""
        return self.verdict in {Verdict.WARNING, Verdict.DRIFT}


@dataclass(frozen=True, slots=True)
class AlarmEvaluation:
    """Evaluation of a timeline's alarms against a known start of drift.

    Attributes:
        clean: The number of windows that end before drift starts.
        false_pages: The pages among them: the verdict turns to drift.
        false_alarms: The warnings and drift verdicts among them.
        pages_per_year: False pages per year of such windows; None where there is no such window.
        warned_after: Position of the first warning or drift verdict after the start of drift, from 1;
            None where there is none.
        paged_after: Position of the first drift verdict after the start of drift, likewise.
        paged_after_ms: Time from the start of drift to the end of that window; None where there is none.
    """

    clean: int
    false_pages: int
    false_alarms: int
    pages_per_year: float | None
    warned_after: int | None
    paged_after: int | None
    paged_after_ms: int | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """The windows of one stream, size and segment in order of time.

    Attributes:
        stream: The stream.
        size_ms: The window size, ms.
        segment: The segment; None for all events.
        points: At least one, in order of time.
    """

    stream: str
    size_ms: int
    segment: Segment | None
    points: tuple[WindowPoint, ...]

    @property
    def pages(self) -> tuple[WindowPoint, ...]:
        """The windows that would have paged: the verdict is drift, and was not in the window before."""
        first = self.points[:1] if self.points[0].verdict is Verdict.DRIFT else ()
        return (
            *first,
            *(
                point
                for before, point in pairwise(self.points)
                if point.verdict is Verdict.DRIFT and before.verdict is not Verdict.DRIFT
            ),
        )

    def verdicts(self) -> dict[Verdict, int]:
        """Return the number of windows by verdict."""
        numbers = Counter(point.verdict for point in self.points)
        return {verdict: numbers[verdict] for verdict in Verdict}

    def evaluate(self, drift_ms: int) -> AlarmEvaluation:
        """Return the evaluation of the alarms if drift started at this event time, ms."""
        clean = [point for point in self.points if point.window.end_ms <= drift_ms]
        drifted = self.points[len(clean) :]
        pages = self.pages
        false_pages = sum(point.window.end_ms <= drift_ms for point in pages)
        # An alarm that is already active does not page again, but the drift is visible.
        paged = _first_position(drifted, {Verdict.DRIFT})
        return AlarmEvaluation(
            clean=len(clean),
            false_pages=false_pages,
            false_alarms=sum(point.is_alarm for point in clean),
            pages_per_year=false_pages * YEAR_MS / (len(clean) * self.size_ms) if clean else None,
            warned_after=_first_position(drifted, {Verdict.WARNING, Verdict.DRIFT}),
            paged_after=paged,
            paged_after_ms=None if paged is None else drifted[paged - 1].window.end_ms - drift_ms,
        )

    def alarms_by_hour(self) -> list[int] | None:
        """Return the number of alarms by the hour of the day, UTC, in which their window starts.

        None for windows of a day or longer.
        """
        if self.size_ms >= _DAY_MS:
            return None
        hours = Counter(point.window.start_ms // _HOUR_MS % _HOURS for point in self.points if point.is_alarm)
        return [hours[hour] for hour in range(_HOURS)]

    def peak_alarm_hours(self) -> tuple[int, int] | None:
        """Return the 8 hours, from and until, UTC, that contain most alarms; None without a peak.

        A daily cycle looks like drift to a window that covers part of a day.
        """
        hours = self.alarms_by_hour()
        if hours is None or sum(hours) < _MIN_ALARMS:
            return None
        sums = [sum((hours + hours)[start : start + _PEAK_HOURS]) for start in range(_HOURS)]
        start = max(range(_HOURS), key=sums.__getitem__)
        if sums[start] < _PEAK_SHARE * sum(hours):
            return None
        return start, (start + _PEAK_HOURS) % _HOURS


def build_timelines(results: Iterable[WindowResult]) -> list[Timeline]:
    """Return the timelines of results, with the first complete revision of each window, which may page."""
    chosen: dict[tuple[str, Window], WindowResult] = {}
    for result in results:
        earlier = chosen.get((result.stream, result.window))
        if earlier is None or earlier.verdict is Verdict.INCOMPLETE:
            chosen[result.stream, result.window] = result
    points_by_key: dict[tuple[str, int, Segment | None], list[WindowPoint]] = {}
    for (stream, window), result in sorted(chosen.items(), key=lambda item: (item[0][0], item[0][1])):
        points_by_key.setdefault((stream, window.size_ms, None), []).append(_point_of(result))
        for segment in result.segments:
            points_by_key.setdefault((stream, window.size_ms, segment.segment), []).append(
                WindowPoint(
                    window=window,
                    count=segment.count,
                    verdict=segment.verdict,
                    js_divergence=segment.js_divergence,
                    noise_floor=None,
                    mean_shift=segment.mean_shift_excess,
                    p_value=segment.adjusted_p_value,
                )
            )
    return [
        Timeline(stream, size_ms, segment, tuple(points))
        for (stream, size_ms, segment), points in sorted(
            points_by_key.items(), key=lambda item: (item[0][0], item[0][1], item[0][2] or ("", ""))
        )
    ]


def _point_of(result: WindowResult) -> WindowPoint:
    score = result.score
    return WindowPoint(
        window=result.window,
        count=result.count,
        verdict=result.verdict,
        js_divergence=None if score is None else score.js_divergence,
        noise_floor=None if score is None else score.noise_floor,
        mean_shift=None if score is None else score.mean_shift.excess,
        p_value=None if score is None else score.p_value,
    )


def _first_position(points: Sequence[WindowPoint], verdicts: set[Verdict]) -> int | None:
    """Return the position, from 1, of the first point with one of the verdicts."""
    return next(
        (position for position, point in enumerate(points, start=1) if point.verdict in verdicts), None
    )
