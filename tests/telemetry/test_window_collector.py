"""The window collector: held shards, freshness, streams, consistency of scrapes."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.windows.result import Verdict
from driftgauge.telemetry.snapshot import take_snapshot
from driftgauge.telemetry.window_collector import WindowCollector
from tests.builders.clocks import DAY_MS, HOUR_MS, ManualClock
from tests.builders.results import build_result
from tests.builders.telemetry import (
    DAILY,
    HOURLY,
    STREAMS,
    build_shard,
    collector_reader,
    exported_names,
    exported_samples,
)

# The metrics that do not come from the newest windows.
ALWAYS = {
    "driftgauge_windows_open",
    "driftgauge_alarm_active",
    "driftgauge_late_events_total",
    "driftgauge_window_revisions_total",
    "driftgauge_windows_closed_total",
    "driftgauge_window_duration_seconds",
    "driftgauge_window_min_events",
    "driftgauge_window_overdue_seconds",
    "driftgauge_alarm_p_value",
    "driftgauge_alarm_js_excess",
    "driftgauge_alarm_mean_shift_excess",
    "driftgauge_alarm_novelty_excess_ratio",
    "driftgauge_alarm_spread_excess_ratio",
    "driftgauge_alarm_duplicates_ratio",
    "driftgauge_alarm_severity_info",
    "driftgauge_baseline_info",
    "driftgauge_baseline_created_timestamp_seconds",
    "driftgauge_partials_gap_total",
    "driftgauge_partials_overlap_total",
    "driftgauge_partials_orphans_total",
}


def test_collector_without_shards_exports_nothing(collector):
    assert exported_samples(collector) == []


def test_describe_yields_families_of_collect_without_samples(collector, close):
    close()
    described = list(collector.describe())
    assert [family.name for family in described] == [family.name for family in collector.collect()]
    assert not any(family.samples for family in described)


def test_stream_without_windows_exports_configuration_and_zero_totals(collector, show, exported):
    show()
    assert exported_names(collector) == ALWAYS
    for window in ("1h", "1d"):
        labels = {"stream": "images", "window": window}
        for name in ("windows_open", "alarm_active", "late_events_total", "window_revisions_total"):
            assert exported(name, **labels) == 0
        assert {exported("windows_closed_total", **labels, verdict=verdict) for verdict in Verdict} == {0}


def test_stream_of_unheld_shard_is_absent(collector, show):
    show()
    assert {sample.labels.get("stream", "images") for sample in exported_samples(collector)} == {"images"}
    show(shard=1, streams=("texts",))
    assert {sample.labels.get("stream", "images") for sample in exported_samples(collector)} == {
        "images",
        "texts",
    }


def test_shard_expires_15_s_after_last_commit(collector, show, clock):
    show(build_result())
    clock.advance(10)
    show(shard=1, streams=("texts",))
    clock.advance(5)
    assert {
        sample.labels["stream"] for sample in exported_samples(collector) if "stream" in sample.labels
    } == {
        "images",
        "texts",
    }
    clock.advance(0.001)
    assert {sample.labels.get("stream", "texts") for sample in exported_samples(collector)} == {"texts"}
    assert {sample.labels["shard"] for sample in exported_samples(collector) if "shard" in sample.labels} == {
        "1"
    }
    show(build_result())
    assert "images" in {sample.labels.get("stream") for sample in exported_samples(collector)}


def test_reassigned_shard_is_removed_at_once(collector, show):
    show(build_result())
    show(shard=1, streams=("texts",))
    collector.keep_only([0, 1, 2])
    assert len({sample.labels.get("stream") for sample in exported_samples(collector)} - {None}) == 2
    collector.keep_only([1, 2])
    assert {sample.labels.get("stream", "texts") for sample in exported_samples(collector)} == {"texts"}
    collector.keep_only([])
    assert exported_samples(collector) == []
    assert len(list(collector.collect())) == len(list(collector.describe())), "families without a sample"


@given(st.permutations([1, 2, 3, 4]))
def test_newest_window_is_exported_for_any_order_of_restore(numbers):
    collector = WindowCollector(STREAMS, ManualClock().clock)
    state = build_shard(*(build_result(number=number) for number in numbers))
    collector.show(0, take_snapshot(state, ["images"]))
    assert collector_reader(collector)("window_end_timestamp_seconds", **HOURLY) == 5 * 3600


def test_streams_and_window_sizes_have_separate_series(show, exported):
    show(build_result(), build_result(size_ms=DAY_MS))
    show(build_result(size_ms=DAY_MS, stream="texts"), shard=1, streams=("texts",))
    assert exported("window_end_timestamp_seconds", **HOURLY) == 2 * 3600
    assert exported("window_end_timestamp_seconds", **DAILY) == 2 * 86_400
    assert exported("window_end_timestamp_seconds", stream="texts", window="1d") == 2 * 86_400
    assert exported("window_end_timestamp_seconds", stream="texts", window="1h") is None


def test_unconfigured_streams_and_sizes_are_absent(collector, show):
    show(build_result(stream="elsewhere"), build_result(size_ms=2 * HOUR_MS))
    assert exported_names(collector) == ALWAYS
    assert {sample.labels.get("stream", "images") for sample in exported_samples(collector)} == {"images"}
    assert {sample.labels.get("window", "1h") for sample in exported_samples(collector)} == {"1h", "1d"}


def test_scrape_begun_before_closing_shows_one_state(collector, close):
    close((10, 20, 30, 40), number=1)
    scrape = collector.collect()
    first = next(scrape)
    close((100, 100, 0, 0), number=2)
    samples = [sample for family in [first, *scrape] for sample in family.samples]
    values = {(sample.name, sample.labels.get("cluster_id")): sample.value for sample in samples}
    assert values["driftgauge_window_events", None] == 100
    assert values["driftgauge_window_end_timestamp_seconds", None] == 2 * 3600
    assert values["driftgauge_window_cluster_ratio", "3"] == 0.4


def test_concurrent_scrapes_never_mix_two_windows(collector, close):
    close((20, 0, 0, 0), number=0)

    def close_all():
        for number in range(1, 500):
            close((20 + number, 0, 0, 0), number=number)

    writer = threading.Thread(target=close_all)
    writer.start()
    seen = set()
    while True:
        last_round = not writer.is_alive()
        values = {
            sample.name: sample.value
            for sample in exported_samples(collector)
            if "cluster_id" not in sample.labels
        }
        number = values["driftgauge_window_end_timestamp_seconds"] / 3600 - 1
        assert values["driftgauge_window_events"] == 20 + number
        seen.add(number)
        if last_round:
            break
    writer.join()
    assert max(seen) == 499
