"""How far the source partitions have been read, as one shard knows it: the chain of progress."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.partial import PartitionProgress
from driftgauge.core.partition import Partition
from driftgauge.core.windows.changelog import BLOCK, SourceBlock, SourcesKey

__all__ = ["NULL", "Link", "ProgressColumns", "SourceProgress", "TopicProgress"]

NULL = -(2**63)
"""Stands in arrays for a number that is not known."""

_END, _SINCE, _CAUGHT_UP, _MOVED = range(4)


class Link(Enum):
    """How a progress continues what the shard has of a partition."""

    FITS = "fits"
    GAP = "gap"
    """Records between were never counted here."""
    OVERLAP = "overlap"
    """Records of it were counted here before."""


@dataclass(slots=True, eq=False)
class TopicProgress:
    """The partitions of one events topic.

    Attributes:
        topic_id: The topic's id, where the broker tells one.
        values: (n, 4) int64, see `SourceBlock`.
    """

    topic_id: str
    values: NDArray[np.int64]

    @property
    def end(self) -> NDArray[np.int64]:
        """(n,) int64, the offset up to which each partition was counted; NULL where it was not."""
        return self.values[:, _END]

    @property
    def since_ms(self) -> NDArray[np.int64]:
        """(n,) int64, since when it has been read, by its reader's clock; NULL where it was not."""
        return self.values[:, _SINCE]

    @property
    def caught_up_ms(self) -> NDArray[np.int64]:
        """(n,) int64, the time up to which it is known to be read, by its reader's clock; or NULL."""
        return self.values[:, _CAUGHT_UP]

    @property
    def moved_ms(self) -> NDArray[np.int64]:
        """(n,) int64, the log time at which it was last heard of or came further."""
        return self.values[:, _MOVED]


@dataclass(frozen=True, slots=True, eq=False)
class ProgressColumns:
    """The n partitions of the configured topics side by side; `values` is (n, 4) int64, see `SourceBlock`.

    Attributes:
        rows: Where each topic's partitions begin and end among them.
        latest_ms: The highest time up to which one is known to be read.
        stillest_ms: The lowest log time since when one has stood still.
    """

    rows: dict[str, tuple[int, int]]
    values: NDArray[np.int64]
    latest_ms: int
    stillest_ms: int


class SourceProgress:
    """The partitions of all events topics, and what of them has changed since the changelog was written."""

    def __init__(self, topics: Iterable[str]) -> None:
        """Know of nothing but the configured topics' names; each has a partition at least."""
        self.topics: dict[str, TopicProgress] = {topic: _unheard(1) for topic in sorted(topics)}
        self.configured = tuple(self.topics)
        """Those whose partitions are waited for."""
        self._former_ids: dict[str, set[str]] = {}  # by topic
        self._dirty: set[tuple[str, int]] = set()  # topic, block
        self._partitions: list[Partition] | None = None
        self._columns: ProgressColumns | None = None

    @property
    def partitions(self) -> list[Partition]:
        """The partitions of the configured topics, in the order of their rows; one list for all streams."""
        if self._partitions is None:
            self._partitions = [
                (topic, index) for topic in self.configured for index in range(len(self.topics[topic].values))
            ]
        return self._partitions

    @property
    def columns(self) -> ProgressColumns:
        """What is known of these partitions; the same for all streams until something changes."""
        if self._columns is None:
            rows, first = {}, 0
            for name in self.configured:
                rows[name] = first, first + len(self.topics[name].values)
                first = rows[name][1]
            values = np.concatenate([self.topics[name].values for name in self.configured])
            latest_ms, stillest_ms = int(values[:, _CAUGHT_UP].max()), int(values[:, _MOVED].min())
            self._columns = ProgressColumns(rows, values, latest_ms, stillest_ms)
        return self._columns

    def restore(self, key: SourcesKey, block: SourceBlock) -> None:
        """Take in what the changelog holds."""
        topic = self._grow(key.topic, block.partitions, NULL)
        topic.topic_id = block.topic_id or topic.topic_id
        self._columns = None
        first = key.block * BLOCK
        topic.values[first : first + len(block.values)] = block.values

    def begin(self, log_ms: int) -> None:
        """Count from this log time for how long nothing has been heard of the configured topics."""
        for name, topic in self.topics.items():
            topic.values[topic.moved_ms == NULL, _MOVED] = log_ms
            self._touch(name, range(len(topic.values)))

    def is_replaced(self, progress: PartitionProgress) -> bool:
        """Tell whether the topic is not the one that was read before, though its name is the same."""
        known = self.topics.get(progress.partition[0])
        return bool(known and known.topic_id and progress.topic_id and known.topic_id != progress.topic_id)

    def is_former(self, progress: PartitionProgress) -> bool:
        """Tell whether it is of a topic whose name another has taken, which its reader has not heard of."""
        return progress.topic_id in self._former_ids.get(progress.partition[0], ())

    def replace(self, topic: str, partitions: int, log_ms: int) -> None:
        """Forget a topic: another with so many partitions has taken its name."""
        self._touch(topic, range(max(partitions, len(self.topics[topic].values))))
        self._former_ids.setdefault(topic, set()).add(self.topics[topic].topic_id)
        self.topics[topic] = _unheard(partitions)
        self.topics[topic].values[:, _MOVED] = log_ms
        self._partitions = None

    def pause(self, pause_ms: int) -> None:
        """Leave a stretch of log time out of how long partitions have stood still."""
        for name, topic in self.topics.items():
            topic.values[topic.moved_ms != NULL, _MOVED] += pause_ms
            self._touch(name, range(len(topic.values)))

    def accept(self, progress: PartitionProgress, log_ms: int) -> Link:
        """Take in a partition's progress, and tell how it continues what was known."""
        name, index = progress.partition
        topic = self._grow(name, max(progress.partitions, index + 1), log_ms)
        topic.topic_id = progress.topic_id or topic.topic_id
        # Of a thousand partitions a second: one look at the array, and one write.
        known, since_ms, known_caught_up_ms, moved_ms = topic.values[index].tolist()
        if known == NULL:
            link = Link.FITS if progress.begins else Link.GAP
        elif progress.start > known:
            link = Link.GAP
        else:
            # Where nothing was read nothing was counted twice.
            link = Link.OVERLAP if progress.start < min(known, progress.end) else Link.FITS
        caught_up_ms = NULL if progress.caught_up_ms is None else progress.caught_up_ms
        has_moved = progress.end > known or caught_up_ms > known_caught_up_ms
        topic.values[index] = (
            max(progress.end, known),
            progress.since_ms if since_ms == NULL else since_ms,
            max(caught_up_ms, known_caught_up_ms),
            log_ms if has_moved else moved_ms,
        )
        self._columns = None
        self._dirty.add((name, index // BLOCK))
        return link

    def take_changes(self) -> Iterator[tuple[SourcesKey, SourceBlock | None]]:
        """Yield what has changed since last asked; None for partitions that were removed."""
        dirty, self._dirty = self._dirty, set()
        for name, number in sorted(dirty):
            topic = self.topics[name]
            block = topic.values[number * BLOCK : (number + 1) * BLOCK].copy()
            known = SourceBlock(topic.topic_id, len(topic.values), block) if len(block) else None
            yield SourcesKey(name, number), known

    def _grow(self, name: str, partitions: int, log_ms: int) -> TopicProgress:
        topic = self.topics.get(name)
        if topic is None:
            topic = self.topics[name] = _unheard(0)
        known = len(topic.values)
        if partitions > known:
            added = _unheard(partitions - known).values
            added[:, _MOVED] = log_ms
            topic.values = np.concatenate((topic.values, added))
            self._partitions = None
            # Every block says how many partitions there are.
            self._touch(name, range(partitions))
        return topic

    def _touch(self, topic: str, indexes: Iterable[int]) -> None:
        self._columns = None
        self._dirty.update((topic, index // BLOCK) for index in indexes)


def _unheard(partitions: int) -> TopicProgress:
    return TopicProgress("", np.full((partitions, 4), NULL, dtype=np.int64))
