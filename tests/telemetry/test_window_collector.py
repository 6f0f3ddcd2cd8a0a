import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from driftgauge.core.result import Verdict
from driftgauge.core.state import Change, FinalKey, PublishedKey
from driftgauge.core.table import Table
from driftgauge.core.windows.window import Window
from driftgauge.telemetry.window_collector import WindowCollector
from tests.results import build_score, build_segment, build_small_segment
from tests.telemetry.builders import (
    DAY_MS,
    HOME,
    HOUR_MS,
    build_result,
    build_spec,
    busy_table,
    count,
    publish,
    reach,
)

HOURLY = {"stream": "images", "window": "1h"}
SPECS = (build_spec("images"), build_spec("texts"))
SCORE_GAUGES = {
    "window_js_divergence": lambda score: score.js_divergence,
    "window_js_distance": lambda score: score.js_distance,
    "window_noise_floor": lambda score: score.noise_floor,
    "window_js_excess": lambda score: score.js_excess,
    "window_js_p_value": lambda score: score.js_p_value,
    "window_mean_shift_t2": lambda score: score.mean_shift.t2,
    "window_mean_shift_excess": lambda score: score.mean_shift.excess,
    "window_mean_shift_p_value": lambda score: score.mean_shift.p_value,
    "window_centroid_distance": lambda score: score.mean_shift.centroid_distance,
    "window_centroid_p_value": lambda score: score.mean_shift.centroid_p_value,
    "window_p_value": lambda score: score.p_value,
    "window_calibrated": lambda score: score.calibrated,
    "window_novelty_ratio": lambda score: score.novelty,
}
SEGMENT_GAUGES = (
    "window_segment_events",
    "window_segment_js_divergence",
    "window_segment_adjusted_p_value",
)
AWAY = "embeddings", 1


class Freshness:
    """Whether the table is up to date, as the test says."""

    is_fresh = True

    def __call__(self):
        return self.is_fresh


@pytest.fixture
def freshness():
    return Freshness()


@pytest.fixture
def collector(freshness):
    return WindowCollector(freshness)


@pytest.fixture
def table():
    table = Table()
    table.expect([HOME, AWAY])
    return table


@pytest.fixture
def show(collector, table):
    return lambda: collector.show(table, SPECS)


@pytest.fixture
def close(table, show):
    """Publish a window and show the table."""

    def _close(*counts, **window):
        publish(table, *counts, **window)
        show()

    return _close


@pytest.fixture
def value(collector):
    return value_of(collector)


def value_of(collector):
    registry = CollectorRegistry()
    registry.register(collector)
    return lambda name, **labels: registry.get_sample_value(f"driftgauge_{name}", labels)


def samples_of(collector):
    return [sample for family in collector.collect() for sample in family.samples]


def names_of_samples(collector):
    return {sample.name for sample in samples_of(collector)}


def test_nothing_is_shown_before_a_table_is(collector):
    assert names_of_samples(collector) == set()


def test_of_a_table_without_windows_only_that_none_is_open_is_shown(collector, show):
    show()
    assert names_of_samples(collector) == {"driftgauge_windows_open"}
    assert {sample.value for sample in samples_of(collector)} == {0}


def test_describe_names_what_collect_yields(collector):
    assert [family.name for family in collector.describe()] == [family.name for family in collector.collect()]


def test_a_scored_window_shows_its_score_and_place(close, value):
    close(number=5, revision=2, published_ms=1_700_000_000_250)
    score = build_result(number=5, revision=2).score
    shown = {name: value(name, **HOURLY) for name in SCORE_GAUGES}
    assert shown == {name: value_of(score) for name, value_of in SCORE_GAUGES.items()}
    assert len(set(shown.values())) == len(shown)
    assert value("window_events", **HOURLY) == 100
    assert value("window_revision", **HOURLY) == 2
    assert value("window_end_timestamp_seconds", **HOURLY) == 6 * 3600
    assert value("window_closed_timestamp_seconds", **HOURLY) == 1_700_000_000.25
    assert [value("window_cluster_ratio", **HOURLY, cluster_id=str(i)) for i in range(4)] == [
        0.1,
        0.2,
        0.3,
        0.4,
    ]


def test_the_sizes_of_the_contributions_of_the_clusters_sum_to_the_divergence(close, value):
    close()
    parts = [value("window_cluster_signed_js_contribution", **HOURLY, cluster_id=str(i)) for i in range(4)]
    assert min(map(abs, parts)) > 0
    assert sum(map(abs, parts)) == pytest.approx(value("window_js_divergence", **HOURLY), abs=1e-15)


def test_a_contribution_is_negative_where_a_share_has_fallen(close, value):
    close((10, 20, 30, 40))
    parts = [value("window_cluster_signed_js_contribution", **HOURLY, cluster_id=str(i)) for i in range(4)]
    assert [part < 0 for part in parts] == [True, True, False, False], "the baseline's are 40, 30, 20, 10"


def test_whether_the_p_values_are_calibrated_is_shown(close, value):
    for number, calibrated in enumerate([True, False]):
        close(number=number, score=build_score((10, 20, 30, 40), calibrated=calibrated))
        assert value("window_calibrated", **HOURLY) == calibrated


def verdicts(shown, name="window_verdict", labels=HOURLY):
    return {verdict.value: shown(name, **labels, verdict=verdict) for verdict in Verdict}


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_verdict_is_at_1_and_the_others_at_0(close, value, verdict):
    close(verdict=verdict)
    assert verdicts(value) == {**dict.fromkeys(map(str, Verdict), 0), verdict: 1}


def test_the_verdict_follows_the_newest_window(close, value):
    close(number=1, verdict=Verdict.WARNING)
    close(number=2, verdict=Verdict.DRIFT)
    assert [verdict for verdict, shown in verdicts(value).items() if shown] == ["drift"]
    close((1, 1, 1, 1), number=3)
    assert [verdict for verdict, shown in verdicts(value).items() if shown] == ["insufficient"]


def test_slow_drift_is_shown_beside_its_limit_and_is_absent_where_a_window_did_not_enter(
    collector, close, value
):
    close(slow=3.25, slow_limit=7.5)
    assert (value("window_slow_drift", **HOURLY), value("window_slow_drift_limit", **HOURLY)) == (3.25, 7.5)
    close(number=2, missing=(AWAY,), slow_limit=7.5)
    assert "driftgauge_window_slow_drift" not in names_of_samples(collector)
    assert value("window_slow_drift_limit", **HOURLY) == 7.5


def test_every_segment_is_shown(close, value):
    segment = build_segment("de", 70, js_divergence=0.02, adjusted_p_value=0.003, verdict=Verdict.DRIFT)
    close(segments=(segment, build_segment("fr", 30)))
    labels = {**HOURLY, "segment": "country", "value": "de"}
    assert [value(name, **labels) for name in SEGMENT_GAUGES] == [70, 0.02, 0.003]
    assert value("window_segment_events", **{**labels, "value": "fr"}) == 30
    shown = verdicts(value, "window_segment_verdict", labels)
    assert shown == {**dict.fromkeys(map(str, Verdict), 0), "drift": 1}
    assert verdicts(value)["ok"] == 1, "that of the whole is another matter"


def test_a_segment_with_too_few_events_has_no_score_and_still_a_verdict(close, value):
    close(segments=(build_small_segment("other", 3),))
    labels = {**HOURLY, "segment": "country", "value": "other"}
    assert [value(name, **labels) for name in SEGMENT_GAUGES] == [3, None, None]
    assert verdicts(value, "window_segment_verdict", labels)["insufficient"] == 1


def test_a_segment_may_be_called_anything(collector, close):
    name = 'a "quoted"\nline \\ é'
    close(segments=(build_segment("", 7, segment=(name, "")),))
    registry = CollectorRegistry()
    registry.register(collector)
    text = generate_latest(registry).decode()
    (events,) = (
        sample
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "driftgauge_window_segment_events"
    )
    assert (events.labels, events.value) == ({**HOURLY, "segment": name, "value": ""}, 7)


def test_a_stream_without_segments_has_no_series_of_them(collector, close):
    close()
    assert not [name for name in names_of_samples(collector) if "segment" in name]


def test_a_window_with_too_few_events_removes_the_score_and_still_advances(collector, close, value):
    close(number=1)
    close((1, 2, 0, 1), number=2)
    absent = {*SCORE_GAUGES, "window_slow_drift", "window_cluster_signed_js_contribution"}
    assert names_of_samples(collector).isdisjoint(f"driftgauge_{name}" for name in absent)
    assert verdicts(value)["insufficient"] == 1
    assert value("window_events", **HOURLY) == 4
    assert value("window_end_timestamp_seconds", **HOURLY) == 3 * 3600
    assert value("window_cluster_ratio", **HOURLY, cluster_id="1") == 0.5


def test_a_complete_window_misses_no_partition(collector, close, value):
    close(number=1)
    assert value("window_complete", **HOURLY) == 1
    assert value("window_events_lost", **HOURLY) == 0
    assert "driftgauge_window_missing_partition" not in names_of_samples(collector)


def test_an_incomplete_window_names_the_partitions_it_misses_until_it_is_whole(collector, close, value):
    close(number=1, missing=(HOME, AWAY))
    assert value("window_complete", **HOURLY) == 0
    assert verdicts(value)["incomplete"] == 1
    assert value("window_js_divergence", **HOURLY) is not None, "what is known of it is shown"
    for topic, partition in (HOME, AWAY):
        labels = {**HOURLY, "topic": topic, "partition": str(partition)}
        assert value("window_missing_partition", **labels) == 1
    close((20, 20, 30, 40), number=1, revision=1)
    assert value("window_complete", **HOURLY) == 1
    assert "driftgauge_window_missing_partition" not in names_of_samples(collector)


def test_a_window_that_may_have_lost_events_says_so(close, value):
    close(number=1, events_lost=True)
    assert value("window_events_lost", **HOURLY) == 1
    assert value("window_events", **HOURLY) == 100


def test_a_correction_of_an_older_window_does_not_replace_a_newer_one(close, value):
    close(number=1)
    close(number=2, published_ms=2_000)
    close((25, 25, 25, 25), number=1, revision=3, published_ms=3_000)
    assert value("window_end_timestamp_seconds", **HOURLY) == 3 * 3600
    assert value("window_revision", **HOURLY) == 0
    assert value("window_closed_timestamp_seconds", **HOURLY) == 2


def test_a_correction_of_the_newest_window_replaces_it(close, value):
    close(number=2, published_ms=2_000)
    close((50, 50, 50, 50), number=2, revision=1, published_ms=3_000)
    assert value("window_revision", **HOURLY) == 1
    assert value("window_events", **HOURLY) == 200
    assert value("window_js_divergence", **HOURLY) == build_result((50, 50, 50, 50)).score.js_divergence


@given(st.permutations([(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 0)]))
def test_the_newest_window_wins_in_whatever_order_they_come(places):
    collector, table = WindowCollector(Freshness()), Table()
    for number, revision in places:
        publish(table, number=number, revision=revision)
        collector.show(table, SPECS)
    value = value_of(collector)
    shown = value("window_end_timestamp_seconds", **HOURLY), value("window_revision", **HOURLY)
    assert shown == (4 * 3600, 0)


def test_streams_and_window_sizes_stand_side_by_side(close, value):
    close()
    close(size_ms=DAY_MS, stream="texts", home=AWAY)
    close(size_ms=DAY_MS)
    assert value("window_end_timestamp_seconds", stream="images", window="1h") == 2 * 3600
    assert value("window_end_timestamp_seconds", stream="images", window="1d") == 2 * 86_400
    assert value("window_end_timestamp_seconds", stream="texts", window="1d") == 2 * 86_400
    assert value("window_end_timestamp_seconds", stream="texts", window="1h") is None


def test_what_is_not_configured_here_is_not_shown(collector, close):
    close(stream="elsewhere")
    close(size_ms=2 * HOUR_MS)
    assert names_of_samples(collector) == {"driftgauge_windows_open"}
    assert {sample.labels["stream"] for sample in samples_of(collector)} == {"images", "texts"}


def test_the_watermark_is_that_of_the_partition_furthest_behind(show, table, value):
    reach(table, 90_000)
    show()
    assert value("watermark_timestamp_seconds", stream="images") is None, "one partition is not known"
    reach(table, 60_000, partition=AWAY)
    show()
    assert value("watermark_timestamp_seconds", stream="images") == 30, "the disorder is 30 s"
    assert value("watermark_timestamp_seconds", stream="texts") is None


def test_open_windows_are_shown_by_size_and_what_is_final_is_not_open(show, table, value):
    for number in (24, 25, 26):
        count(table, number * HOUR_MS)
        count(table, number * HOUR_MS, partition=AWAY)
    show()
    assert value("windows_open", stream="images", window="1h") == 3
    assert value("windows_open", stream="images", window="1d") == 1
    assert value("windows_open", stream="texts", window="1h") == 0
    table.apply(Change(HOME, FinalKey("images"), 26 * HOUR_MS))
    show()
    assert value("windows_open", stream="images", window="1h") == 1
    assert value("windows_open", stream="images", window="1d") == 1


def test_the_newest_window_stays_when_the_table_forgets_those_before_it(close, show, table, value):
    close(number=1)
    close(number=2)
    table.apply(Change(HOME, PublishedKey("images", Window(HOUR_MS, HOUR_MS)), None))
    show()
    assert value("window_end_timestamp_seconds", **HOURLY) == 3 * 3600


def test_a_table_that_is_not_up_to_date_shows_nothing_until_it_is_again(collector, freshness):
    collector.show(busy_table(), SPECS)
    before = samples_of(collector)
    assert len(before) > 30
    freshness.is_fresh = False
    assert samples_of(collector) == []
    assert len(list(collector.collect())) == len(list(collector.describe())), "families without a sample"
    freshness.is_fresh = True
    assert samples_of(collector) == before


def test_two_replicas_of_one_table_show_the_same_whenever_they_started(table):
    early = WindowCollector(Freshness())
    for number in range(1, 5):
        publish(table, (10 * number, 0, 0, 0), number=number, missing=(AWAY,))
        publish(table, (10 * number, 20, 0, 0), number=number, revision=1)
        early.show(table, SPECS)
    late = WindowCollector(Freshness())
    late.show(table, SPECS)
    assert samples_of(late) == samples_of(early)
    assert value_of(late)("window_revision", **HOURLY) == 1


def test_a_scrape_begun_before_a_window_closes_shows_the_window_before_throughout(collector, close):
    close((10, 20, 30, 40), number=1)
    scrape = collector.collect()
    first = next(scrape)
    close((100, 100, 0, 0), number=2)
    samples = [sample for family in [first, *scrape] for sample in family.samples]
    values = {(sample.name, sample.labels.get("cluster_id")): sample.value for sample in samples}
    assert values["driftgauge_window_events", None] == 100
    assert values["driftgauge_window_end_timestamp_seconds", None] == 2 * 3600
    assert values["driftgauge_window_cluster_ratio", "3"] == 0.4


def test_scrapes_during_a_run_of_closings_never_mix_two_windows(collector, close):
    close((20, 0, 0, 0), number=0)

    def close_them_all():
        for number in range(1, 500):
            close((20 + number, 0, 0, 0), number=number)

    writer = threading.Thread(target=close_them_all)
    writer.start()
    seen = set()
    while True:
        last_round = not writer.is_alive()
        values = {
            sample.name: sample.value for sample in samples_of(collector) if "cluster_id" not in sample.labels
        }
        number = values["driftgauge_window_end_timestamp_seconds"] / 3600 - 1
        assert values["driftgauge_window_events"] == 20 + number
        seen.add(number)
        if last_round:
            break
    writer.join()
    assert max(seen) == 499
