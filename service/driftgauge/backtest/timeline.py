"""Timelines of windows, per stream, window size and segment."""

from collections.abc import Iterable
from dataclasses import dataclass

from driftgauge.core.reference import Segment
from driftgauge.core.statistics.mean_shift import MEAN_SHIFT
from driftgauge.core.windows.result import Verdict, WindowResult
from driftgauge.core.windows.window import Window

__all__ = ["Timeline", "WindowPoint", "build_timelines"]


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
                    mean_shift=None if segment.excess is None else segment.excess[MEAN_SHIFT.name],
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
        js_divergence=None if score is None else score.divergence.js_divergence,
        noise_floor=None if score is None else score.divergence.noise_floor,
        mean_shift=None if score is None else score.findings.of(MEAN_SHIFT).excess,
        p_value=None if score is None else score.p_value,
    )
