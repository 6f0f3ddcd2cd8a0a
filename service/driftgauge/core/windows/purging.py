"""The purge horizon of one stream: windows that end before it are final, and their state is deleted."""

from collections.abc import Sequence
from dataclasses import replace

from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.sources import NULL
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.core.windows.window import Window

__all__ = ["Purger"]

# A purge is not urgent, and the end of a day may make many thousands of panes final at once.
_MAX_PURGED_PANES = 2_000


class Purger:
    """Advances the purge horizon of one stream, and deletes panes and results that are final."""

    def __init__(self, spec: StreamSpec, state: StreamState) -> None:
        self._spec = spec
        self._state = state
        self._purged_to_ms = NULL

    @property
    def is_done(self) -> bool:
        """Whether no final pane is left."""
        return self._purged_to_ms == self._settled_at(self._state.status.final_ms or 0)

    def advance(self, backlog: Sequence[Window]) -> bool:
        """Advance the purge horizon to the watermark less the allowed lateness.

        Args:
            backlog: Due windows that wait for the next round; they must not become final.

        Returns:
            Whether the horizon has moved.
        """
        status = self._state.status
        if status.watermark_ms is None:
            return False
        horizon_ms = status.watermark_ms - self._spec.lateness_ms
        # Only whole panes can be purged, and a horizon that moves more rarely is written more rarely.
        horizon_ms -= horizon_ms % self._spec.pane_ms
        final_ms = min([horizon_ms, *(window.start_ms for window in backlog)])
        if status.final_ms is not None and final_ms <= status.final_ms:
            return False
        self._set_horizon(final_ms)
        return True

    def purge_panes(self) -> None:
        """Delete a portion of the panes that no open window of any size needs."""
        final_ms = self._state.status.final_ms
        if final_ms is None:
            return
        settled_ms = self._settled_at(final_ms)
        if settled_ms > self._purged_to_ms and self._state.purge_panes(settled_ms, _MAX_PURGED_PANES):
            self._purged_to_ms = settled_ms

    def _settled_at(self, final_ms: int) -> int:
        """Return the event time before which no window of any size is open, given the purge horizon."""
        return min(final_ms - final_ms % size_ms for size_ms in self._spec.sizes_ms)

    def _set_horizon(self, final_ms: int) -> None:
        """Set the purge horizon; delete final results except the newest of each size, and past doubts."""
        state, status = self._state, self._state.status
        settled_ms = self._settled_at(final_ms)
        losses = tuple(loss for loss in status.losses if loss.to_ms is None or loss.to_ms >= settled_ms)
        counted_twice = tuple(each for each in status.counted_twice if each[1] > settled_ms)
        state.set_status(replace(status, final_ms=final_ms, losses=losses, counted_twice=counted_twice))
        newest = {state.newest[size_ms].window for size_ms in self._spec.sizes_ms if size_ms in state.newest}
        state.purge_results(
            [window for window in state.published if window.end_ms <= final_ms and window not in newest]
        )
