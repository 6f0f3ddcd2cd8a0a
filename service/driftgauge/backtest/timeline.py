"""The windows of a stream, or of one of its segments, in order of time, and the alarms among them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from driftgauge.core.reference import Segment
from driftgauge.core.statistics.budget import YEAR_MS
from driftgauge.core.windows.result import Verdict, WindowResult
from driftgauge.core.windows.window import Window

__all__ = ["Outcome", "Point", "Track", "tracks_of"]

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_HOURS = 24

# Alarms that gather in a third of the day: fewer may do so by chance.
_ARC_HOURS = 8
_ARC_SHARE = 0.75
_ARC_ALARMS = 8


@dataclass(frozen=True, slots=True)
class Point:
    """What the first complete revision of a window says.

    Attributes:
        window: The window.
        count: Its events.
        verdict: The verdict.
        js_divergence, mean_shift, p_value: The scores; None where it was not scored.
        noise_floor: The divergence to expect without drift; None where it is not known.
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
        """Whether it says that there is drift, or may be."""
        return self.verdict in {Verdict.WARNING, Verdict.DRIFT}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the alarms of a track were worth, given when drift began.

    Attributes:
        clean: The windows that end before.
        false_pages: The pages among them: drift where there was none in the window before.
        false_alarms: Those that warn or say drift.
        pages_per_year: The false pages in a year of such windows; None where there is no window.
        warned_after: How many windows after the beginning of drift the first warning or page came, from
            1; None where none came.
        paged_after: The same of the first page.
        paged_after_ms: Time from the beginning of drift to the end of the window that paged.
    """

    clean: int
    false_pages: int
    false_alarms: int
    pages_per_year: float | None
    warned_after: int | None
    paged_after: int | None
    paged_after_ms: int | None


@dataclass(frozen=True, slots=True)
class Track:
    """The windows of one size.

    Attributes:
        stream: The stream.
        size_ms: The windows' size.
        segment: The segment; None for all events.
        points: At least one, in order of time.
    """

    stream: str
    size_ms: int
    segment: Segment | None
    points: tuple[Point, ...]

    @property
    def pages(self) -> tuple[Point, ...]:
        """The windows that would have paged: drift where there was none in the window before."""
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
        """Return how many windows say what."""
        found = Counter(point.verdict for point in self.points)
        return {verdict: found[verdict] for verdict in Verdict}

    def judge(self, drift_ms: int) -> Outcome:
        """Return what the alarms were worth if drift began at this event time, and not before."""
        clean = [point for point in self.points if point.window.end_ms <= drift_ms]
        drifted = self.points[len(clean) :]
        pages = self.pages
        false_pages = sum(point.window.end_ms <= drift_ms for point in pages)
        # Who has been paged before drift began is not paged again for it, but it is seen.
        paged = _first(drifted, {Verdict.DRIFT})
        return Outcome(
            clean=len(clean),
            false_pages=false_pages,
            false_alarms=sum(point.is_alarm for point in clean),
            pages_per_year=false_pages * YEAR_MS / (len(clean) * self.size_ms) if clean else None,
            warned_after=_first(drifted, {Verdict.WARNING, Verdict.DRIFT}),
            paged_after=paged,
            paged_after_ms=None if paged is None else drifted[paged - 1].window.end_ms - drift_ms,
        )

    def alarms_by_hour(self) -> list[int] | None:
        """Return how many windows that begin in each hour of the day, UTC, warn or say drift.

        None where windows are as long as a day, which has no hour.
        """
        if self.size_ms >= _DAY_MS:
            return None
        hours = Counter(point.window.start_ms // _HOUR_MS % _HOURS for point in self.points if point.is_alarm)
        return [hours[hour] for hour in range(_HOURS)]

    def busy_hours(self) -> tuple[int, int] | None:
        """Return the hours, from and until, UTC, in which the alarms gather; None where they do not.

        A daily cycle looks like drift to a window that holds a part of the day.
        """
        hours = self.alarms_by_hour()
        if hours is None or sum(hours) < _ARC_ALARMS:
            return None
        arcs = [sum((hours + hours)[start : start + _ARC_HOURS]) for start in range(_HOURS)]
        start = max(range(_HOURS), key=arcs.__getitem__)
        if arcs[start] < _ARC_SHARE * sum(hours):
            return None
        return start, (start + _ARC_HOURS) % _HOURS


def tracks_of(results: Iterable[WindowResult]) -> list[Track]:
    """Return the tracks of results: of each window the first complete revision, which is what pages."""
    first: dict[tuple[str, Window], WindowResult] = {}
    for result in results:
        known = first.get((result.stream, result.window))
        if known is None or known.verdict is Verdict.INCOMPLETE:
            first[result.stream, result.window] = result
    places: dict[tuple[str, int, Segment | None], list[Point]] = {}
    for (stream, window), result in sorted(first.items(), key=lambda item: (item[0][0], item[0][1])):
        places.setdefault((stream, window.size_ms, None), []).append(_point(result))
        for segment in result.segments:
            places.setdefault((stream, window.size_ms, segment.segment), []).append(
                Point(
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
        Track(stream, size_ms, segment, tuple(points))
        for (stream, size_ms, segment), points in sorted(
            places.items(), key=lambda item: (item[0][0], item[0][1], item[0][2] or ("", ""))
        )
    ]


def _point(result: WindowResult) -> Point:
    score = result.score
    return Point(
        window=result.window,
        count=result.count,
        verdict=result.verdict,
        js_divergence=None if score is None else score.js_divergence,
        noise_floor=None if score is None else score.noise_floor,
        mean_shift=None if score is None else score.mean_shift.excess,
        p_value=None if score is None else score.p_value,
    )


def _first(points: Sequence[Point], verdicts: set[Verdict]) -> int | None:
    """Return the place, from 1, of the first point with one of the verdicts."""
    return next((place for place, point in enumerate(points, start=1) if point.verdict in verdicts), None)
