"""The timeline of a report as a picture, drawn as a backtest's."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from driftgauge.backtest.picture import draw
from driftgauge.backtest.timeline import Timeline, WindowPoint
from driftgauge.core.windows.result import Verdict
from driftgauge.core.windows.window import Window
from driftgauge.page.stream_page import StreamPage
from driftgauge.page.summary import VERDICTS

__all__ = ["draw_timeline"]


def draw_timeline(page: StreamPage, path: Path) -> None:
    """Draw the windows of a stream and size over time into a PNG file.

    Raises:
        InputError: The file cannot be written.
    """
    size_ms = page.series.size_ms
    points = tuple(_point(row, size_ms) for row in page.rows)
    draw([Timeline(page.series.stream, size_ms, None, points)], None, path)


def _point(row: "np.void", size_ms: int) -> WindowPoint:
    def number(name: str) -> float | None:
        value: Any = row[name]
        return None if math.isnan(value) else float(value)

    return WindowPoint(
        window=Window(size_ms, int(row["start_ms"])),
        count=int(row["count"]),
        verdict=Verdict(VERDICTS[row["verdict"]]),
        js_divergence=number("js_divergence"),
        noise_floor=number("noise_floor"),
        mean_shift=number("mean_shift"),
        p_value=number("p_value"),
    )
