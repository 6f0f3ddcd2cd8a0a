"""The messages from COUNT to WINDOWS: the partials of one commit, and the progress of its partitions.

A commit has one or more parts for every shard, the deltas before the progress. A shard applies a commit once
all its parts are there, or not at all.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.examples import Example, FarExample
from driftgauge.core.counting.scheme import Scheme
from driftgauge.core.partition import Partition
from driftgauge.core.reference import Segment

__all__ = [
    "CommitId",
    "CommitPart",
    "PaneDelta",
    "PartitionProgress",
    "StreamTime",
    "shard_of",
]


def shard_of(stream: str, shards: int) -> int:
    """Return the shard of a stream's windows, from 0."""
    return zlib.crc32(stream.encode()) % shards


@dataclass(frozen=True, slots=True, order=True)
class CommitId:
    """The identity of a commit; within a shard, a producer's commit ids ascend.

    Attributes:
        producer: The transactional id.
        epoch: Grows with every producer of the same transactional id.
        number: The number of the commit since the producer started, from 0.
    """

    producer: str
    epoch: int
    number: int


@dataclass(frozen=True, slots=True, eq=False)
class PaneDelta:
    """The delta of one pane in a commit.

    Attributes:
        stream: The stream's name.
        scheme: The scheme of the tally.
        start_ms: The pane's start, event time.
        segment: The segment; None for all events.
        values: (scheme.length,) int64, the tally.
        events: The number of events in the tally.
        first: A source partition of its events, and the lowest of their offsets there.
        examples: Its examples, sorted; none of a segment.
        farthest: Its events that lie farthest, the farthest first; none of a segment.
        numbers: The tallies of its numbers, see `Number.count`, by their keys; none of a segment.
    """

    stream: str
    scheme: Scheme
    start_ms: int
    segment: Segment | None
    values: NDArray[np.int64]
    events: int
    first: tuple[Partition, int]
    examples: tuple[Example, ...] = ()
    farthest: tuple[FarExample, ...] = ()
    numbers: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamTime:
    """The event-time progress of a stream on one partition in one commit.

    Attributes:
        newest_ms: The highest credible event time of the commit's events.
        read_ms: The wall time, by the reader's clock, at which the last of them was read.
        first_ms: The event time of the first of them, in the order of the partition.
    """

    newest_ms: int
    read_ms: int
    first_ms: int


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """The progress of one commit on a source partition.

    What rarely differs between partitions comes first, so that records compress well.

    Attributes:
        topic_id: The topic's id as a UUID's hex digits, which changes when the topic is created again. Empty
            if the broker has none.
        partitions: The topic's number of partitions.
        begins: No offset was committed before, and `start` is the start of the log.
        lost: The least number of missing records from `start` on: Kafka deleted them before they were
            read, or the log was truncated.
        since_ms: The wall time, by the reader's clock, since which the reader has read the partition
            without a break.
        caught_up_ms: The latest wall time, by the reader's clock, up to which the partition is known to be
            read; None while unknown.
        partition: The partition's topic and index.
        start: The group's committed offset before the commit.
        end: The group's committed offset after the commit.
        skipped: The number of offsets from `start` to `end` without a record, other than missing ones:
            transaction markers, aborted and compacted records. Shards do not use the number; it shows who
            reads the partials that the service has passed over no record.
        streams: The event-time progress of the shard's streams that have events in the commit. Those beyond
            a thousand follow in further items of the partition, which begin and end at the first one's end.
    """

    topic_id: str
    partitions: int
    begins: bool
    lost: int
    since_ms: int
    caught_up_ms: int | None
    partition: Partition
    start: int
    end: int
    skipped: int = 0
    streams: Mapping[str, StreamTime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class CommitPart:
    """A part of a commit for one shard; all parts together name every partition assigned to its producer.

    Attributes:
        commit: The commit.
        index: The index of the part, from 0.
        parts: The number of the commit's parts for this shard.
        shards: The number of shards.
        written_ms: The wall time, by the reader's clock, at which the commit was written.
        panes: The deltas of panes.
        partitions: The progress of source partitions.
    """

    commit: CommitId
    index: int
    parts: int
    shards: int
    written_ms: int
    panes: tuple[PaneDelta, ...]
    partitions: tuple[PartitionProgress, ...]
