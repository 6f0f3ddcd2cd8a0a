"""The records of the partials topic: the parts of a commit for one shard.

Parts with deltas come first, parts with progress last; there is always one of these. Where the source
partitions and their streams are too many for one record there are several parts with progress: together
they are the commit's progress, and it is whole with the commit's last part.
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
from driftgauge.records.framing import FRAME_BYTES, RECORD, frame, unframe
from driftgauge.records.progress import decode_progress, encode_progress
from driftgauge.records.refusals import damaged, demand

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
) -> list[bytes]:
    """Return the parts of a commit for one shard, in order, none longer than the limit.

    The same input gives the same bytes.

    Raises:
        StateError: One pane, its examples, or one partition's progress alone is longer.
    """
    deltas: tuple[PaneDelta | ExamplesDelta, ...] = (*panes, *examples)
    room = limit_bytes - FRAME_BYTES
    bodies = [(_PROGRESS, body) for body in _fit(partitions, partial(encode_progress, commit, shards), room)]
    if deltas:
        fitting = _fit(deltas, partial(encode_deltas, commit, shards), room)
        bodies = [*((_DELTAS, body) for body in fitting), *bodies]
    return [frame(kind, index, len(bodies), body) for index, (kind, body) in enumerate(bodies)]


def decode_part(value: bytes) -> Part:
    """Return the part that a record holds.

    Raises:
        StateError: The record is of another version, or damaged.
    """
    content = unframe(value)
    try:
        if content.kind == _DELTAS:
            demand(content.index < content.parts - 1, "no progress follows its deltas")
            return decode_deltas(content)
        if content.kind == _PROGRESS:
            return decode_progress(content)
    except (ValueError, OverflowError) as error:
        raise damaged(RECORD, error) from error
    message = (
        f"{RECORD} is of kind {content.kind}: a later version of driftgauge wrote it; update this replica"
    )
    raise StateError(message)


def _fit(items: Sequence[Item], encode: Callable[[Sequence[Item]], bytes], room: int) -> list[bytes]:
    """Return the bodies of as many halves as are needed for none to be longer than the room."""
    body = encode(items)
    if len(body) <= room:
        return [body]
    if len(items) <= 1:
        what = f"a part of {_describe(items)} alone takes {len(body) + FRAME_BYTES} bytes, and"
        message = f"{what} the partials topic takes {room + FRAME_BYTES}: raise its max.message.bytes"
        raise StateError(message)
    half = len(items) // 2
    return [*_fit(items[:half], encode, room), *_fit(items[half:], encode, room)]


def _describe(items: Sequence[PaneDelta | ExamplesDelta | PartitionProgress]) -> str:
    for item in items:
        if isinstance(item, PartitionProgress):
            return f"the progress of {name_partition(item.partition)}"
        return f"one pane of stream {item.stream}"
    return "a progress of no partition"
