"""The overview: a row for each stream, the most urgent first."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.durations import format_duration
from driftgauge.page.chart import Band, sparkline
from driftgauge.page.history import WindowHistory
from driftgauge.page.story import Run, current_run
from driftgauge.page.summary import KINDS, Series

__all__ = ["URGENCY", "Overview", "SizeCell", "StreamRow"]

URGENCY = ("drift", "warning", "incomplete", "insufficient", "ok")
"""The verdicts, the most urgent first."""

_SPARK_WINDOWS = 60
# A series that has brought no window for three of its own lengths, and a while, is silent.
_SILENT_SIZES = 3
_SILENT_MS = 900_000


@dataclass(frozen=True, slots=True)
class SizeCell:
    """The newest window of a stream and size, and those before it.

    Attributes:
        series: The stream and size.
        size: The size as text.
        run: What the last windows say.
        newest: () of `SUMMARY`, the newest window.
        kind: The kind of its drift, if any.
        line: The path of the divergences.
        bands: The alarms behind it.
    """

    series: Series
    size: str
    run: Run
    newest: NDArray[np.void]
    kind: str | None
    line: str
    bands: tuple[Band, ...]

    @property
    def end_ms(self) -> int:
        """The end of the newest window, event time, ms."""
        return int(self.newest["start_ms"]) + self.series.size_ms

    def is_silent(self, now_ms: int) -> bool:
        """Return whether no window was published for long."""
        quiet_ms = now_ms - int(self.newest["published_ms"])
        return quiet_ms > max(_SILENT_SIZES * self.series.size_ms, _SILENT_MS)


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A stream with its sizes, and the most urgent of their verdicts."""

    stream: str
    verdict: str
    cells: tuple[SizeCell, ...]

    @property
    def first(self) -> SizeCell:
        """The cell with the row's verdict; of several that of the smallest size."""
        return next(cell for cell in self.cells if cell.run.verdict == self.verdict)


class Overview:
    """The rows of all streams; a series is drawn again only where its windows have changed."""

    def __init__(self, history: WindowHistory) -> None:
        self._history = history
        self._drawn: dict[Series, tuple[int, SizeCell]] = {}

    def rows(self) -> list[StreamRow]:
        """Return a row for each stream, the most urgent first, then by name."""
        cells: dict[str, list[SizeCell]] = {}
        for series in self._history.series():
            cells.setdefault(series.stream, []).append(self._cell(series))
        rows = [
            StreamRow(stream, min((cell.run.verdict for cell in found), key=URGENCY.index), tuple(found))
            for stream, found in cells.items()
        ]
        return sorted(rows, key=lambda row: (URGENCY.index(row.verdict), row.stream))

    def _cell(self, series: Series) -> SizeCell:
        changes = self._history.changes(series)
        drawn = self._drawn.get(series)
        if drawn is None or drawn[0] != changes:
            drawn = self._drawn[series] = changes, _draw(series, self._history.windows(series))
        return drawn[1]


def _draw(series: Series, rows: NDArray[np.void]) -> SizeCell:
    run = current_run(rows)
    assert run is not None  # noqa: S101 - a listed series has windows
    line, bands = sparkline(rows[-_SPARK_WINDOWS:], series.size_ms)
    newest = rows[-1]
    return SizeCell(series, format_duration(series.size_ms), run, newest, KINDS[newest["kind"]], line, bands)
