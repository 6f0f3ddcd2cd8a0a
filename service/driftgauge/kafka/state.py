"""What a restart needs, and where it is kept: with the group's committed offsets.

The committed offset of a partition never passes the first event of an open pane, so reading on
from it counts every open window again in full. What that would not restore travels in the
offsets' metadata, and is thereby committed with them in one request: how far the partition had
been read (rejections before that point are not dead-lettered twice), and per stream the purge
horizon and the revisions published.
"""

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import orjson
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition

from driftgauge.core.result import Window
from driftgauge.core.windows import WindowsSnapshot
from driftgauge.errors import BrokerError, StateError
from driftgauge.kafka.client import REQUEST_TIMEOUT_S

__all__ = ["OffsetState", "Progress", "Restored", "StateStore", "other_log"]

_FORMAT = 1
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one partition has been read.

    Attributes:
        topic: The topic.
        partition: The partition's index in it.
        position: The next offset to read.
        first_open: The offset to start again from: the first event of an open pane, else `position`.
    """

    topic: str
    partition: int
    position: int
    first_open: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What an earlier run left.

    Attributes:
        progress: One entry a partition that was asked for and has been read before.
        snapshots: By stream, what counting again does not restore.
    """

    progress: tuple[Progress, ...]
    snapshots: Mapping[str, WindowsSnapshot]


class StateStore(Protocol):
    """Where a run's state outlives it."""

    def restore(self, partitions: Sequence[tuple[str, int]]) -> Restored:
        """Return what was last committed for these (topic, partition) pairs."""

    def commit(self, progress: Sequence[Progress], snapshots: Mapping[str, WindowsSnapshot]) -> None:
        """Make this the state that a restart finds; all of it or nothing."""


def other_log(where: str, finding: str) -> StateError:
    """Return the error of a partition whose log is not the one that was counted."""
    remedy = "the topic was made anew, or lost records; use another group.id, or reset the group's offsets"
    return StateError(f"{where} {finding}: {remedy}")


class OffsetState:
    """State in the metadata of the consumer group's committed offsets.

    Each stream's snapshot stands at one partition, chosen by a checksum of its name, to stay far
    below the broker's limit on metadata (`offset.metadata.max.bytes`, 4,096 bytes unless set).
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def restore(self, partitions: Sequence[tuple[str, int]]) -> Restored:
        """Return what was last committed for these (topic, partition) pairs.

        Raises:
            BrokerError: The group's coordinator does not answer.
            StateError: The metadata was written by something else, or a later version.
        """
        progress = []
        snapshots: dict[str, WindowsSnapshot] = {}
        for committed in self._committed(partitions):
            if committed.offset == OFFSET_INVALID:
                continue
            position = committed.offset
            if committed.metadata:
                position, own = _decode(committed.metadata, f"{committed.topic}[{committed.partition}]")
                for stream, snapshot in own.items():
                    snapshots[stream] = _later(snapshots.get(stream), snapshot)
            progress.append(Progress(committed.topic, committed.partition, position, committed.offset))
        return Restored(tuple(progress), snapshots)

    def commit(self, progress: Sequence[Progress], snapshots: Mapping[str, WindowsSnapshot]) -> None:
        """Commit offsets and metadata in one request.

        Raises:
            KafkaException: The coordinator refused or did not answer; nothing was committed.
            StateError: The metadata is larger than the broker takes.
        """
        held: list[dict[str, WindowsSnapshot]] = [{} for _ in progress]
        for stream, snapshot in snapshots.items():
            held[zlib.crc32(stream.encode()) % len(held)][stream] = snapshot
        offsets = [
            TopicPartition(at.topic, at.partition, at.first_open, metadata=_encode(at.position, own))
            for at, own in zip(progress, held, strict=True)
        ]
        try:
            committed = self._consumer.commit(offsets=offsets, asynchronous=False)
            for partition in committed:
                if partition.error is not None:
                    raise KafkaException(partition.error)  # noqa: TRY301 - one handler for both forms
        except KafkaException as error:
            if error.args[0].code() == KafkaError.OFFSET_METADATA_TOO_LARGE:
                message = (
                    "the state of the streams does not fit the metadata of the committed offsets; raise "
                    "offset.metadata.max.bytes on the brokers, shorten allowed_lateness, or give the topic "
                    "more partitions"
                )
                raise StateError(message) from error
            raise

    def _committed(self, partitions: Sequence[tuple[str, int]]) -> list[TopicPartition]:
        asked = [TopicPartition(topic, index) for topic, index in partitions]
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                committed: list[TopicPartition] = self._consumer.committed(asked, timeout=REQUEST_TIMEOUT_S)
                for partition in committed:
                    # It has no offset then, and would pass for one that was never committed.
                    if partition.error is not None:
                        raise KafkaException(partition.error)  # noqa: TRY301 - one handler for both forms
            except KafkaException as error:
                # A time-out is not marked retriable, yet asking again is right: so it goes on while a
                # transaction that holds the offsets is open.
                asked_again = error.args[0].retriable() or error.args[0].code() == KafkaError._TIMED_OUT
                if attempt == _ATTEMPTS or not asked_again:
                    message = (
                        f"the group's committed offsets cannot be read ({error.args[0].str()}); "
                        "check the brokers and the group's coordinator"
                    )
                    raise BrokerError(message) from error
            else:
                return committed
        raise AssertionError  # the last attempt returns or raises


def _encode(position: int, snapshots: Mapping[str, WindowsSnapshot]) -> str:
    document = {
        "v": _FORMAT,
        "position": position,
        "streams": {
            stream: [snapshot.horizon_ms, snapshot.baseline_id, _pack(snapshot.published)]
            for stream, snapshot in snapshots.items()
        },
    }
    return base64.b85encode(zlib.compress(orjson.dumps(document), level=9)).decode()


def _pack(published: Sequence[tuple[Window, int, int]]) -> list[list[int]]:
    """Return [size, windows since the one before, revision, count] each, for they mostly follow on."""
    packed = []
    before: dict[int, int] = {}
    for window, revision, count in published:
        number = window.start_ms // window.size_ms
        packed.append([window.size_ms, number - before.get(window.size_ms, 0), revision, count])
        before[window.size_ms] = number
    return packed


def _unpack(packed: Sequence[Sequence[int]]) -> tuple[tuple[Window, int, int], ...]:
    published = []
    before: dict[int, int] = {}
    for size_ms, step, revision, count in packed:
        number = before.get(size_ms, 0) + step
        published.append((Window(size_ms, number * size_ms), revision, count))
        before[size_ms] = number
    return tuple(published)


def _decode(metadata: str, where: str) -> tuple[int, dict[str, WindowsSnapshot]]:
    try:
        document = orjson.loads(zlib.decompress(base64.b85decode(metadata)))
        if document["v"] != _FORMAT:
            message = f"format {document['v']}"
            raise ValueError(message)  # noqa: TRY301 - answered with the other faults below
        snapshots = {
            stream: WindowsSnapshot(horizon_ms, _unpack(packed), baseline_id)
            for stream, (horizon_ms, baseline_id, packed) in document["streams"].items()
        }
        return int(document["position"]), snapshots
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
        message = (
            f"the metadata of the offset committed for {where} was "
            f"not written by this version of driftgauge ({error}); use another group.id, or reset the "
            "group's offsets"
        )
        raise StateError(message) from error


def _later(known: WindowsSnapshot | None, other: WindowsSnapshot) -> WindowsSnapshot:
    """Return the one that has come further: a stream's place moves when the topic grows."""
    if known is None or (other.horizon_ms or 0) > (known.horizon_ms or 0):
        return other
    return known
