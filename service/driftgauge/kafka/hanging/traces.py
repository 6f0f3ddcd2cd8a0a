"""The traces of a transaction in its records, which identify the same transaction in other partitions."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from driftgauge.core.counting.partial import CommitId, Progress
from driftgauge.core.partition import Partition
from driftgauge.core.windows.changelog import PositionKey, ShardPosition
from driftgauge.kafka.hanging.model import Batch, OffsetMove
from driftgauge.records import changelog
from driftgauge.records.partials import decode_part

__all__ = ["OFFSETS_TOPIC", "StageTopics", "Traces", "offsets_partition", "read_traces"]

OFFSETS_TOPIC = "__consumer_offsets"

_SHORT, _INT, _LONG = struct.Struct(">h"), struct.Struct(">i"), struct.Struct(">q")
_OFFSET_KEYS = (0, 1)  # key versions of a group's offset; other versions hold members and other data


@dataclass(frozen=True, slots=True)
class StageTopics:
    """The internal topics and the consumer groups of the two stages, one of each in every transaction.

    Attributes:
        partials: Written by COUNT, whose offsets are those of `group`.
        changelog: Written by WINDOWS, whose offsets are those of `windows_group`.
        group: The group that reads events.
        windows_group: The group that reads partials.
    """

    partials: str
    changelog: str
    group: str
    windows_group: str


@dataclass(slots=True)
class Traces:
    """The traces of a transaction in some of its records.

    Attributes:
        commits: The commits of COUNT that the records belong to.
        moves: The group offsets that the transaction moves.
        is_whole: Whether the record that is written last is among the records: the commit's last progress, or
            the shard's position. A group's offsets are sent after all records.
    """

    commits: set[CommitId] = field(default_factory=set)
    moves: set[OffsetMove] = field(default_factory=set)
    is_whole: bool = False

    def matches(self, other: "Traces") -> bool:
        """Return whether both belong to the same transaction, given the same producer."""
        return not self.commits.isdisjoint(other.commits) or not self.moves.isdisjoint(other.moves)


def read_traces(partition: Partition, batches: Iterable[Batch], topics: StageTopics) -> Traces:
    """Return the traces in records of an internal topic, or of the groups' offsets.

    Raises:
        StateError: A record is damaged, or has another version.
    """
    topic, shard = partition
    traces = Traces()
    for key, value in (record for batch in batches for record in batch.records):
        # Replicas measure their clocks by empty records of the partials, which they abort.
        if not value or (key is None and topic != topics.partials):
            continue
        if topic == topics.partials:
            _read_part(value, topics, traces)
        elif topic == topics.changelog:
            decoded = changelog.decode(key or b"", value)
            if decoded is not None and isinstance(decoded[0], PositionKey):
                position = decoded[1]
                assert isinstance(position, ShardPosition)  # noqa: S101 - the codec keeps to the key
                traces.moves.add(OffsetMove(topics.windows_group, (topics.partials, shard), position.offset))
                traces.is_whole = True
        elif topic == OFFSETS_TOPIC:
            offset = _group_offset(key or b"", value)
            if offset is not None and offset.group in {topics.group, topics.windows_group}:
                traces.moves.add(offset)
                traces.is_whole = True
    return traces


def offsets_partition(group: str, partitions: int) -> Partition:
    """Return the partition that holds a group's offsets, by the hash of Java's strings."""
    code = 0
    for (unit,) in struct.iter_unpack(">H", group.encode("utf-16-be")):
        code = (31 * code + unit) & 0xFFFFFFFF
    signed = code - 2**32 if code >= 2**31 else code
    # The least integer has no positive counterpart in Java, so Kafka uses 0.
    return OFFSETS_TOPIC, (0 if signed == -(2**31) else abs(signed)) % partitions


def _read_part(value: bytes, topics: StageTopics, traces: Traces) -> None:
    part = decode_part(value)
    traces.commits.add(part.commit)
    if isinstance(part, Progress):
        traces.is_whole |= part.index == part.parts - 1
        for source in part.partitions:
            # Commits without events repeat the same end, so only a move identifies a commit.
            if source.end > source.start:
                traces.moves.add(OffsetMove(topics.group, source.partition, source.end))


def _group_offset(key: bytes, value: bytes) -> OffsetMove | None:
    (version,) = _SHORT.unpack_from(key)
    if version not in _OFFSET_KEYS:
        return None
    group, at = _text(key, _SHORT.size)
    topic, at = _text(key, at)
    (index,) = _INT.unpack_from(key, at)
    (end,) = _LONG.unpack_from(value, _SHORT.size)
    return OffsetMove(group, (topic, index), end)


def _text(content: bytes, at: int) -> tuple[str, int]:
    (length,) = _SHORT.unpack_from(content, at)
    start = at + _SHORT.size
    return content[start : start + length].decode(), start + length
