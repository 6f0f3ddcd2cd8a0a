"""The history of windows that the page shows: the newest revision of each, within a fixed memory."""

from collections import defaultdict
from collections.abc import Mapping
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftgauge.page.summary import NO_NAMES, SUMMARY, VERDICTS, Names, Parts, Series

__all__ = ["TREND_WINDOWS", "SegmentTrace", "WindowHistory"]

TREND_WINDOWS = 60
"""Of how many windows of a series the parts are kept: 300 bytes, 4 for each cluster, 5 for each segment."""

_FIRST_ROWS = 64
# Copying a series when it is full costs a quarter of its rows in unused memory at most.
_GROWTH = 1.25
# The oldest part of the longest series goes at once, so that it is rare.
_DROPPED = 0.1
# A segment in drift has an alarm of its own.
_CLEAR = [VERDICTS.index("ok"), VERDICTS.index("drift")]
_INCOMPLETE = VERDICTS.index("incomplete")


class SegmentTrace(NamedTuple):
    """What the windows of a series say of one segment.

    Attributes:
        since_ms: The end of the last window that found it ok or in drift; without one, the start of the
            first window with it. Event time, ms.
        verdict: Its verdict in the newest window that is not incomplete, by `VERDICTS`.
    """

    since_ms: int
    verdict: int


class _Rows:
    """The summaries of one series, by start."""

    def __init__(self) -> None:
        self._rows = np.empty(_FIRST_ROWS, SUMMARY)
        self.number = 0
        self.changes = 0
        self.has_repeat = False
        self.names: dict[int, Names] = {}
        self.parts: dict[int, tuple[int, Parts]] = {}
        self.traces: dict[tuple[str, str], SegmentTrace] = {}

    def view(self) -> NDArray[np.void]:
        """Return the rows, (n,), as they are; they change with the next one."""
        return self._rows[: self.number]

    def put(self, row: NDArray[np.void], names: Names) -> int:
        """Add a row, or replace an older revision of its window; return by how many the rows grew."""
        rows = self.view()
        at = int(np.searchsorted(rows["start_ms"], row["start_ms"]))
        if at < self.number and rows[at]["start_ms"] == row["start_ms"]:
            # After a restart of the state a window's revisions begin again, so the record's order decides.
            if rows[at]["published_ms"] <= row["published_ms"]:
                is_other = row["offset"] != rows[at]["offset"]
                self.has_repeat |= bool(is_other and row["revision"] <= rows[at]["revision"])
                rows[at] = row
                self._put_names(row, names)
            return 0
        if self.number == len(self._rows):
            grown = np.empty(max(int(self.number * _GROWTH), _FIRST_ROWS), SUMMARY)
            grown[: self.number] = rows
            self._rows = grown
        self._rows[at + 1 : self.number + 1] = self._rows[at : self.number]
        self._rows[at] = row
        self._put_names(row, names)
        self.number += 1
        return 1

    def _put_names(self, row: NDArray[np.void], names: Names) -> None:
        self.names.pop(int(row["start_ms"]), None)
        if names != NO_NAMES:
            self.names[int(row["start_ms"])] = names

    def put_parts(self, row: NDArray[np.void], parts: Parts, size_ms: int) -> None:
        """Add the parts of a window, or replace those of an older revision."""
        start_ms = int(row["start_ms"])
        self.parts[start_ms] = int(row["baseline"]), parts
        is_newest = start_ms == max(self.parts) and row["verdict"] != _INCOMPLETE
        if len(self.parts) > TREND_WINDOWS:
            del self.parts[min(self.parts)]
        before = self.traces.copy()
        if is_newest:
            # Segments that are no longer judged go.
            self.traces.clear()
        for segment, number in zip(parts.segments, parts.verdicts.tolist(), strict=True):
            if is_newest or segment in before:
                since_ms, last = before.get(segment, SegmentTrace(start_ms, number))
                if number in _CLEAR:
                    since_ms = max(since_ms, start_ms + size_ms)
                self.traces[segment] = SegmentTrace(since_ms, number if is_newest else last)

    def keep(self, kept: NDArray[np.bool_]) -> int:
        """Remove the other rows, and their memory; return how many."""
        removed = self.view()["start_ms"][~kept].tolist()
        if removed:
            self._rows = self.view()[kept]
            self.number -= len(removed)
            self.changes += 1
        for start_ms in removed:
            self.names.pop(start_ms, None)
        return len(removed)


_NO_ROWS = _Rows()


class WindowHistory:
    """The newest windows by series; one thread adds, and others read.

    Attributes:
        published_ms: When the last of all results was published, ms; 0 if that is unknown.
    """

    def __init__(self, max_windows: int) -> None:
        """Keep at most `max_windows` of all series together; the longest series loses its oldest first."""
        self.published_ms = 0
        self._max_windows = max_windows
        self._rows: defaultdict[Series, _Rows] = defaultdict(_Rows)
        self._number = 0
        self._lock = Lock()

    def add(
        self,
        series: Series,
        row: NDArray[np.void],
        names: Names = NO_NAMES,
        parts: Parts | None = None,
    ) -> bool:
        """Add the summary of a window, () of `SUMMARY`, or replace that of an older revision.

        Returns:
            Whether a window of the series was ever replaced by a result that is no later revision.
        """
        with self._lock:
            self.published_ms = max(self.published_ms, int(row["published_ms"]))
            rows = self._rows[series]
            self._number += rows.put(row, names)
            rows.changes += 1
            if parts is not None:
                rows.put_parts(row, parts, series.size_ms)
            if self._number > self._max_windows:
                longest = max(self._rows.values(), key=lambda each: each.number)
                self._number -= longest.keep(np.arange(longest.number) >= max(longest.number * _DROPPED, 1))
            return rows.has_repeat

    def expire(self, published_before_ms: int) -> None:
        """Remove the windows that were published before a time, and each series that has no other."""
        with self._lock:
            for rows in self._rows.values():
                self._number -= rows.keep(rows.view()["published_ms"] >= published_before_ms)
            for series in [each for each, rows in self._rows.items() if not rows.number]:
                del self._rows[series]

    def series(self) -> list[Series]:
        """Return every series that has windows, by stream and size."""
        with self._lock:
            return sorted(self._rows)

    def windows(self, series: Series, last: int | None = None) -> NDArray[np.void]:
        """Return the last windows of a series by start, (n,) of `SUMMARY`; all with None; none if unknown."""
        with self._lock:
            return self._rows.get(series, _NO_ROWS).view()[-last if last else None :].copy()

    def parts(self, series: Series, baseline: int) -> list[tuple[int, Parts]]:
        """Return the starts, ms, and parts of the last windows of a series with a baseline, by start."""
        with self._lock:
            kept = self._rows.get(series, _NO_ROWS).parts.copy()
        return [(start_ms, parts) for start_ms, (own, parts) in sorted(kept.items()) if own == baseline]

    def read(
        self, series: Series
    ) -> tuple[NDArray[np.void], Mapping[int, Names], Mapping[tuple[str, str], SegmentTrace]]:
        """Return all windows of a series by start, (n,) of `SUMMARY`, with what belongs to them at that time.

        These are the names of the windows that name something, by start, ms, and what the windows say of each
        segment that the newest one has.
        """
        with self._lock:
            rows = self._rows.get(series, _NO_ROWS)
            return rows.view().copy(), rows.names.copy(), rows.traces.copy()

    def changes(self, series: Series) -> int:
        """Return how often the windows of a series have changed; 0 if it is unknown."""
        with self._lock:
            return self._rows.get(series, _NO_ROWS).changes

    def __len__(self) -> int:
        return self._number
