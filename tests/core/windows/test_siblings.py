"""Streams that share an entry share how their windows vary until each has measured its own."""

from driftgauge.core.judging.calibration import Source
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.references import FIRST
from tests.builders.specs import build_minute_spec
from tests.core.shard import Shard

MIX = (0, 0, 0, 0, 1, 1, 1, 2, 2, 3) * 3


def run_days(shard, days, *streams):
    """Let each stream have one window a day; return the sources of its calibration."""
    sources = []
    for day in days:
        shard.now_ms = MONDAY_MS + day * DAY_MS
        for stream in streams:
            shard.read(*((shard.now_ms, (cluster + (day % 9 == 8)) % 4) for cluster in MIX), stream=stream)
        shard.commit(caught_up=True)
        results = shard.commit(after_ms=HOUR_MS, caught_up=True)
        sources.append({each.stream: each.calibration.source for each in results})
    return sources


def test_stream_borrows_from_its_sibling_and_keeps_it():
    # Retired streams keep what they measured, and a stream with an entry of its own takes no part.
    shard = Shard(build_minute_spec("tenant-*", most=9), build_minute_spec("tenant-own"))
    sources = run_days(shard, range(15), "tenant-a")
    assert [each["tenant-a"] for each in sources] == [Source.NONE] * 14 + [Source.FIRST_WINDOWS]
    shard.restart()
    (sources,) = run_days(shard, [15], "tenant-a", "tenant-b", "tenant-own")
    assert sources == {
        "tenant-a": Source.FIRST_WINDOWS,
        "tenant-b": Source.BORROWED,
        "tenant-own": Source.NONE,
    }
    # The sibling is forgotten.
    run_days(shard, range(16, 56), "tenant-c")
    assert "tenant-a" not in shard.state.streams
    assert (MINUTE_MS, FIRST.key) in shard.state.streams["tenant-c"].calibrations
