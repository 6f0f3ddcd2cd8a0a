"""The deltas of one commit: open panes accumulate them, and events of final windows count as late."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from driftgauge.core.counting.partial import PaneDelta
from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec
from driftgauge.core.window import Window
from driftgauge.core.windows.stream_state import StreamState

__all__ = ["LateEvents", "apply_panes"]


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


def apply_panes(
    panes: Iterable[PaneDelta],
    specs: Mapping[str, StreamSpec],
    state_of: Callable[[str], StreamState],
    *,
    counted_twice: bool,
) -> Collection[LateEvents]:
    """Add the deltas of one commit to their panes, if an open window needs the pane.

    Args:
        panes: The deltas.
        specs: The configured streams by name.
        state_of: Returns the state of a stream, new if there is none.
        counted_twice: Events of the commit may have been counted before.

    Returns:
        The late events of the windows that are final, by stream and window size.
    """
    late: dict[tuple[str, int], LateEvents] = {}
    applied: Counter[str] = Counter()
    for delta in panes:
        state, spec = state_of(delta.stream), specs.get(delta.stream)
        # The panes of an unknown stream are kept.
        sizes_ms = spec.sizes_ms if spec else ()
        final = [size_ms for size_ms in sizes_ms if not state.is_open(Window.around(delta.start_ms, size_ms))]
        if delta.segment is None:
            applied[delta.stream] += delta.events
        for size_ms in final if delta.segment is None else ():
            totals = {**state.status.late, size_ms: state.status.late.get(size_ms, 0) + delta.events}
            state.set_status(replace(state.status, late=totals))
            known = late.get((delta.stream, size_ms), LateEvents(delta.stream, size_ms, 0, delta.first))
            late[delta.stream, size_ms] = replace(known, number=known.number + delta.events)
        if spec and delta.start_ms < state.purgeable_ms(sizes_ms):
            continue
        state.add_pane(delta)
        interval = delta.start_ms, delta.start_ms + delta.scheme.pane_ms
        if counted_twice and interval not in state.status.counted_twice:
            merged = _merge([*state.status.counted_twice, interval])
            state.set_status(replace(state.status, counted_twice=merged))
    for stream, events in applied.items():
        status = state_of(stream).status
        state_of(stream).set_status(replace(status, applied=status.applied + events))
    return late.values()


def _merge(intervals: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return the union of some intervals of event time as disjoint intervals."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return tuple(merged)
