"""Chart of a backtest: divergence, mean shift and verdict over time, per stream and window size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from driftgauge.backtest.timeline import Timeline, WindowPoint
from driftgauge.core.durations import format_duration
from driftgauge.core.windows.result import Verdict
from driftgauge.errors import InputError
from driftgauge.files import writing

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
except ModuleNotFoundError as error:
    _message = "matplotlib is missing, which draws the picture; run: pip install 'driftgauge[pictures]'"
    raise InputError(_message) from error

__all__ = ["draw"]

_DAY_MS = 86_400_000
_INCHES = (11.0, 3.6)
_DOTS_PER_INCH = 120
_DIVERGENCE = "#b5302a"
_SHIFT = "#1f5f99"
_GREY = "#555555"
_DRIFT_LINE = "#222222"
_SHADES = {
    Verdict.OK: "#e8f3ea",
    Verdict.WARNING: "#f7dfa0",
    Verdict.DRIFT: "#f0b7b3",
    Verdict.INSUFFICIENT: "#ececec",
    Verdict.INCOMPLETE: "#d6d6e6",
    Verdict.MISFIT: "#f5d9c0",
}


def draw(timelines: Sequence[Timeline], drift_ms: int | None, path: Path) -> None:
    """Draw the timelines of whole windows, one below the other, into a PNG file.

    Args:
        timelines: The timelines; those of segments are not drawn.
        drift_ms: Start of drift, event time, ms; None draws no line.
        path: The file to write.

    Raises:
        InputError: The file cannot be written.
    """
    drawn = [timeline for timeline in timelines if timeline.segment is None]
    figure = Figure(figsize=(_INCHES[0], _INCHES[1] * len(drawn)), dpi=_DOTS_PER_INCH, layout="constrained")
    for axes, timeline in zip(figure.subplots(len(drawn), 1, squeeze=False)[:, 0], drawn, strict=True):
        _draw_timeline(axes, timeline, drift_ms)
    handles = [Patch(color=shade, label=verdict.value) for verdict, shade in _SHADES.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=10, frameon=False)
    with writing(path, "the picture"):
        figure.savefig(path, format="png")


def _draw_timeline(axes: Axes, timeline: Timeline, drift_ms: int | None) -> None:
    axes.set_title(
        f"{timeline.stream}, windows of {format_duration(timeline.size_ms)}", loc="left", fontsize=12
    )
    for first, last in _runs(timeline.points):
        axes.axvspan(
            _to_days(first.window.start_ms),
            _to_days(last.window.end_ms),
            color=_SHADES[first.verdict],
            linewidth=0,
        )
    scored = [point for point in timeline.points if point.js_divergence is not None]
    times = [_to_days((point.window.start_ms + point.window.end_ms) // 2) for point in scored]
    marker = "." if len(scored) > 1 else "o"
    divergences, floors, shifts = (
        np.array([(point.js_divergence, point.noise_floor, point.mean_shift) for point in scored], np.float64)
        .reshape(-1, 3)
        .T
    )
    axes.plot(times, divergences, marker, color=_DIVERGENCE, label="divergence")
    axes.plot(times, floors, "--", color=_GREY, linewidth=1, label="noise floor")
    axes.set_ylabel("divergence", color=_DIVERGENCE, fontsize=11)
    axes.set_ylim(bottom=0)
    shift_axes = axes.twinx()
    shift_axes.plot(times, shifts, marker, color=_SHIFT, label="mean shift")
    shift_axes.set_ylabel("mean shift\n(excess)", color=_SHIFT, fontsize=11)
    if drift_ms is not None:
        axes.axvline(
            _to_days(drift_ms), color=_DRIFT_LINE, linewidth=1.2, linestyle=":", label="drift begins"
        )
    handles = [*axes.get_legend_handles_labels()[0], *shift_axes.get_legend_handles_labels()[0]]
    axes.legend(handles=handles, loc="upper left", fontsize=9, framealpha=1)
    axes.set_xlim(_to_days(timeline.points[0].window.start_ms), _to_days(timeline.points[-1].window.end_ms))
    axes.xaxis_date()
    axes.tick_params(axis="x", labelsize=9)


def _runs(points: Sequence[WindowPoint]) -> list[tuple[WindowPoint, WindowPoint]]:
    """Return the first and last point of each run of equal verdicts."""
    runs: list[tuple[WindowPoint, WindowPoint]] = []
    for point in points:
        if runs and runs[-1][1].verdict is point.verdict:
            runs[-1] = runs[-1][0], point
        else:
            runs.append((point, point))
    return runs


def _to_days(time_ms: int) -> float:
    """Return a time in matplotlib's unit, days since the epoch."""
    return time_ms / _DAY_MS
