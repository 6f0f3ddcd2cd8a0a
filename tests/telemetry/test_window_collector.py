import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from driftgauge.telemetry.window_collector import WindowCollector
from tests.telemetry.builders import DAY_MS, HOUR_MS, build_result

HOURLY = {"stream": "images", "window": "1h"}
SCORE_GAUGES = (
    "driftgauge_window_js_divergence",
    "driftgauge_window_js_distance",
    "driftgauge_window_noise_floor",
)


@pytest.fixture
def collector():
    return WindowCollector()


@pytest.fixture
def value(collector):
    registry = CollectorRegistry()
    registry.register(collector)
    return lambda name, **labels: registry.get_sample_value(f"driftgauge_{name}", labels)


def names_of_samples(collector):
    return {sample.name for family in collector.collect() for sample in family.samples}


def test_nothing_is_shown_before_the_first_window(collector):
    assert names_of_samples(collector) == set()


def test_describe_names_what_collect_yields(collector):
    assert [family.name for family in collector.describe()] == [family.name for family in collector.collect()]


def test_a_scored_window_shows_its_score_and_place(collector, value):
    result = build_result(number=5, revision=2)
    collector.close([result], closed_ms=1_700_000_000_250)
    assert value("window_js_divergence", **HOURLY) == result.score.js_divergence
    assert value("window_js_distance", **HOURLY) == result.score.js_distance
    assert value("window_noise_floor", **HOURLY) == result.score.noise_floor
    assert value("window_events", **HOURLY) == 100
    assert value("window_revision", **HOURLY) == 2
    assert value("window_end_timestamp_seconds", **HOURLY) == 6 * 3600
    assert value("window_closed_timestamp_seconds", **HOURLY) == 1_700_000_000.25
    assert [value("window_cluster_ratio", **HOURLY, cluster=str(i)) for i in range(4)] == [0.1, 0.2, 0.3, 0.4]


def test_the_contributions_of_the_clusters_sum_to_the_divergence(collector, value):
    collector.close([build_result()], closed_ms=0)
    parts = [value("window_cluster_js_contribution", **HOURLY, cluster=str(i)) for i in range(4)]
    assert min(parts) > 0
    assert sum(parts) == pytest.approx(value("window_js_divergence", **HOURLY), abs=1e-15)


def test_a_window_with_too_few_events_removes_the_score_and_still_advances(collector, value):
    collector.close([build_result(number=1)], closed_ms=0)
    collector.close([build_result((1, 2, 0, 1), number=2)], closed_ms=0)
    assert names_of_samples(collector).isdisjoint(
        {*SCORE_GAUGES, "driftgauge_window_cluster_js_contribution"}
    )
    assert value("window_events", **HOURLY) == 4
    assert value("window_end_timestamp_seconds", **HOURLY) == 3 * 3600
    assert value("window_cluster_ratio", **HOURLY, cluster="1") == 0.5


def test_a_window_without_events_has_no_ratios(collector, value):
    collector.close([build_result((0, 0, 0, 0))], closed_ms=0)
    assert value("window_events", **HOURLY) == 0
    assert "driftgauge_window_cluster_ratio" not in names_of_samples(collector)


def test_a_correction_of_an_older_window_does_not_replace_a_newer_one(collector, value):
    collector.close([build_result(number=2)], closed_ms=2_000)
    collector.close([build_result((25, 25, 25, 25), number=1, revision=3)], closed_ms=3_000)
    assert value("window_end_timestamp_seconds", **HOURLY) == 3 * 3600
    assert value("window_revision", **HOURLY) == 0
    assert value("window_closed_timestamp_seconds", **HOURLY) == 2


def test_a_correction_of_the_newest_window_replaces_it(collector, value):
    collector.close([build_result(number=2)], closed_ms=2_000)
    collector.close([build_result((50, 50, 50, 50), number=2, revision=1)], closed_ms=3_000)
    assert value("window_revision", **HOURLY) == 1
    assert value("window_events", **HOURLY) == 200


@given(st.permutations([(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 0)]))
def test_the_newest_window_wins_in_whatever_order_they_come(places):
    collector = WindowCollector()
    for number, revision in places:
        collector.close([build_result(number=number, revision=revision)], closed_ms=0)
    registry = CollectorRegistry()
    registry.register(collector)
    end = registry.get_sample_value("driftgauge_window_end_timestamp_seconds", HOURLY)
    assert (end, registry.get_sample_value("driftgauge_window_revision", HOURLY)) == (4 * 3600, 0)


def test_streams_and_window_sizes_stand_side_by_side(collector, value):
    collector.close(
        [build_result(), build_result(size_ms=DAY_MS, stream="texts"), build_result(size_ms=DAY_MS)],
        closed_ms=0,
    )
    assert value("window_end_timestamp_seconds", stream="images", window="1h") == 2 * 3600
    assert value("window_end_timestamp_seconds", stream="images", window="1d") == 2 * 86_400
    assert value("window_end_timestamp_seconds", stream="texts", window="1d") == 2 * 86_400
    assert value("window_end_timestamp_seconds", stream="texts", window="1h") is None


def test_event_time_shows_per_stream_and_an_unknown_watermark_is_absent(collector, value):
    collector.advance({"images": 7_500}, {("images", HOUR_MS): 3, ("texts", HOUR_MS): 0})
    assert value("watermark_timestamp_seconds", stream="images") == 7.5
    assert value("watermark_timestamp_seconds", stream="texts") is None
    assert value("windows_open", stream="images", window="1h") == 3
    assert value("windows_open", stream="texts", window="1h") == 0


def test_clearing_removes_every_series(collector):
    collector.close([build_result()], closed_ms=0)
    collector.advance({"images": 1}, {("images", HOUR_MS): 1})
    collector.clear()
    assert names_of_samples(collector) == set()


def test_a_scrape_begun_before_a_window_closes_shows_the_window_before_throughout(collector):
    collector.close([build_result((10, 20, 30, 40), number=1)], closed_ms=0)
    scrape = collector.collect()
    first = next(scrape)
    collector.close([build_result((100, 100, 0, 0), number=2)], closed_ms=0)
    samples = [sample for family in [first, *scrape] for sample in family.samples]
    values = {(sample.name, sample.labels.get("cluster")): sample.value for sample in samples}
    assert values["driftgauge_window_events", None] == 100
    assert values["driftgauge_window_end_timestamp_seconds", None] == 2 * 3600
    assert values["driftgauge_window_cluster_ratio", "3"] == 0.4


def test_scrapes_during_a_run_of_closings_never_mix_two_windows(collector):
    results = [build_result((20 + number, 0, 0, 0), number=number) for number in range(500)]
    collector.close(results[:1], closed_ms=0)

    def close_them_all():
        for result in results:
            collector.close([result], closed_ms=0)

    writer = threading.Thread(target=close_them_all)
    writer.start()
    seen = set()
    while True:
        last_round = not writer.is_alive()
        values = {
            sample.name: sample.value
            for family in collector.collect()
            for sample in family.samples
            if "cluster" not in sample.labels
        }
        number = values["driftgauge_window_end_timestamp_seconds"] / 3600 - 1
        assert values["driftgauge_window_events"] == 20 + number
        seen.add(number)
        if last_round:
            break
    writer.join()
    assert max(seen) == 499
