"""The codec of the partials topic: the parts of a commit for one shard; see `schemas/partial.md`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from driftgauge.core.counting.numbers import TALLY_ROWS
from driftgauge.core.counting.partial import CommitId, CommitPart, PaneDelta, PartitionProgress
from driftgauge.records.messagepack import MAX_PARTITIONS, Format, envelope, refusing_damage, require

__all__ = ["decode_part", "encode_commit"]

_NAME = "a record of the partials"
# `deterministic` sorts the streams of a partition, so that equal commits have equal bytes.
_ENCODER = msgspec.msgpack.Encoder(enc_hook=np.ndarray.tolist, order="deterministic")
# Placeholders for the index and the number of parts, as long as any.
_LONGEST = 2**32 - 1
# What the lengths of two lists take more than those of empty ones.
_LENGTHS_BYTES = 8
_FORMAT = Format[CommitPart](CommitPart)


def encode_commit(
    commit: CommitId,
    shards: int,
    panes: Sequence[PaneDelta],
    partitions: Sequence[PartitionProgress],
    part_bytes: int,
    *,
    written_ms: int,
) -> list[bytes]:
    """Return the parts of a commit for one shard, in order.

    A part takes more than `part_bytes` only if it holds one pane or one progress alone, which only the topic
    and the client refuse. Equal input gives equal bytes.
    """
    head = CommitPart(commit, _LONGEST, _LONGEST, shards, written_ms, (), ())
    names = _FORMAT.must_understand((panes, partitions))
    room = free = part_bytes - len(envelope(names, _ENCODER.encode(head))) - _LENGTHS_BYTES
    parts: list[dict[str, Any]] = [{}]
    for name, items in (("panes", panes), ("partitions", partitions)):
        for item in items:
            content = _ENCODER.encode(item)
            if len(content) > free and parts[-1]:
                parts.append({})
                free = room
            free -= len(content)
            parts[-1].setdefault(name, []).append(msgspec.Raw(content))
    return [
        envelope(names, _ENCODER.encode(replace(head, index=index, parts=len(parts), **part)))
        for index, part in enumerate(parts)
    ]


def decode_part(value: bytes) -> CommitPart:
    """Return the part that a record holds.

    Raises:
        StateError: As `Format.decode`.
    """
    part = _FORMAT.decode(_NAME, value)
    with refusing_damage(_NAME):
        # A shorter one might be added to every number of the shard's; no window holds a pane without time.
        require(
            all(
                each.values.shape == (each.scheme.length,) and each.scheme.pane_ms > 0 for each in part.panes
            ),
            "a pane has no length, or a tally not that of its scheme",
        )
        require(
            all(
                tally.shape == (TALLY_ROWS, each.scheme.fields[0].length)
                for each in part.panes
                for tally in each.numbers.values()
            ),
            "the tally of a number is not by the clusters of its scheme",
        )
        numbers = [number for each in part.partitions for number in (each.partition[1], each.partitions)]
        require(all(0 <= number <= MAX_PARTITIONS for number in numbers), "a topic has too many partitions")
    return part
