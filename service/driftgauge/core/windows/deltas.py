"""The deltas of one commit: open panes accumulate them, and events of final windows count as late."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from driftgauge.core.counting.partial import ExamplesDelta, PaneDelta
from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.core.windows.window import Window

__all__ = ["DeltaApplier", "LateEvents"]


@dataclass(frozen=True, slots=True)
class LateEvents:
    """Events that came after their window was final.

    Attributes:
        stream: Their stream.
        size_ms: The window size.
        number: How many events one commit had.
        first: The source partition and the offset of one of them, as far as the commit names them.
    """

    stream: str
    size_ms: int
    number: int
    first: tuple[Partition, int]


class DeltaApplier:
    """Applies the deltas of one commit to the streams of a shard."""

    def __init__(
        self, specs: Mapping[str, StreamSpec], state_of: Callable[[str], StreamState], *, counted_twice: bool
    ) -> None:
        """Apply one commit.

        Args:
            specs: The configured streams by name.
            state_of: Returns the state of a stream, new where there is none.
            counted_twice: Events of the commit may have been counted before.
        """
        self._specs = specs
        self._state_of = state_of
        self._counted_twice = counted_twice
        self._late: Counter[tuple[str, int]] = Counter()  # by stream and window size
        self._first_late: dict[tuple[str, int], tuple[Partition, int]] = {}

    @property
    def late(self) -> list[LateEvents]:
        """The late events so far, by stream and window size."""
        return [
            LateEvents(stream, size_ms, number, self._first_late[stream, size_ms])
            for (stream, size_ms), number in self._late.items()
        ]

    def add_pane(self, delta: PaneDelta) -> None:
        """Add a delta to its pane if a window of the pane is open; count late events for the other sizes."""
        state = self._state_of(delta.stream)
        open_sizes = self._open_sizes(state, delta.start_ms)
        if delta.segment is None:
            spec = self._specs.get(delta.stream)
            for size_ms in set(spec.sizes_ms if spec else ()) - open_sizes:
                self._add_late(state, size_ms, delta)
        if not open_sizes:
            return
        state.add_pane(delta)
        if self._counted_twice:
            interval = delta.start_ms, delta.start_ms + delta.scheme.pane_ms
            known = state.status.counted_twice
            if interval not in known:
                state.set_status(replace(state.status, counted_twice=_merge([*known, interval])))

    def add_examples(self, delta: ExamplesDelta) -> None:
        """Add examples to their pane if a window of the pane is open."""
        state = self._state_of(delta.stream)
        if self._open_sizes(state, delta.start_ms):
            state.add_examples(delta)

    def _add_late(self, state: StreamState, size_ms: int, delta: PaneDelta) -> None:
        self._late[delta.stream, size_ms] += delta.events
        self._first_late.setdefault((delta.stream, size_ms), delta.first)
        totals = {**state.status.late, size_ms: state.status.late.get(size_ms, 0) + delta.events}
        state.set_status(replace(state.status, late=totals))

    def _open_sizes(self, state: StreamState, time_ms: int) -> set[int]:
        """Return the sizes, ms, of the open windows that hold an event time; {0} for an unknown stream."""
        spec = self._specs.get(state.stream)
        if spec is None:
            return {0}
        return {size_ms for size_ms in spec.sizes_ms if state.is_open(Window.around(time_ms, size_ms))}


def _merge(intervals: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return the union of some intervals of event time as disjoint intervals."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return tuple(merged)
