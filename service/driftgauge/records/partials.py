"""The codec of the partials topic: the parts of a commit for one shard; see `schemas/partial.v6.md`."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from driftgauge.core.counting.partial import CommitId, PaneDelta, Part, PartitionProgress
from driftgauge.core.partition import name_partition
from driftgauge.errors import StateError
from driftgauge.events.contract import STREAM_NAME
from driftgauge.records.messagepack import MAX_PARTITIONS, MAX_TIME_MS, Format, check_version, require

__all__ = ["decode_part", "encode_commit"]

_VERSION = 6
_NAME = "a record of the partials"
# `deterministic` sorts the streams of a partition, so that equal commits have equal bytes.
_ENCODER = msgspec.msgpack.Encoder(enc_hook=np.ndarray.tolist, order="deterministic")
# Placeholders for the index and the number of parts, as long as any.
_LONGEST = 2**32 - 1
# What the lengths of two lists take more than those of empty ones.
_LENGTHS_BYTES = 8

_STREAM_NAME = re.compile(STREAM_NAME)
_BASELINE = re.compile("[A-Za-z0-9._-]{1,200}")


def encode_commit(
    commit: CommitId,
    shards: int,
    panes: Sequence[PaneDelta],
    partitions: Sequence[PartitionProgress],
    limit_bytes: int,
    *,
    written_ms: int,
) -> list[bytes]:
    """Return the parts of a commit for one shard, in order, none longer than the limit.

    Equal input gives equal bytes.

    Raises:
        StateError: One pane or the progress of one partition exceeds the limit.
    """
    head = Part(commit, _LONGEST, _LONGEST, shards, written_ms, (), ())
    room = free = limit_bytes - len(_encode(head)) - _LENGTHS_BYTES
    parts: list[dict[str, Any]] = [{}]
    for name, items in (("panes", panes), ("partitions", partitions)):
        for item in items:
            content = _ENCODER.encode(item)
            if len(content) > room:
                message = (
                    f"{_describe(item)} takes {len(content) + limit_bytes - room} bytes, and the partials "
                    f"topic accepts {limit_bytes} in a record: raise its max.message.bytes"
                )
                raise StateError(message)
            if len(content) > free:
                parts.append({})
                free = room
            free -= len(content)
            parts[-1].setdefault(name, []).append(msgspec.Raw(content))
    return [_encode(replace(head, index=index, parts=len(parts), **part)) for index, part in enumerate(parts)]


def decode_part(value: bytes) -> Part:
    """Return the part that a record holds.

    Raises:
        StateError: The record is of another version, or damaged.
    """
    check_version(_NAME, value, _VERSION)
    return _FORMAT.decode(_NAME, value)


def _encode(part: Part) -> bytes:
    return bytes([_VERSION]) + _ENCODER.encode(part)


def _describe(item: PaneDelta | PartitionProgress) -> str:
    if isinstance(item, PartitionProgress):
        return f"the progress of {name_partition(item.partition)}"
    return f"one pane of stream {item.stream}"


def _check(part: Part) -> None:
    require(0 <= part.index < part.parts, "the index of the part is not below the number of parts")
    streams = {pane.stream for pane in part.panes}.union(*(each.streams for each in part.partitions))
    require(all(map(_STREAM_NAME.fullmatch, streams)), "a stream has no valid name")
    for pane in part.panes:
        size_ms, start_ms = pane.scheme.pane_ms, pane.start_ms
        is_pane = 0 < size_ms <= MAX_TIME_MS and 0 <= start_ms <= MAX_TIME_MS
        require(is_pane, "a pane has no length, or no place in time")
        require(_BASELINE.fullmatch(pane.scheme.baseline), "a baseline has no valid name")
        require(pane.values.shape == (pane.scheme.length,), "a tally is not as long as its scheme requires")
        require(pane.events >= 0, "a number of events is negative")
    rows = [
        (
            each.partition[1],
            each.partitions,
            each.start,
            each.end,
            each.lost,
            each.since_ms,
            each.caught_up_ms or 0,
        )
        for each in part.partitions
    ]
    numbers = np.array(rows, np.int64).reshape(-1, 7)
    require((numbers[:, :5] >= 0).all(), "an offset or a number is negative")
    require((numbers[:, :2] <= MAX_PARTITIONS).all(), "a topic has too many partitions")
    times = [time for each in part.partitions for read in each.streams.values() for time in read]
    marked = np.concatenate([np.array(times, np.int64), numbers[:, 5:].ravel()])
    require((np.abs(marked) <= MAX_TIME_MS).all(), "a time is out of range")


_FORMAT = Format[Part](Part, _check)
