"""What a transaction's records say of it: by this the same transaction is known in other partitions."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from driftgauge.core.counting.partial import CommitId, Progress
from driftgauge.core.partition import Partition
from driftgauge.core.windows.changelog import PositionKey, ShardPosition
from driftgauge.kafka.hanging.model import Batch, Offset
from driftgauge.records import changelog
from driftgauge.records.partials import decode_part

__all__ = ["OFFSETS_TOPIC", "InternalTopics", "Traces", "offsets_partition", "read_traces"]

OFFSETS_TOPIC = "__consumer_offsets"

_SHORT, _INT, _LONG = struct.Struct(">h"), struct.Struct(">i"), struct.Struct(">q")
_OFFSET_KEYS = (0, 1)  # a group's offset; other versions are members and other things


@dataclass(frozen=True, slots=True)
class InternalTopics:
    """The topics that every transaction of the service writes to.

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
    """What some records say.

    Attributes:
        commits: The commits of COUNT that they are part of.
        moves: The group offsets that they move.
        is_whole: Whether the record that is written last is among them: the commit's last progress, the
            shard's position. A group's offsets are sent after all else.
    """

    commits: set[CommitId] = field(default_factory=set)
    moves: set[Offset] = field(default_factory=set)
    is_whole: bool = False

    def meet(self, other: "Traces") -> bool:
        """Tell whether both are of the same transaction, given that both are of the same producer."""
        return not self.commits.isdisjoint(other.commits) or not self.moves.isdisjoint(other.moves)


def read_traces(partition: Partition, batches: Iterable[Batch], topics: InternalTopics) -> Traces:
    """Return the traces in records of an internal topic, or of the groups' offsets.

    Raises:
        StateError: A record is damaged, or of another version.
    """
    topic, shard = partition
    traces = Traces()
    for key, value in (record for batch in batches for record in batch.records):
        # Empty are the records of the partials by which replicas measure their clocks; they never stand.
        if not value or (key is None and topic != topics.partials):
            continue
        if topic == topics.partials:
            _read_part(value, topics, traces)
        elif topic == topics.changelog:
            decoded = changelog.decode(key or b"", value)
            if decoded is not None and isinstance(decoded[0], PositionKey):
                position = decoded[1]
                assert isinstance(position, ShardPosition)  # noqa: S101 - the codec keeps to the key
                traces.moves.add(Offset(topics.windows_group, (topics.partials, shard), position.offset))
                traces.is_whole = True
        elif topic == OFFSETS_TOPIC:
            offset = _group_offset(key or b"", value)
            if offset is not None and offset.group in {topics.group, topics.windows_group}:
                traces.moves.add(offset)
                traces.is_whole = True
    return traces


def offsets_partition(group: str, partitions: int) -> Partition:
    """Return the partition that holds a group's offsets: by the hash of Java's strings."""
    code = 0
    for (unit,) in struct.iter_unpack(">H", group.encode("utf-16-be")):
        code = (31 * code + unit) & 0xFFFFFFFF
    signed = code - 2**32 if code >= 2**31 else code
    # Java has no positive number for the least one, and Kafka takes 0.
    return OFFSETS_TOPIC, (0 if signed == -(2**31) else abs(signed)) % partitions


def _read_part(value: bytes, topics: InternalTopics, traces: Traces) -> None:
    part = decode_part(value)
    traces.commits.add(part.commit)
    if isinstance(part, Progress):
        traces.is_whole |= part.index == part.parts - 1
        for source in part.partitions:
            # Without events the next commit has the same end: only a move tells them apart.
            if source.end > source.start:
                traces.moves.add(Offset(topics.group, source.partition, source.end))


def _group_offset(key: bytes, value: bytes) -> Offset | None:
    (version,) = _SHORT.unpack_from(key)
    if version not in _OFFSET_KEYS:
        return None
    group, at = _text(key, _SHORT.size)
    topic, at = _text(key, at)
    (index,) = _INT.unpack_from(key, at)
    (end,) = _LONG.unpack_from(value, _SHORT.size)
    return Offset(group, (topic, index), end)


def _text(content: bytes, at: int) -> tuple[str, int]:
    (length,) = _SHORT.unpack_from(content, at)
    start = at + _SHORT.size
    return content[start : start + length].decode(), start + length
