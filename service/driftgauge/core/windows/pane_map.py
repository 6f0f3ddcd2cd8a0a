"""A mapping from panes of event time to values; panes of several lengths may overlap."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from driftgauge.core.windows.window import Window

__all__ = ["PaneMap"]

_V = TypeVar("_V")


class PaneMap(Generic[_V]):
    """A mapping from panes to values with lookup by window that does not scan the other panes."""

    def __init__(self) -> None:
        self._lengths: dict[int, dict[int, _V]] = {}  # length -> start -> value; in ms

    def __iter__(self) -> Iterator[Window]:
        for length_ms, panes in self._lengths.items():
            for start_ms in panes:
                yield Window(length_ms, start_ms)

    def starts(self) -> set[int]:
        """Return the start times of the panes, event time in ms."""
        return set().union(*self._lengths.values())

    def get(self, pane: Window) -> _V | None:
        """Return a pane's value; None where the pane is missing."""
        return self._lengths.get(pane.size_ms, {}).get(pane.start_ms)

    def put(self, pane: Window, value: _V) -> None:
        """Set a pane's value."""
        self._lengths.setdefault(pane.size_ms, {})[pane.start_ms] = value

    def remove(self, pane: Window) -> None:
        """Remove a pane.

        Raises:
            KeyError: The pane is missing.
        """
        panes = self._lengths[pane.size_ms]
        del panes[pane.start_ms]
        if not panes:
            del self._lengths[pane.size_ms]

    def overlaps(self, window: Window) -> bool:
        """Return whether any pane overlaps a window."""
        return any(
            start_ms in panes
            for length_ms, panes in self._lengths.items()
            for start_ms in range(window.start_ms - window.start_ms % length_ms, window.end_ms, length_ms)
        )

    def within(self, window: Window) -> Iterator[_V]:
        """Yield the values of the panes that lie wholly within a window."""
        for length_ms, panes in self._lengths.items():
            first_ms = -(-window.start_ms // length_ms) * length_ms
            for start_ms in range(first_ms, window.end_ms - length_ms + 1, length_ms):
                if start_ms in panes:
                    yield panes[start_ms]
