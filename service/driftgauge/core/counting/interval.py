"""The counter of one commit interval, over all streams and all assigned partitions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.accumulator import Accumulator
from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.counting.partial import (
    ExamplesDelta,
    PaneDelta,
    PartitionProgress,
    StreamTime,
    shard_of,
)
from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec

__all__ = ["IntervalCounter", "ShardDelta"]

# About 20 MB of tallies, at which a commit is due early: timestamps far apart make many panes.
_MAX_NUMBERS = 2_500_000


@dataclass(slots=True)
class ShardDelta:
    """The delta of one commit interval for one shard.

    Attributes:
        panes: The deltas of panes.
        examples: The deltas of their examples.
        times: The event-time progress by the partition's code and the stream.
    """

    panes: list[PaneDelta] = field(default_factory=list)
    examples: list[ExamplesDelta] = field(default_factory=list)
    times: dict[int, dict[str, StreamTime]] = field(default_factory=dict)

    def progress(self, partitions: Mapping[int, PartitionProgress]) -> list[PartitionProgress]:
        """Return the progress of partitions, by their codes, with the times of the shard's streams added."""
        return [
            replace(progress, streams=self.times[code]) if code in self.times else progress
            for code, progress in partitions.items()
        ]


class IntervalCounter:
    """Counts batches until the counts are taken or dropped."""

    def __init__(self, specs: Iterable[StreamSpec]) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._accumulators: dict[tuple[str, str], Accumulator] = {}
        self._times: dict[tuple[int, str], StreamTime] = {}

    @property
    def is_full(self) -> bool:
        """Whether the counts should be committed early, to bound their memory."""
        return sum(map(len, self._accumulators.values())) >= _MAX_NUMBERS

    def count(self, batch: EventBatch, read_ms: int) -> NDArray[np.bool_]:
        """Count n events that were read at wall time `read_ms`.

        Returns:
            (n,) bool, true for events without a nearest centroid in float32, which are not counted.

        Raises:
            KeyError: The batch's stream or baseline is not configured.
        """
        key = batch.stream, batch.baseline
        if key not in self._accumulators:
            spec = self._specs[batch.stream]
            reference = spec.find(batch.baseline)
            if reference is None:
                message = f"baseline {batch.baseline} of stream {batch.stream} is not configured"
                raise KeyError(message)
            self._accumulators[key] = Accumulator(batch.stream, reference, spec.scheme(reference))
        overflowed = self._accumulators[key].add(batch)
        counted = batch.filter(~overflowed) if overflowed.any() else batch
        for code in np.unique(counted.partition).tolist():
            rows = np.flatnonzero(counted.partition == code)
            known = self._times.get((code, batch.stream))
            newest_ms = int(counted.credible_ms[rows].max())
            self._times[code, batch.stream] = StreamTime(
                newest_ms=newest_ms if known is None else max(known.newest_ms, newest_ms),
                read_ms=read_ms,
                first_ms=int(counted.time_ms[rows[0]]) if known is None else known.first_ms,
            )
        return overflowed

    def take(self, partitions: Mapping[int, Partition], shards: int) -> dict[int, ShardDelta]:
        """Return the interval's deltas by shard, and start the next interval."""
        deltas: dict[int, ShardDelta] = {}
        for (stream, _), accumulator in sorted(self._accumulators.items()):
            delta = deltas.setdefault(shard_of(stream, shards), ShardDelta())
            delta.panes += accumulator.panes(partitions)
            delta.examples += accumulator.examples()
        for (code, stream), time in self._times.items():
            delta = deltas.setdefault(shard_of(stream, shards), ShardDelta())
            delta.times.setdefault(code, {})[stream] = time
        self.drop()
        return deltas

    def drop(self) -> None:
        """Discard the interval's counts, and start the next interval."""
        self._accumulators, self._times = {}, {}
