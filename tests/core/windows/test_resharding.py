"""Resharding: streams move whole, progress and totals are kept, and shards that differ are refused."""

from collections import Counter

import numpy as np
import pytest

from driftgauge.core.counting.partial import shard_of
from driftgauge.core.windows.changelog import (
    PositionKey,
    ShardPosition,
    SourceBlock,
    SourcesKey,
    StreamKey,
    StreamStatus,
)
from driftgauge.core.windows.resharding import ShardsDifferError, reshard

STREAMS = {f"stream-{number}": StreamStatus(watermark_ms=number) for number in range(50)}
SOURCES = SourcesKey("embeddings", 0)


def build_shards(shards, offset=7):
    """Return the changelog contents of shards that have applied the same offsets, log times aside."""
    contents = []
    for shard in range(shards):
        sources = SourceBlock("", 1, np.array([[offset, shard]], np.int64))
        position = ShardPosition(shards, 90 + shard, 1_000 + shard, "w", gaps=shard, overlaps=1, orphans=2)
        own = {StreamKey(name): status for name, status in STREAMS.items() if shard_of(name, shards) == shard}
        contents.append({SOURCES: sources, **own, PositionKey(): position})
    return contents


@pytest.mark.parametrize(("before", "after"), [(3, 5), (4, 2), (2, 2)])
def test_streams_move_whole_to_their_new_shards(before, after):
    renewed = reshard(build_shards(before), after, "reshard")
    assert len(renewed) == after
    moved = Counter()
    for shard, content in enumerate(renewed):
        *_, last = content
        assert last == PositionKey()
        np.testing.assert_array_equal(content[SOURCES].values[:, 0], [7])
        for key, value in content.items():
            if isinstance(key, StreamKey):
                assert shard_of(key.stream, after) == shard
                assert value == STREAMS[key.stream]
                moved[key.stream] += 1
    assert moved == Counter(STREAMS.keys())


def test_new_shards_begin_their_partials_and_keep_the_sums():
    positions = [content[PositionKey()] for content in reshard(build_shards(3), 4, "reshard")]
    assert {(each.shards, each.offset, each.log_ms, each.writer) for each in positions} == {
        (4, 0, 1_002, "reshard")
    }
    sums = [sum(getattr(each, name) for each in positions) for name in ("gaps", "overlaps", "orphans")]
    assert sums == [3, 3, 6]


def test_shards_that_applied_other_offsets_are_refused():
    first, _ = build_shards(2)
    _, ahead = build_shards(2, offset=8)
    with pytest.raises(ShardsDifferError, match="shards 0 and 1 have not applied the same offsets"):
        reshard([first, ahead], 4, "reshard")
