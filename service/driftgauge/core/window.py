"""Tumbling windows of event time, and the panes that several windows share."""

from dataclasses import dataclass

__all__ = ["Window"]


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A tumbling window of event time, [start, end), aligned to the epoch in UTC."""

    size_ms: int
    start_ms: int

    @property
    def end_ms(self) -> int:
        """The first millisecond after the window."""
        return self.start_ms + self.size_ms

    @classmethod
    def around(cls, time_ms: int, size_ms: int) -> "Window":
        """Return the window of this size that contains an event time."""
        return cls(size_ms, time_ms - time_ms % size_ms)
