"""The accumulator of one stream and baseline over one commit interval."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.commit_limit import ENTRY_BYTES, NUMBER_BYTES
from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.counting.examples import Examples, ExampleSampler
from driftgauge.core.counting.numbers import TALLY_ROWS
from driftgauge.core.counting.partial import PaneDelta
from driftgauge.core.counting.scheme import Scheme
from driftgauge.core.counting.tally import Directions, tally_batch
from driftgauge.core.partition import Partition
from driftgauge.core.reference import OTHER, Reference, Segment
from driftgauge.core.spec import StreamSpec

__all__ = ["Accumulator"]


class Accumulator:
    """The tallies and examples of a stream's panes since the last commit, over all partitions.

    The pane length is the greatest common divisor of the window sizes, so an event is counted once for
    all its windows (J. Li et al., No pane, no gain, SIGMOD Record 34(1), 2005).
    """

    def __init__(self, stream: str, spec: StreamSpec, reference: Reference) -> None:
        """Count the events of a stream, which has a specification, against one of its baselines."""
        self._stream, self._spec, self._reference = stream, spec, reference
        self._scheme = scheme = spec.scheme(reference)
        self._segment_scheme = scheme.of_segments
        # The segments by number; number 0 is all events.
        self._segments: list[Segment | None] = [None]
        self._numbers: dict[str, dict[str, int]] = {}  # key -> value -> number
        for segment in reference.segments_by(scheme.segment_keys):
            self._numbers.setdefault(segment.key, {})[segment.value] = len(self._segments)
            self._segments.append((segment.key, segment.value))
        # (pane start, segment number) -> the tally, and one of its events by partition code and offset
        self._tallies: dict[tuple[int, int], NDArray[np.int64]] = {}
        self._firsts: dict[tuple[int, int], tuple[int, int]] = {}
        self._examples = ExampleSampler(scheme.pane_ms, spec.snippet_bytes)
        # pane start -> the number's key -> the tally
        self._of_numbers: dict[int, dict[str, NDArray[np.int64]]] = {}
        self.bytes = 0
        """The size of the tallies in a commit, as `commit_limit` estimates it."""

    def assign(self, batch: EventBatch) -> NDArray[np.intp]:
        """Return the clusters of n events, (n,); see `Centroids.assign`."""
        return self._reference.centroids.assign(batch.vectors)

    def add(self, batch: EventBatch, cluster: NDArray[np.intp]) -> None:
        """Count n events with their clusters, (n,)."""
        events = self._spec.place(self._reference, batch.vectors, cluster)
        measured = self._spec.measure(self._reference, events)
        self._add(batch, np.zeros(len(batch), dtype=np.intp), self._scheme, measured)
        in_segments = [
            added
            for field, added in zip(self._scheme.fields, measured, strict=True)
            if field.in_segments and not isinstance(added, Directions)
        ]
        for key in self._numbers:
            segment = self._segment_numbers(batch, key)
            mask = segment >= 0
            if mask.any():
                own = [added[mask] for added in in_segments]
                self._add(batch.filter(mask), segment[mask], self._segment_scheme, own)
        if self._spec.numbers:
            self._add_numbers(batch, cluster)
        if batch.event_ids:
            self._examples.add(batch.time_ms, cluster, events.beyond, batch.event_ids, batch.snippets)

    def panes(self, partitions: Mapping[int, Partition]) -> Iterator[PaneDelta]:
        """Yield the deltas of the panes; `partitions` maps the batches' partition codes."""
        for (start_ms, number), values in sorted(self._tallies.items()):
            code, offset = self._firsts[start_ms, number]
            examples = Examples() if number else self._examples.panes.get(start_ms, Examples())
            yield PaneDelta(
                self._stream,
                self._scheme if self._segments[number] is None else self._segment_scheme,
                start_ms,
                self._segments[number],
                values,
                int(values[: self._reference.centroids.clusters].sum()),
                (partitions[code], offset),
                examples.examples,
                examples.farthest,
                {} if number else self._of_numbers.get(start_ms, {}),
            )

    def _add(
        self,
        batch: EventBatch,
        segment: NDArray[np.intp],
        scheme: Scheme,
        measured: Sequence[NDArray[Any] | Directions],
    ) -> None:
        # One number for pane and segment, since np.unique on pairs takes fifteen times as long.
        numbers = batch.time_ms // self._scheme.pane_ms * len(self._segments) + segment
        keys, rows, group = np.unique(numbers, return_index=True, return_inverse=True)
        tallies = tally_batch(group, len(keys), scheme.fields, measured)
        for key, row, added in zip(keys.tolist(), rows.tolist(), tallies, strict=True):
            pane, number = divmod(key, len(self._segments))
            start_and_number = pane * self._scheme.pane_ms, number
            tally = self._tallies.get(start_and_number)
            if tally is None:
                self._tallies[start_and_number] = added.copy()
                self.bytes += ENTRY_BYTES + NUMBER_BYTES * len(added)
                self._firsts[start_and_number] = int(batch.partition[row]), int(batch.offset[row])
            else:
                tally += added

    def _add_numbers(self, batch: EventBatch, cluster: NDArray[np.intp]) -> None:
        clusters, pane_ms = self._reference.centroids.clusters, self._scheme.pane_ms
        panes, group = np.unique(batch.time_ms // pane_ms, return_inverse=True)
        place = group * clusters + cluster
        for number in self._spec.numbers:
            counted = number.count(batch.numbers[number.name], place, len(panes) * clusters)
            by_pane = counted.reshape(TALLY_ROWS, len(panes), clusters).swapaxes(0, 1)
            for pane, added in zip(panes.tolist(), by_pane, strict=True):
                tallies = self._of_numbers.setdefault(pane * pane_ms, {})
                before = tallies.get(number.key)
                if before is None:
                    self.bytes += NUMBER_BYTES * added.size
                tallies[number.key] = added if before is None else before + added

    def _segment_numbers(self, batch: EventBatch, key: str) -> NDArray[np.intp]:
        """Return the number of each event's segment of a key, (n,); -1 for events without a segment."""
        numbers = self._numbers[key]
        # A baseline with too few other events has no segment for them.
        other = numbers.get(OTHER, -1)
        if not batch.segments:
            return np.full(len(batch), other, dtype=np.intp)
        own = (
            other if names is None else numbers.get(names.get(key, OTHER), other) for names in batch.segments
        )
        return np.fromiter(own, dtype=np.intp, count=len(batch))
