"""Streams that share an entry: a shard admits `most` of them, and they share how their windows vary."""

import pytest

from driftgauge.core.judging.calibration import Source
from driftgauge.core.windows.admission import EntryStreams
from tests.builders.batches import at
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.references import FIRST
from tests.builders.specs import build_minute_spec, build_spec
from tests.core.shard import Shard, read_and_commit

TENANTS = "tenant-*"
EACH_WAY = pytest.mark.parametrize(
    "specs",
    [
        pytest.param([build_spec(TENANTS, most=2)], id="larger most"),
        pytest.param([build_spec(TENANTS, most=1), build_spec("tenant-b")], id="entry of its own"),
        pytest.param([build_spec("*-b", most=1)], id="other pattern"),
    ],
)


def tenants(most, *others, match=TENANTS):
    return [build_spec(match, most=most), *map(build_spec, others)]


def read(shard, *streams, hours=0.0, partition=0, number=1):
    """Let the shard read this many events of each stream, and commit; return the counts by stream."""
    for stream in streams:
        shard.read(*[at(hours)] * number, stream=stream, partition=partition)
    return {result.stream: result.count for result in shard.commit()}


def held(shard):
    return set(shard.state.streams)


def test_shard_admits_streams_in_the_order_of_its_log_and_counts_them_whole():
    # Two replicas read a partition each. The one would admit b, and the other a.
    shard = Shard(*tenants(1), partitions=2)
    read(shard, "tenant-b", partition=0, number=5)
    read(shard, "tenant-a", partition=1, number=5)
    read(shard, "tenant-a", partition=0, number=5)
    read(shard, "tenant-b", partition=1, number=5)
    read(shard, "tenant-b", hours=1, partition=0)
    assert read(shard, "tenant-b", hours=1, partition=1) == {"tenant-b": 10}
    assert held(shard) == {"tenant-b"}
    assert shard.state.entries == {TENANTS: EntryStreams(admitted=1, most=1, surplus=10)}


@pytest.mark.parametrize("restarts", [False, True])
def test_surplus_leaves_no_key_but_a_count(restarts):
    shard = Shard(*tenants(2))
    read(shard, "tenant-a", "tenant-b")
    keys = set(shard.changelog)
    for number in range(30):
        if restarts:
            shard.restart()
        read(shard, f"tenant-{number}", "tenant-a", number=2)
    assert set(shard.changelog) == keys
    assert shard.state.entries == {TENANTS: EntryStreams(2, 2, 60)}


def test_round_names_entry_and_first_streams_of_surplus():
    shard = Shard(*tenants(1))
    for stream in ("tenant-a", *(f"tenant-{number}" for number in reversed(range(9)))):
        shard.read(at(0), at(0), stream=stream)
    shard.write()
    shard.apply()
    (surplus,) = shard.state.close_windows().surplus
    assert (surplus.match, surplus.most, surplus.number) == (TENANTS, 1, 18)
    assert surplus.streams == ("tenant-8", "tenant-7", "tenant-6", "tenant-5", "tenant-4")


def test_lowered_most_keeps_admitted_streams_and_admits_no_other():
    shard = Shard(*tenants(3))
    read(shard, "tenant-a", "tenant-b", "tenant-c")
    shard.restart(*tenants(2))
    read(shard, "tenant-a", "tenant-c", "tenant-d")
    assert held(shard) == {"tenant-a", "tenant-b", "tenant-c"}
    assert shard.state.entries == {TENANTS: EntryStreams(3, 2, 1)}
    shard.restart(*tenants(4))
    read(shard, "tenant-d", "tenant-e")
    assert shard.state.entries == {TENANTS: EntryStreams(4, 4, 2)}


def test_first_pattern_counts_stream_and_own_entry_takes_no_place():
    first, *others = tenants(1, "tenant-own")
    second = build_spec("*", most=1)
    shard = Shard(first, *others, second)
    read(shard, "tenant-a", "tenant-own", "clip", "tenant-b")
    assert held(shard) == {"tenant-a", "tenant-own", "clip"}
    assert shard.state.entries == {TENANTS: EntryStreams(1, 1, 1), "*": EntryStreams(1, 1, 0)}
    # The stream that has an entry of its own now gives back its place.
    shard.restart(first, *others, second, build_spec("tenant-a"))
    read(shard, "tenant-b")
    assert shard.state.entries == {TENANTS: EntryStreams(1, 1, 1), "*": EntryStreams(1, 1, 0)}
    # Without its entry the stream is of the pattern again, which has one more than it is for.
    shard.restart(first, second)
    read(shard, "tenant-a", "tenant-own", "tenant-c")
    assert shard.state.entries == {TENANTS: EntryStreams(3, 1, 2), "*": EntryStreams(1, 1, 0)}


@EACH_WAY
def test_stream_that_is_admitted_later_has_no_complete_window_without_its_surplus(specs):
    shard = Shard(*tenants(1))
    read(shard, "tenant-a", hours=0.1)
    read(shard, "tenant-b", hours=0.2)
    shard.restart(*specs)
    read_and_commit(shard, at(0.8), at(0.9), stream="tenant-b")
    shard.restart()
    results = read_and_commit(shard, at(1), at(2), stream="tenant-b")
    assert [(each.count, each.incomplete_reason) for each in results] == [(2, "panes_purged"), (1, None)]


def test_streams_without_an_entry_are_all_kept():
    shard = Shard(*tenants(1), build_spec("images"))
    for number in range(5):
        shard.read(at(0), stream=f"tenant-{number}")
    shard.write()
    shard.restart(build_spec("images"))
    shard.apply()
    shard.close()
    assert len(held(shard)) == 5
    assert shard.state.entries == {}
    shard.restart(*tenants(1))
    assert read(shard, "tenant-3", "tenant-5", hours=1) == {"tenant-3": 1}
    assert shard.state.entries == {TENANTS: EntryStreams(5, 1, 1)}


MIX = (0, 0, 0, 0, 1, 1, 1, 2, 2, 3) * 3


def measure_days(shard, days, *streams):
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
    sources = measure_days(shard, range(15), "tenant-a")
    assert [each["tenant-a"] for each in sources] == [Source.NONE] * 14 + [Source.FIRST_WINDOWS]
    shard.restart()
    (sources,) = measure_days(shard, [15], "tenant-a", "tenant-b", "tenant-own")
    assert sources == {
        "tenant-a": Source.FIRST_WINDOWS,
        "tenant-b": Source.BORROWED,
        "tenant-own": Source.NONE,
    }
    # The sibling is forgotten.
    measure_days(shard, range(16, 56), "tenant-c")
    assert "tenant-a" not in shard.state.streams
    assert (MINUTE_MS, FIRST.key) in shard.state.streams["tenant-c"].calibrations
