"""The windows of a report as a timeline, which a picture of a backtest shows."""

import math

import numpy as np

from driftgauge.backtest.timeline import Timeline, WindowPoint
from driftgauge.core.windows.result import Verdict
from driftgauge.core.windows.window import Window
from driftgauge.page.stream_page import StreamPage
from driftgauge.page.summary import VERDICTS

__all__ = ["build_timeline"]


def build_timeline(page: StreamPage) -> Timeline:
    """Return the windows that a page shows over time."""
    size_ms = page.series.size_ms
    points = tuple(_point(row, size_ms) for row in page.rows)
    return Timeline(page.series.stream, size_ms, None, points)


def _point(row: "np.void", size_ms: int) -> WindowPoint:
    def number(name: str) -> float | None:
        value = float(row[name])
        return None if math.isnan(value) else value

    return WindowPoint(
        window=Window(size_ms, int(row["start_ms"])),
        count=int(row["count"]),
        verdict=Verdict(VERDICTS[row["verdict"]]),
        js_divergence=number("js_divergence"),
        noise_floor=number("noise_floor"),
        mean_shift=number("mean_shift"),
        p_value=number("p_value"),
    )
