"""Both stages, COUNT and WINDOWS, in one process without a broker: for recorded events and tests."""

from collections.abc import Collection, Mapping, Sequence

from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.counting.interval import IntervalCounter, ShardDelta
from driftgauge.core.counting.partial import CommitId, CommitPart, PartitionProgress
from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.shard import RoundResult, ShardState

__all__ = ["LocalDriver"]

_PRODUCER = "local"


class LocalDriver:
    """Counts batches of the partitions of one topic, and closes windows at each commit.

    The caller sets the time: `now_ms` replaces the clocks of reader and broker.
    """

    def __init__(self, specs: Collection[StreamSpec], topic: str, partitions: int) -> None:
        """Start at offset 0 of each partition."""
        self._counter = IntervalCounter(specs)
        self._partitions: dict[int, Partition] = {code: (topic, code) for code in range(partitions)}
        self._counted = dict.fromkeys(self._partitions, 0)
        self._since: dict[int, int] = {}
        self._commits = 0
        self.shard = ShardState(specs, (topic,), 1)

    def count(self, batches: Sequence[EventBatch], now_ms: int) -> dict[int, str]:
        """Count the events of a batch of records; see `IntervalCounter.count`."""
        return self._counter.count(batches, now_ms)

    def commit(
        self,
        now_ms: int,
        positions: Mapping[int, int],
        caught_up: Collection[int] = (),
        *,
        has_source_ended: bool = False,
    ) -> RoundResult:
        """Apply the counts since the last commit, and close the windows that are due; see `apply`."""
        self.apply(now_ms, positions, caught_up)
        return self.shard.close_windows(has_source_ended=has_source_ended)

    def apply(self, now_ms: int, positions: Mapping[int, int], caught_up: Collection[int] = ()) -> None:
        """Apply the counts since the last commit.

        Args:
            now_ms: The time.
            positions: The next offset of each partition, by index; partitions not named were never read.
            caught_up: The partitions that are read to their end at `now_ms`.
        """
        delta = self._counter.take(self._partitions, 1).get(0, ShardDelta())
        progress = [
            PartitionProgress(
                partition=self._partitions[code],
                topic_id="",
                partitions=len(self._partitions),
                start=self._counted[code],
                end=end,
                begins=code not in self._since,
                lost=0,
                since_ms=self._since.setdefault(code, now_ms),
                caught_up_ms=now_ms if code in caught_up else None,
                streams=delta.times.get(code, {}),
            )
            for code, end in positions.items()
        ]
        self._counted |= positions
        commit = CommitId(_PRODUCER, 0, self._commits)
        part = CommitPart(commit, 0, 1, 1, now_ms, tuple(delta.panes), tuple(progress))
        self.shard.apply(self.shard.position.offset, now_ms, part)
        self._commits += 1
