"""Resharding: changelog contents of one number of shards rewritten for another."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from driftgauge.core.counting.partial import shard_of
from driftgauge.core.windows.changelog import (
    Key,
    PositionKey,
    ShardPosition,
    SourceBlock,
    SourcesKey,
    Value,
)

__all__ = ["ShardsDifferError", "reshard"]


class ShardsDifferError(ValueError):
    """The shards have not applied the same offsets of the source partitions."""


def reshard(contents: Sequence[Mapping[Key, Value]], shards: int, writer: str) -> list[dict[Key, Value]]:
    """Return the changelog contents of each new shard, the position last.

    Streams move to their new shards unchanged. The progress of the source partitions is the same in all
    shards once all partials are applied. The new shards begin at offset 0 of their own partials. The first
    new shard takes over the totals of the chain, so their sum does not change.

    Args:
        contents: The changelog contents of the old shards.
        shards: The number of new shards.
        writer: The writer of the new changelogs.

    Raises:
        ShardsDifferError: The old shards have not applied the same offsets: drain them first.
    """
    sources = _sources(contents)
    renewed: list[dict[Key, Value]] = [dict(sources) for _ in range(shards)]
    positions = []
    for content in contents:
        for key, value in content.items():
            if isinstance(key, PositionKey):
                positions.append(cast("ShardPosition", value))
            elif not isinstance(key, SourcesKey):
                renewed[shard_of(key.stream, shards)][key] = value
    log_ms = max(position.log_ms for position in positions)
    for shard, content in enumerate(renewed):
        first = positions if shard == 0 else []
        content[PositionKey()] = ShardPosition(
            shards,
            0,
            log_ms,
            writer,
            gaps=sum(position.gaps for position in first),
            overlaps=sum(position.overlaps for position in first),
            orphans=sum(position.orphans for position in first),
        )
    return renewed


def _sources(contents: Sequence[Mapping[Key, Value]]) -> dict[Key, Value]:
    """Return the progress of the source partitions, which all shards must share except for log times.

    Raises:
        ShardsDifferError: The end offsets of two shards differ.
    """
    first: dict[Key, Value] = {}
    for shard, content in enumerate(contents):
        own: dict[Key, Value] = {key: value for key, value in content.items() if isinstance(key, SourcesKey)}
        if shard == 0:
            first = own
        if own.keys() != first.keys() or not all(
            _is_equal(cast("SourceBlock", value), cast("SourceBlock", first[key]))
            for key, value in own.items()
        ):
            message = f"shards 0 and {shard} have not applied the same offsets of the events topics"
            raise ShardsDifferError(message)
    return first


def _is_equal(one: SourceBlock, other: SourceBlock) -> bool:
    return one.topic_id == other.topic_id and np.array_equal(one.values[:, 0], other.values[:, 0])
