"""The metrics of the shards that are held: totals, configuration, freshness, and scrapes of one state."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.config import StreamLabels
from driftgauge.core.windows.result import Verdict
from driftgauge.core.windows.window import Window
from driftgauge.telemetry.health import Health, Role
from driftgauge.telemetry.metrics import Telemetry
from driftgauge.telemetry.roles import RoleTelemetry
from driftgauge.telemetry.snapshot import WatchedStream, take_snapshot
from driftgauge.telemetry.window_collector import WindowCollector
from tests.builders.clocks import DAY_MS, HOUR_MS, ManualClock
from tests.builders.results import build_result
from tests.builders.specs import build_minute_spec
from tests.builders.telemetry import (
    STREAMS,
    build_shard,
    read_samples,
    registry_of,
    sample_reader,
)
from tests.core.shard import Shard, read_now


def test_totals_alarm_and_chain_come_from_shard_state(show, exported):
    show(
        build_result((1, 0, 0, 0), verdict=Verdict.DRIFT),
        build_result((1, 0, 0, 0), Window(HOUR_MS, 5 * HOUR_MS), verdict=Verdict.INCOMPLETE),
        shard=3,
        chain=(1, 2, 4),
        late={HOUR_MS: 5},
        closed={(HOUR_MS, Verdict.OK): 3, (HOUR_MS, Verdict.DRIFT): 1, (2 * HOUR_MS, Verdict.OK): 9},
    )
    (closed,) = exported("windows_closed_total").values()
    assert {labels: number for labels, number in closed.items() if number} == {
        "images ok 1h": 3,
        "images drift 1h": 1,
    }
    expected: dict[str, dict[str, float]] = {
        "alarm_active": {"images 1h": 1, "images 1d": 0},
        "late_events_total": {"images 1h": 5, "images 1d": 0},
        "partials_faults_total": {"gap 3": 1, "overlap 3": 2, "orphans 3": 4},
    }
    assert exported(*expected) == expected
    show(build_result(), shard=3)
    assert exported("alarm_active")["alarm_active"]["images 1h"] == 0


def test_stream_without_windows_exports_configuration_and_zero_totals(show, exported, collector, snapshot):
    show(streams=("images", "texts"))
    samples = read_samples(registry_of(collector))
    assert samples == snapshot
    expected: dict[str, dict[str, float]] = {
        "window_overdue_threshold_seconds": {"images 1h": 7_530, "texts 1h": 43_200},
        "p_value_threshold": {"images": 0.001},
        "excess_threshold": {"mix images": 0.005},
        "stream_info": {
            "sha256:abc v7  warning images ": 1,
            "sha256:abc v7 ada@example.com critical texts search": 1,
        },
    }
    for name, part in expected.items():
        assert part.items() <= samples[name].items(), name


def test_entry_of_several_streams_exports_its_streams_until_they_retire():
    spec = build_minute_spec("tenant-*", most=2)
    watched = WatchedStream(spec, {}, StreamLabels(), lambda size_ms: 2 * size_ms)
    roles = [Role.COUNT, Role.WINDOWS]
    telemetry = Telemetry(
        "0.1.0", [watched], ["embeddings"], "partials", Health(roles, SYSTEM_CLOCK), roles, SYSTEM_CLOCK
    )
    shard = Shard(spec)

    def exported(**changes):
        shard.commit(caught_up=True, **changes)
        RoleTelemetry(telemetry, Role.WINDOWS, 1).show(0, shard.state)
        names = ("match_streams", "surplus_events_total", "late_events_total")
        streams, surplus, late = sample_reader(telemetry.registry)(*names).values()
        assert streams.keys() == {"tenant-* 0 admitted", "tenant-* 0 allowed"}
        return [*streams.values(), surplus["tenant-* 0"]], set(late)

    assert exported() == ([0, 2, 0], set())
    for stream in ("tenant-a", "tenant-b", "tenant-c"):
        read_now(shard, 0, 0, 0, stream=stream)
    both = {"tenant-a 1m", "tenant-b 1m"}
    assert exported() == ([2, 2, 3], both)
    assert exported(after_ms=HOUR_MS) == ([2, 2, 3], both)
    assert exported(after_ms=8 * DAY_MS) == ([0, 2, 3], set())
    read_now(shard, 0, stream="tenant-c")
    assert exported() == ([1, 2, 3], {"tenant-c 1m"})


def test_watermark_follows_shard(show, exported):
    show()
    assert exported("watermark_timestamp_seconds") == {"watermark_timestamp_seconds": {}}
    show(final_ms=26 * HOUR_MS, watermark_ms=30_500)
    assert exported("watermark_timestamp_seconds") == {"watermark_timestamp_seconds": {"images": 30.5}}


def test_unconfigured_streams_and_sizes_are_absent(show, exported):
    show(build_result(stream="elsewhere"), build_result(size_ms=2 * HOUR_MS))
    assert exported("window_events", "alarm_active") == {
        "window_events": {},
        "alarm_active": {"images 1h": 0, "images 1d": 0},
    }


def test_shard_is_exported_while_held_and_until_15_s_after_its_last_commit(collector, show, clock, exported):
    def streams():
        return set(exported("p_value_threshold")["p_value_threshold"])

    assert read_samples(registry_of(collector)) == {}
    show(build_result())
    clock.advance(10)
    show(build_result(stream="texts", size_ms=DAY_MS), shard=1, streams=("texts",))
    ends = {"images 1h": 2 * 3600, "texts 1d": 2 * 86_400}
    assert exported("window_end_timestamp_seconds") == {"window_end_timestamp_seconds": ends}
    clock.advance(5)
    assert streams() == {"images", "texts"}
    clock.advance(0.001)
    assert streams() == {"texts"}
    faults = {f"{reason} 1": 0 for reason in ("gap", "overlap", "orphans")}
    assert exported("partials_faults_total") == {"partials_faults_total": faults}
    show(build_result())
    collector.keep_only([0, 1, 2])
    assert streams() == {"images", "texts"}
    collector.keep_only([1, 2])
    assert streams() == {"texts"}
    collector.keep_only([])
    assert read_samples(registry_of(collector)) == {}


@given(st.permutations([1, 2, 3, 4]))
def test_newest_window_is_exported_for_any_order_of_restore(numbers):
    collector = WindowCollector(STREAMS, ManualClock().clock)
    state = build_shard(*(build_result(number=number) for number in numbers))
    collector.show(0, take_snapshot(state, ["images"]))
    samples = read_samples(registry_of(collector))
    assert samples["window_end_timestamp_seconds"] == {"images 1h": 5 * 3600}


def test_concurrent_scrapes_never_mix_two_windows(collector, close):
    close(counts=(20, 0, 0, 0), number=0)

    def close_all():
        for number in range(1, 500):
            close(counts=(20 + number, 0, 0, 0), number=number)

    writer = threading.Thread(target=close_all)
    writer.start()
    seen = set()
    while True:
        last_round = not writer.is_alive()
        values = {sample.name: sample.value for family in collector.collect() for sample in family.samples}
        number = values["driftgauge_window_end_timestamp_seconds"] / 3600 - 1
        assert values["driftgauge_window_events"] == 20 + number
        seen.add(number)
        if last_round:
            break
    writer.join()
    assert max(seen) == 499
