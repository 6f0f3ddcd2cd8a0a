"""Schemes of tallies, their keys, and the shards of streams."""

from dataclasses import replace

import pytest

from driftgauge.core.counting.partial import shard_of
from tests.builders.batches import build_tally
from tests.builders.clocks import MINUTE_MS
from tests.builders.references import FIRST
from tests.builders.specs import build_spec

SCHEME = build_spec().scheme(FIRST)


def test_length_is_that_of_tally():
    assert SCHEME.length == len(build_tally(1, 2, 3, 4))


@pytest.mark.parametrize(
    "change",
    [
        {"baseline": "0123456789abcdef"},
        {"pane_ms": MINUTE_MS},
        {"segment_keys": ("country",)},
        {"statistics": (*SCHEME.statistics, ("norms", 1))},
    ],
)
def test_key_changes_with_every_field(change):
    assert replace(SCHEME, **change).key != SCHEME.key
    assert replace(SCHEME).key == SCHEME.key
    assert SCHEME.key.startswith(FIRST.key)


def test_shard_of_stream_is_same_in_every_process():
    assert [shard_of(name, 16) for name in ("images", "texts")] == [10, 15]  # crc32, not Python's own hash
    shards = [shard_of(f"stream-{number}", 4) for number in range(200)]
    assert min(map(shards.count, range(4))) > 25
