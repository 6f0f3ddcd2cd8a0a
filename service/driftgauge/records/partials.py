"""The codec of the partials topic: the parts of a commit for one shard.

Parts with deltas come first, parts with progress last. A commit has at least one part with progress, and
several where its source partitions and their streams do not fit into one record. The progress is complete
with the commit's last part.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from driftgauge.core.counting.partial import (
    CommitId,
    ExamplesDelta,
    PaneDelta,
    Part,
    PartitionProgress,
)
from driftgauge.core.partition import name_partition
from driftgauge.errors import StateError
from driftgauge.records.deltas import decode_deltas, encode_deltas
from driftgauge.records.framing import FRAME_BYTES, RECORD_NAME, decode_frame, encode_frame
from driftgauge.records.progress import decode_progress, encode_progress
from driftgauge.records.record_errors import damage_error, require

__all__ = ["decode_part", "encode_commit"]

_DELTAS = 1
_PROGRESS = 2

Item = TypeVar("Item", bound=PaneDelta | ExamplesDelta | PartitionProgress)


def encode_commit(
    commit: CommitId,
    shards: int,
    panes: Sequence[PaneDelta],
    examples: Sequence[ExamplesDelta],
    partitions: Sequence[PartitionProgress],
    limit_bytes: int,
    *,
    written_ms: int,
) -> list[bytes]:
    """Return the parts of a commit for one shard, in order, none longer than the limit.

    Equal input gives equal bytes.

    Raises:
        StateError: One pane, the examples of one pane, or the progress of one partition exceeds the limit.
    """
    deltas: tuple[PaneDelta | ExamplesDelta, ...] = (*panes, *examples)
    room = limit_bytes - FRAME_BYTES
    bodies = [
        (_PROGRESS, body)
        for body in _encode_within(partitions, partial(encode_progress, commit, shards, written_ms), room)
    ]
    if deltas:
        fitting = _encode_within(deltas, partial(encode_deltas, commit, shards), room)
        bodies = [*((_DELTAS, body) for body in fitting), *bodies]
    return [encode_frame(kind, index, len(bodies), body) for index, (kind, body) in enumerate(bodies)]


def decode_part(value: bytes) -> Part:
    """Return the part that a record holds.

    Raises:
        StateError: The record is of another version, or damaged.
    """
    content = decode_frame(value)
    try:
        if content.kind == _DELTAS:
            require(content.index < content.parts - 1, "no progress follows the deltas")
            return decode_deltas(content)
        if content.kind == _PROGRESS:
            return decode_progress(content)
    except (ValueError, OverflowError) as error:
        raise damage_error(RECORD_NAME, error) from error
    message = f"{RECORD_NAME} is of kind {content.kind}: a later driftgauge wrote it; update this replica"
    raise StateError(message)


def _encode_within(
    items: Sequence[Item], encode: Callable[[Sequence[Item]], bytes], room: int
) -> list[bytes]:
    """Return the bodies of the items, split in halves until no body is longer than the room, bytes."""
    body = encode(items)
    if len(body) <= room:
        return [body]
    if len(items) <= 1:
        message = (
            f"{_describe(items)} takes {len(body) + FRAME_BYTES} bytes, and the partials topic accepts "
            f"{room + FRAME_BYTES} in a record: raise its max.message.bytes"
        )
        raise StateError(message)
    half = len(items) // 2
    return [*_encode_within(items[:half], encode, room), *_encode_within(items[half:], encode, room)]


def _describe(items: Sequence[PaneDelta | ExamplesDelta | PartitionProgress]) -> str:
    for item in items:
        if isinstance(item, PartitionProgress):
            return f"the progress of {name_partition(item.partition)}"
        return f"one pane of stream {item.stream}"
    return "the progress of no partition"
