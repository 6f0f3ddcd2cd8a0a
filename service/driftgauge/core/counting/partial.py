"""What COUNT passes on to WINDOWS: the deltas of one commit, and how far its partitions were read.

A commit is the unit. For every shard it has one or more parts: partials with the deltas, and the progress
as the last part. A shard applies a commit when all its parts are there, or not at all.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.examples import Example
from driftgauge.core.counting.scheme import Scheme
from driftgauge.core.partition import Partition
from driftgauge.core.reference import Segment

__all__ = [
    "CommitId",
    "ExamplesDelta",
    "PaneDelta",
    "Part",
    "Partial",
    "PartitionProgress",
    "Progress",
    "StreamTime",
    "shard_of",
]


def shard_of(stream: str, shards: int) -> int:
    """Return the shard, from 0, that a stream's windows belong to."""
    return zlib.crc32(stream.encode()) % shards


@dataclass(frozen=True, slots=True, order=True)
class CommitId:
    """Which commit of which producer; each shard sees a producer's numbers grow.

    Attributes:
        producer: The transactional id.
        epoch: Grows with every producer of that id.
        number: Counts the commits of one producer from 0.
    """

    producer: str
    epoch: int
    number: int


@dataclass(frozen=True, slots=True, eq=False)
class PaneDelta:
    """What a commit adds to one pane.

    Attributes:
        stream: The stream's name.
        scheme: How it was counted.
        start_ms: The pane's start, event time.
        segment: The segment; None for all events.
        values: (scheme.length,) int64, the tally.
        events: How many events it counts.
        first: The source partition and the offset of one of its events, the lowest there.
    """

    stream: str
    scheme: Scheme
    start_ms: int
    segment: Segment | None
    values: NDArray[np.int64]
    events: int
    first: tuple[Partition, int]


@dataclass(frozen=True, slots=True)
class ExamplesDelta:
    """Examples that a commit brings of one pane.

    Attributes:
        stream, scheme, start_ms: As in `PaneDelta`.
        examples: Some of the pane's events by name.
    """

    stream: str
    scheme: Scheme
    start_ms: int
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class StreamTime:
    """How far a stream came on one partition in one commit.

    Attributes:
        newest_ms: The highest credible event time among the commit's events.
        read_ms: When the last of them was read, by the reader's wall clock.
        first_ms: The event time of the first of them, in the order of the partition.
    """

    newest_ms: int
    read_ms: int
    first_ms: int


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """How far one commit read a source partition.

    Attributes:
        partition: Its topic and index.
        topic_id: The topic's id as a UUID's hex digits; another topic of the same name has another. Empty
            where the broker tells none.
        partitions: How many partitions the topic has.
        start: The group's committed offset before: `from` in the record.
        end: The group's committed offset after: `to` in the record.
        begins: No offset was committed before; `start` is where the log begins.
        lost: How many records from `start` on are missing, at least: Kafka deleted them before they were
            read, or the log was cut.
        since_ms: Since when the reader has read the partition without a break, by its wall clock.
        caught_up_ms: The latest wall time, by the reader's clock, up to which the partition is known to be
            read; None while that is unknown.
        streams: How far the streams came that have events in the commit; only those of the shard.
    """

    partition: Partition
    topic_id: str
    partitions: int
    start: int
    end: int
    begins: bool
    lost: int
    since_ms: int
    caught_up_ms: int | None
    streams: Mapping[str, StreamTime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """One part of a commit, for one shard, with deltas.

    Attributes:
        commit: The commit.
        index: The part's place, from 0.
        parts: How many parts the commit has for this shard, the progress among them.
        shards: How many shards there are.
        panes: What is added to panes.
        examples: What is added to their examples.
    """

    commit: CommitId
    index: int
    parts: int
    shards: int
    panes: tuple[PaneDelta, ...]
    examples: tuple[ExamplesDelta, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """A last part of a commit: with the others of its kind, every partition that its producer held.

    Attributes:
        commit, index, parts, shards: As in `Partial`.
        partitions: The progress of each.
    """

    commit: CommitId
    index: int
    parts: int
    shards: int
    partitions: tuple[PartitionProgress, ...]


Part = Partial | Progress
