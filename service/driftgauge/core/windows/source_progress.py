"""The progress of the source partitions in one shard, and the continuity of that chain."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.partial import PartitionProgress
from driftgauge.core.partition import Partition
from driftgauge.core.windows.changelog import BLOCK_PARTITIONS, SourceBlock, SourcesKey

__all__ = ["FOREVER_MS", "NULL", "Continuity", "ProgressColumns", "SourceProgress", "TopicProgress"]

NULL = -(2**63)
"""Marks an unknown number in int64 arrays."""

FOREVER_MS = 2**63 - 1
"""A time later than any."""

# A replica that is behind holds a former topic id for seconds only, and a block's record has room for these.
_MAX_FORMER_IDS = 6

# Columns of `SourceBlock.values`.
_CAUGHT_UP, _MOVED = 2, 3


class Continuity(Enum):
    """How a progress continues the offsets of a partition that the shard has counted."""

    CONTIGUOUS = "contiguous"
    GAP = "gap"
    """Records in between were never counted in this shard."""
    OVERLAP = "overlap"
    """Records of the progress were counted in this shard before."""


@dataclass(slots=True, eq=False)
class TopicProgress:
    """The partitions of one events topic.

    Attributes:
        topic_id: The topic's id; empty if the broker gives none.
        values: (n, 4) int64, see `SourceBlock`.
        former_ids: The ids of deleted topics of the same name, the latest last.
        shortened: The partitions whose first records had been deleted before any was read, until they are
            read to their end.
    """

    topic_id: str
    values: NDArray[np.int64]
    former_ids: tuple[str, ...] = ()
    shortened: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True, eq=False)
class ProgressColumns:
    """The progress of the n partitions of all configured topics.

    Attributes:
        partitions: The partitions, in the order of their rows.
        rows: The first row of each topic, and the one after its last.
        values: (n, 4) int64, see `SourceBlock`.
        latest_caught_up_ms: The highest time up to which a partition is known to be read.
        oldest_move_ms: The lowest log time at which a partition last advanced.
    """

    partitions: list[Partition]
    rows: dict[str, tuple[int, int]]
    values: NDArray[np.int64]
    latest_caught_up_ms: int
    oldest_move_ms: int


class SourceProgress:
    """The progress of the partitions of all events topics; changed blocks are dirty until drained."""

    def __init__(self, topics: Iterable[str]) -> None:
        """Begin with one unreported partition of each configured topic."""
        self.topics: dict[str, TopicProgress] = {topic: _unreported_partitions(1) for topic in sorted(topics)}
        self.configured = tuple(self.topics)
        """The topics whose partitions the streams wait for."""
        self._dirty: set[tuple[str, int]] = set()  # topic, block
        self._columns: ProgressColumns | None = None

    @property
    def columns(self) -> ProgressColumns:
        """The progress of the configured topics; all streams share it until a progress changes."""
        if self._columns is None:
            partitions: list[Partition] = []
            rows = {}
            for name in self.configured:
                own = [(name, index) for index in range(len(self.topics[name].values))]
                rows[name] = len(partitions), len(partitions) + len(own)
                partitions += own
            values = np.concatenate([self.topics[name].values for name in self.configured])
            caught_up_ms, moved_ms = int(values[:, _CAUGHT_UP].max()), int(values[:, _MOVED].min())
            self._columns = ProgressColumns(partitions, rows, values, caught_up_ms, moved_ms)
        return self._columns

    def read_to_ms(self, topics: Iterable[str]) -> int:
        """Return the time up to which all partitions of some topics are known to be read; NULL if unknown."""
        columns = self.columns
        rows = [slice(*columns.rows[topic]) for topic in topics if topic in columns.rows]
        return min((int(columns.values[each, _CAUGHT_UP].min()) for each in rows), default=FOREVER_MS)

    def restore(self, key: SourcesKey, block: SourceBlock) -> None:
        """Restore a changelog entry."""
        topic = self._grow(key.topic, block.partitions, NULL)
        topic.topic_id = block.topic_id or topic.topic_id
        topic.former_ids = block.former_ids
        self._columns = None
        first = key.block * BLOCK_PARTITIONS
        topic.values[first : first + len(block.values)] = block.values
        topic.shortened |= {first + row for row in block.shortened}

    def start_waiting(self, log_ms: int) -> None:
        """Start the waits for unreported partitions at this log time."""
        for name, topic in self.topics.items():
            topic.values[topic.values[:, _MOVED] == NULL, _MOVED] = log_ms
            self._mark_dirty(name, range(len(topic.values)))

    def is_of_new_topic(self, progress: PartitionProgress) -> bool:
        """Return whether the topic was recreated: its name is the same, its id has changed."""
        known = self.topics.get(progress.partition[0])
        return bool(known and known.topic_id and progress.topic_id and known.topic_id != progress.topic_id)

    def is_of_former_topic(self, progress: PartitionProgress) -> bool:
        """Return whether the progress is of a deleted topic whose successor its reader does not know yet."""
        known = self.topics.get(progress.partition[0])
        return known is not None and progress.topic_id in known.former_ids

    def replace_topic(self, topic: str, partitions: int, log_ms: int) -> None:
        """Drop the progress of a topic that was recreated with this number of partitions."""
        former = self.topics[topic]
        self._mark_dirty(topic, range(max(partitions, len(former.values))))
        self.topics[topic] = _unreported_partitions(partitions)
        self.topics[topic].former_ids = (*former.former_ids, former.topic_id)[-_MAX_FORMER_IDS:]
        self.topics[topic].values[:, _MOVED] = log_ms

    def exclude_downtime(self, downtime_ms: int) -> None:
        """Exclude an interval of log time from the waits for partitions that do not advance."""
        for name, topic in self.topics.items():
            topic.values[topic.values[:, _MOVED] != NULL, _MOVED] += downtime_ms
            self._mark_dirty(name, range(len(topic.values)))

    def accept(self, progress: PartitionProgress, log_ms: int) -> Continuity:
        """Add a partition's progress; return how it continues the offsets counted so far."""
        name, index = progress.partition
        topic = self._grow(name, max(progress.partitions, index + 1), log_ms)
        topic.topic_id = progress.topic_id or topic.topic_id
        # One read and one write of the array: a shard accepts a thousand partitions each second.
        known, since_ms, known_caught_up_ms, moved_ms = topic.values[index].tolist()
        if known == NULL:
            continuity = Continuity.CONTIGUOUS if progress.begins else Continuity.GAP
            if progress.begins and progress.start > 0:
                topic.shortened.add(index)
        elif progress.start > known:
            continuity = Continuity.GAP
        else:
            # A progress without records counts nothing twice.
            continuity = (
                Continuity.OVERLAP if progress.start < min(known, progress.end) else Continuity.CONTIGUOUS
            )
        caught_up_ms = NULL if progress.caught_up_ms is None else progress.caught_up_ms
        has_moved = progress.end > known or caught_up_ms > known_caught_up_ms
        topic.values[index] = (
            max(progress.end, known),
            progress.since_ms if since_ms == NULL else since_ms,
            max(caught_up_ms, known_caught_up_ms),
            log_ms if has_moved else moved_ms,
        )
        self._columns = None
        self._dirty.add((name, index // BLOCK_PARTITIONS))
        return continuity

    def is_shortened(self, partition: Partition) -> bool:
        """Return whether a partition's first records had been deleted, and the rest is not read yet."""
        topic, index = partition
        return index in self.topics[topic].shortened

    def note_ends(self, commit: Iterable[PartitionProgress]) -> None:
        """Note which partitions of an accepted commit are read to their end: what comes now is new."""
        for progress in commit:
            topic, index = progress.partition
            if progress.caught_up_ms is not None:
                self.topics[topic].shortened.discard(index)

    def drain_changes(self) -> Iterator[tuple[SourcesKey, SourceBlock | None]]:
        """Yield the changelog entries since the last call; None for a block of removed partitions."""
        dirty, self._dirty = self._dirty, set()
        for name, number in sorted(dirty):
            topic = self.topics[name]
            first = number * BLOCK_PARTITIONS
            block = topic.values[first : first + BLOCK_PARTITIONS].copy()
            shortened = tuple(
                sorted(each - first for each in topic.shortened if each // BLOCK_PARTITIONS == number)
            )
            value = SourceBlock(topic.topic_id, topic.former_ids, len(topic.values), block, shortened)
            yield SourcesKey(name, number), value if len(block) else None

    def _grow(self, name: str, partitions: int, log_ms: int) -> TopicProgress:
        topic = self.topics.get(name)
        if topic is None:
            topic = self.topics[name] = _unreported_partitions(0)
        known = len(topic.values)
        if partitions > known:
            added = _unreported_partitions(partitions - known).values
            added[:, _MOVED] = log_ms
            topic.values = np.concatenate((topic.values, added))
            # Every block holds the number of partitions.
            self._mark_dirty(name, range(partitions))
        return topic

    def _mark_dirty(self, topic: str, indexes: Iterable[int]) -> None:
        self._columns = None
        self._dirty.update((topic, index // BLOCK_PARTITIONS) for index in indexes)


def _unreported_partitions(partitions: int) -> TopicProgress:
    return TopicProgress("", np.full((partitions, 4), NULL, dtype=np.int64))
