"""A baseline that a stream is counted against: a batch of events to its panes and examples."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.counting.examples import Example, Examples
from driftgauge.core.panes import PanePlace, Panes
from driftgauge.core.reference import OTHER, Reference, Segment
from driftgauge.core.spec import StreamSpec
from driftgauge.core.state import ExamplesKey, PaneKey
from driftgauge.core.windows.window import Window

__all__ = ["Active", "Counts"]

Counts = tuple[PaneKey | ExamplesKey, NDArray[np.int64] | tuple[Example, ...]]
"""What was counted of a pane, and its key: a tally, or examples."""


class Active:
    """What was counted of one stream against one baseline, on the partitions that are held."""

    def __init__(self, spec: StreamSpec, reference: Reference) -> None:
        """Hold nothing yet.

        Args:
            spec: How the stream is watched.
            reference: The baseline.
        """
        self.reference = reference
        self.from_ms = np.empty(0, dtype=np.int64)
        """(partitions,) int64, the event time from which on each partition counts it."""
        self._stream = spec.name
        self._pane_ms = spec.pane_ms
        # A segment's number; 0 is for all events.
        self._segments: list[Segment | None] = [None] + [
            (segment.key, segment.value) for segment in reference.segments_by(spec.alarm.segment_keys)
        ]
        self._numbers = {segment: number for number, segment in enumerate(self._segments)}
        self._numbers_by: dict[str, dict[str, int]] = {}  # key -> value -> number
        for number, segment in enumerate(self._segments):
            if segment is not None:
                self._numbers_by.setdefault(segment[0], {})[segment[1]] = number
        self._panes = Panes(spec.pane_ms, reference.centroids.clusters, len(self._segments))
        self._examples = Examples(spec.pane_ms)

    def add(self, batch: EventBatch, cluster: NDArray[np.intp]) -> None:
        """Count a batch of n events, at least one, of these clusters (n,)."""
        partition, time_ms = batch.partition, batch.time_ms
        beyond = self.reference.are_beyond(batch.vectors, cluster)
        places = self.reference.projection.places(batch.vectors)
        all_events = np.zeros(len(batch), dtype=np.intp)
        self._panes.add(partition, time_ms, all_events, cluster=cluster, beyond=beyond, places=places)
        for key in self._numbers_by:
            segment = self._number(batch, key)
            its = segment >= 0
            if its.any():
                self._panes.add(
                    partition[its],
                    time_ms[its],
                    segment[its],
                    cluster=cluster[its],
                    beyond=beyond[its],
                    places=places[its],
                )
        if batch.event_ids:
            self._examples.add(partition, time_ms, cluster, batch.event_ids)

    def restore(
        self, partition: int, key: PaneKey | ExamplesKey, value: NDArray[np.int64] | tuple[Example, ...]
    ) -> bool:
        """Take in what was kept of a partition; False where its segment is not counted any more."""
        if isinstance(value, tuple):
            self._examples.restore(partition, key.pane.start_ms, value)
        elif isinstance(key, PaneKey) and key.segment in self._numbers:
            place = PanePlace(key.pane.start_ms, partition, self._numbers[key.segment])
            self._panes.restore(place, value)
        else:
            return False
        return True

    def take_changed(self) -> Iterator[tuple[int, Counts]]:
        """Yield what has changed since last asked, with its partition.

        The tallies of all events come last. A window is published anew when these say more, and whoever
        has seen them written has then seen the segments and examples that belong to them.
        """
        for partition, start_ms, examples in self._examples.take_changed():
            yield partition, (self._examples_key(start_ms), examples)
        for place, values in sorted(self._panes.take_changed(), key=lambda change: change[0].segment == 0):
            yield place.partition, (self._pane_key(place), values)

    def held(self) -> Iterator[tuple[int, PaneKey | ExamplesKey]]:
        """Yield the partition and key of all that is held."""
        for place in self._panes.places():
            yield place.partition, self._pane_key(place)
        for start_ms, partition in self._examples.places():
            yield partition, self._examples_key(start_ms)

    def drop_before(self, settled_ms: int) -> Iterable[tuple[int, PaneKey | ExamplesKey]]:
        """Forget the panes that start before an event time; return their partitions and keys."""
        dropped: list[tuple[int, PaneKey | ExamplesKey]] = []
        for place in [place for place in self._panes.places() if place.start_ms < settled_ms]:
            self._panes.drop(place)
            dropped.append((place.partition, self._pane_key(place)))
        for start_ms, partition in [at for at in self._examples.places() if at[0] < settled_ms]:
            self._examples.drop(start_ms, partition)
            dropped.append((partition, self._examples_key(start_ms)))
        return dropped

    def touch(self) -> None:
        """Take everything for changed."""
        self._panes.touch()
        self._examples.touch()

    def _number(self, batch: EventBatch, key: str) -> NDArray[np.intp]:
        """Return the number of each event's segment by a key, (n,); -1 where it has none."""
        numbers = self._numbers_by[key]
        # A baseline with too few other events has no segment for them.
        other = numbers.get(OTHER, -1)
        if not batch.segments:
            return np.full(len(batch), other, dtype=np.intp)
        found = (
            other if names is None else numbers.get(names.get(key, OTHER), other) for names in batch.segments
        )
        return np.fromiter(found, dtype=np.intp, count=len(batch))

    def _pane_key(self, place: PanePlace) -> PaneKey:
        pane = Window(self._pane_ms, place.start_ms)
        return PaneKey(self._stream, self.reference.key, pane, self._segments[place.segment])

    def _examples_key(self, start_ms: int) -> ExamplesKey:
        return ExamplesKey(self._stream, self.reference.key, Window(self._pane_ms, start_ms))
