"""The counter of one commit interval, over all streams and all assigned partitions."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.by_stream import ByStream
from driftgauge.core.commit_limit import SHARE
from driftgauge.core.counting.accumulator import Accumulator
from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.counting.partial import (
    PaneDelta,
    PartitionProgress,
    StreamTime,
    shard_of,
)
from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec

__all__ = ["IntervalCounter", "ShardDelta"]

# What a stream takes in memory besides its tallies.
_STREAM_BYTES = 2_700

# The names and times of so many streams take about a third of a part of the partials.
_MOST_STREAMS = 1_000


@dataclass(slots=True)
class ShardDelta:
    """The delta of one commit interval for one shard.

    Attributes:
        panes: The deltas of panes.
        times: The event-time progress by the partition's code and the stream.
    """

    panes: list[PaneDelta] = field(default_factory=list)
    times: dict[int, dict[str, StreamTime]] = field(default_factory=dict)

    def progress(self, partitions: Mapping[int, PartitionProgress]) -> list[PartitionProgress]:
        """Return the progress of partitions, by their codes, with the times of the shard's streams added.

        A partition with more than 1,000 of these streams has several items. The first covers its offsets and
        its loss; the others begin and end at the first one's end.
        """
        return [
            item
            for code, progress in partitions.items()
            for item in _with_streams(progress, self.times.get(code, {}))
        ]


def _with_streams(
    progress: PartitionProgress, times: Mapping[str, StreamTime]
) -> Iterator[PartitionProgress]:
    """Yield the progress of a partition, in as many items as its streams need."""
    streams = list(times.items())
    yield replace(progress, streams=dict(streams[:_MOST_STREAMS]))
    further = replace(progress, start=progress.end, begins=False, lost=0, skipped=0)
    for first in range(_MOST_STREAMS, len(streams), _MOST_STREAMS):
        yield replace(further, streams=dict(streams[first : first + _MOST_STREAMS]))


class IntervalCounter:
    """Counts batches until the counts are taken or dropped."""

    def __init__(self, specs: Iterable[StreamSpec]) -> None:
        self._specs = ByStream({spec.name: spec for spec in specs})
        self._accumulators: dict[tuple[str, str], Accumulator] = {}
        self._times: dict[tuple[int, str], StreamTime] = {}

    def is_full(self, limit_bytes: int, shards: int) -> bool:
        """Whether the counts fill a commit, or a shard's part of it, which a round of WINDOWS applies whole.

        Args:
            limit_bytes: The most bytes of a commit; see `commit_limit`.
            shards: The number of shards.
        """
        whole = sum(each.bytes + _STREAM_BYTES for each in self._accumulators.values())
        if whole < limit_bytes // SHARE:
            return False
        by_shard: Counter[int] = Counter()
        for (stream, _), accumulator in self._accumulators.items():
            by_shard[shard_of(stream, shards)] += accumulator.bytes + _STREAM_BYTES
        return whole >= limit_bytes or max(by_shard.values()) >= limit_bytes // SHARE

    def count(self, batches: Sequence[EventBatch], read_ms: int) -> dict[int, str]:
        """Count the events of a batch of records that were read at wall time `read_ms`.

        A record is counted as a whole or not at all.

        Returns:
            The rows of the records that are not counted, because an event has no nearest centroid in float32,
            and the streams of these events.

        Raises:
            KeyError: A batch's stream or baseline is not configured.
        """
        clusters = [self._accumulator(batch).assign(batch) for batch in batches]
        refused: dict[int, str] = {}
        for batch, cluster in zip(batches, clusters, strict=True):
            refused |= dict.fromkeys(batch.row[cluster < 0].tolist(), batch.stream)
        for batch, cluster in zip(batches, clusters, strict=True):
            if not refused:
                self._add(batch, cluster, read_ms)
                continue
            counted = ~np.isin(batch.row, list(refused))
            if counted.any():
                self._add(batch.filter(counted), cluster[counted], read_ms)
        return refused

    def take(self, partitions: Mapping[int, Partition], shards: int) -> dict[int, ShardDelta]:
        """Return the interval's deltas by shard, streams by their first events; start the next interval."""
        deltas: dict[int, ShardDelta] = {}
        for (stream, _), accumulator in self._accumulators.items():
            delta = deltas.setdefault(shard_of(stream, shards), ShardDelta())
            delta.panes += accumulator.panes(partitions)
        for (code, stream), time in self._times.items():
            delta = deltas.setdefault(shard_of(stream, shards), ShardDelta())
            delta.times.setdefault(code, {})[stream] = time
        self.drop()
        return deltas

    def drop(self) -> None:
        """Discard the interval's counts, and start the next interval."""
        self._accumulators, self._times = {}, {}

    def _accumulator(self, batch: EventBatch) -> Accumulator:
        key = batch.stream, batch.baseline
        if key not in self._accumulators:
            spec = self._specs[batch.stream]
            reference = {each.reference.key: each.reference for each in spec.baselines}[batch.baseline]
            self._accumulators[key] = Accumulator(batch.stream, spec, reference)
        return self._accumulators[key]

    def _add(self, batch: EventBatch, cluster: NDArray[np.intp], read_ms: int) -> None:
        self._accumulator(batch).add(batch, cluster)
        for code in np.unique(batch.partition).tolist():
            rows = np.flatnonzero(batch.partition == code)
            known = self._times.get((code, batch.stream))
            newest_ms = int(batch.credible_ms[rows].max())
            self._times[code, batch.stream] = StreamTime(
                newest_ms=newest_ms if known is None else max(known.newest_ms, newest_ms),
                read_ms=read_ms,
                first_ms=int(batch.time_ms[rows[0]]) if known is None else known.first_ms,
            )
