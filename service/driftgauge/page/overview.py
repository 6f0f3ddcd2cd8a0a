"""The overview: a row for each stream, the most urgent first."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.durations import format_duration
from driftgauge.page.chart import Band, sparkline
from driftgauge.page.history import WindowHistory
from driftgauge.page.story import Run, current_run
from driftgauge.page.summary import SEGMENT_DRIFT, Series, kind_of

__all__ = ["URGENCY", "Overview", "SizeCell", "StreamRow", "is_silent"]

URGENCY = ("drift", "warning", "misfit", "incomplete", "insufficient", "ok")
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

    @property
    def has_segment_drift(self) -> bool:
        """Whether a segment of the newest window drifts."""
        return bool(self.newest["flags"] & SEGMENT_DRIFT)

    def is_silent(self, now_ms: int) -> bool:
        """Return whether no window was published for long."""
        return is_silent(self.series, self.newest, now_ms)


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A stream with its sizes, and the most urgent of their verdicts.

    Attributes:
        stream: The stream.
        verdict: The verdict.
        has_segment_drift: Whether a segment drifts, in the newest window of any size.
        is_silent: Whether one of its sizes is silent.
        cells: The sizes.
    """

    stream: str
    verdict: str
    has_segment_drift: bool
    is_silent: bool
    cells: tuple[SizeCell, ...]

    @property
    def first(self) -> SizeCell:
        """The cell with the row's verdict; of several that of the smallest size."""
        return next(cell for cell in self.cells if cell.run.verdict == self.verdict)


def is_silent(series: Series, newest: NDArray[np.void], now_ms: int) -> bool:
    """Return whether no window of a series was published for long; `newest` is the last, () of `SUMMARY`."""
    quiet_ms = now_ms - int(newest["published_ms"])
    return quiet_ms > max(_SILENT_SIZES * series.size_ms, _SILENT_MS)


class Overview:
    """The rows of all streams; a series is drawn again only where its windows have changed."""

    def __init__(self, history: WindowHistory) -> None:
        self._history = history
        self._drawn: dict[Series, tuple[int, SizeCell]] = {}

    def rows(self, now_ms: int) -> list[StreamRow]:
        """Return a row for each stream, the most urgent first, then by name.

        Among streams of one verdict, those with drift of a segment come first, then silent ones.
        """
        drawn = {series: self._draw(series) for series in self._history.series()}
        # A series may have lost its windows meanwhile.
        self._drawn = {series: each for series, each in drawn.items() if each is not None}
        cells: dict[str, list[SizeCell]] = {}
        for series, (_, cell) in self._drawn.items():
            cells.setdefault(series.stream, []).append(cell)
        rows = [
            StreamRow(
                stream,
                min((cell.run.verdict for cell in found), key=URGENCY.index),
                any(cell.has_segment_drift for cell in found),
                any(cell.is_silent(now_ms) for cell in found),
                tuple(found),
            )
            for stream, found in cells.items()
        ]
        return sorted(
            rows,
            key=lambda row: (
                URGENCY.index(row.verdict),
                not row.has_segment_drift,
                not row.is_silent,
                row.stream,
            ),
        )

    def _draw(self, series: Series) -> tuple[int, SizeCell] | None:
        changes = self._history.changes(series)
        drawn = self._drawn.get(series)
        if drawn is not None and drawn[0] == changes:
            return drawn
        rows = self._history.windows(series)
        return (changes, _draw(series, rows)) if len(rows) else None


def _draw(series: Series, rows: NDArray[np.void]) -> SizeCell:
    run = current_run(rows)
    assert run is not None  # noqa: S101 - there are windows
    line, bands = sparkline(rows[-_SPARK_WINDOWS:], series.size_ms)
    newest = rows[-1]
    return SizeCell(series, format_duration(series.size_ms), run, newest, kind_of(newest), line, bands)
