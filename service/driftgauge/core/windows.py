"""Panes to tumbling windows: which windows are due, which changed, which are past correction."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.panes import Panes
from driftgauge.core.result import Window

__all__ = ["ClosedWindow", "Windows", "WindowsSnapshot"]


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A window that is due for publication.

    Attributes:
        window: Which window.
        revision: 0 at first; one more each time that its counts have changed.
        counts: (k,) int64, its events per cluster.
        repeated: An earlier run has published this revision.
    """

    window: Window
    revision: int
    counts: NDArray[np.int64]
    repeated: bool


@dataclass(frozen=True, slots=True)
class WindowsSnapshot:
    """What cannot be rebuilt by reading the open panes' events again.

    Attributes:
        horizon_ms: Windows that end at or before it are past correction; None before the first.
        published: The windows published and still open to correction, each with the revision and
            the count that it was last published with.
        baseline_id: The baseline they were counted against.
    """

    horizon_ms: int | None = None
    published: tuple[tuple[Window, int, int], ...] = ()
    baseline_id: str = ""


@dataclass(frozen=True, slots=True)
class _Published:
    revision: int
    count: int
    by_this_run: bool = True


class Windows:
    """The tumbling windows of one stream, of several sizes, over shared panes.

    A window closes when the watermark passes its end, or, by wall time, when its end has passed
    and the stream is idle everywhere. Events that come later are still counted, and each closing
    round that finds a changed count gives a higher revision, until the purge horizon (watermark
    minus allowed lateness; monotone) passes the window's end.
    """

    def __init__(
        self,
        sizes_ms: tuple[int, ...],
        clusters: int,
        *,
        lateness_ms: int,
        baseline_id: str,
        snapshot: WindowsSnapshot,
    ) -> None:
        self._sizes_ms = sizes_ms
        self._baseline_id = baseline_id
        self._lateness_ms = lateness_ms
        self._horizon_ms = snapshot.horizon_ms
        # Published again when first due, so that whoever watches this run sees them, too; with the
        # next revision where another baseline has changed the counts of every cluster.
        same = snapshot.baseline_id == baseline_id
        self._published = {
            window: _Published(revision, count if same else 0, by_this_run=False)
            for window, revision, count in snapshot.published
            if window.size_ms in sizes_ms
        }
        self._panes = Panes(gcd(*sizes_ms), clusters)

    @property
    def panes(self) -> Panes:
        """The open counts."""
        return self._panes

    def late(self, time_ms: NDArray[np.int64]) -> dict[int, NDArray[np.bool_]]:
        """Return, per window size, which of (n,) event times fall into a window past correction."""
        if self._horizon_ms is None:
            return {size: np.zeros(len(time_ms), dtype=np.bool_) for size in self._sizes_ms}
        return {size: time_ms - time_ms % size + size <= self._horizon_ms for size in self._sizes_ms}

    def open_windows(self) -> set[Window]:
        """Return the windows that hold events and are still open to correction."""
        windows = {
            Window(size, start - start % size) for start in self._panes.starts() for size in self._sizes_ms
        }
        return {window for window in windows if not self._is_past(window)}

    def count_open(self) -> dict[int, int]:
        """Return how many windows of each size, ms, hold events and are still open to correction."""
        open_windows = Counter(window.size_ms for window in self.open_windows())
        return {size_ms: open_windows[size_ms] for size_ms in self._sizes_ms}

    def close(self, is_due: Callable[[Window], bool]) -> list[ClosedWindow]:
        """Return the due windows that are new or changed, oldest end first."""
        closed = []
        due = [window for window in self.open_windows() if is_due(window)]
        for window in sorted(due, key=lambda window: (window.end_ms, window.size_ms)):
            counts = self._panes.total(window.start_ms, window.end_ms)
            count = int(counts.sum())
            published = self._published.get(window)
            repeated = False
            if published is None:
                revision = 0
            elif count > published.count:
                revision = published.revision + 1
            elif count < published.count:
                continue  # its source has lost events since a restart: what was published stands
            elif not published.by_this_run:
                revision, repeated = published.revision, True
            else:
                continue
            self._published[window] = _Published(revision, count)
            closed.append(ClosedWindow(window, revision, counts, repeated))
        return closed

    def purge(self, watermark_ms: int) -> None:
        """Move the purge horizon to the watermark minus the allowed lateness."""
        self._purge_to(watermark_ms - self._lateness_ms)

    def retire(self, now_ms: int) -> None:
        """Give up the windows that have ended by wall time, for their stream has fallen silent."""
        ended = [window.end_ms for window in self.open_windows() if window.end_ms <= now_ms]
        if ended:
            self._purge_to(max(ended))

    def snapshot(self) -> WindowsSnapshot:
        """Return what a reader that starts again from the open panes' first offsets needs."""
        published = tuple((window, at.revision, at.count) for window, at in sorted(self._published.items()))
        return WindowsSnapshot(self._horizon_ms, published, self._baseline_id)

    def _is_past(self, window: Window) -> bool:
        return self._horizon_ms is not None and window.end_ms <= self._horizon_ms

    def _purge_to(self, horizon_ms: int) -> None:
        if self._horizon_ms is not None and horizon_ms <= self._horizon_ms:
            return
        self._horizon_ms = horizon_ms
        self._published = {
            window: published for window, published in self._published.items() if not self._is_past(window)
        }
        self._panes.drop(
            [
                start
                for start in self._panes.starts()
                if all(self._is_past(Window(size, start - start % size)) for size in self._sizes_ms)
            ]
        )
