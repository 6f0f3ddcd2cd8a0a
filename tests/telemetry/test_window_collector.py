import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from driftgauge.core.windows.result import Verdict
from driftgauge.telemetry.snapshot import take_snapshot
from driftgauge.telemetry.window_collector import WindowCollector
from tests.results import build_score, build_segment, build_small_segment
from tests.telemetry.builders import (
    DAY_MS,
    EVENTS,
    FITTED_MS,
    HOUR_MS,
    Time,
    build_reference,
    build_result,
    build_shard,
    build_watched,
)

HOURLY = {"stream": "images", "window": "1h"}
DAILY = {"stream": "images", "window": "1d"}
STREAMS = build_watched("images"), build_watched("texts", severity="critical", overdue_ms=43_200_000)
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
HOME, AWAY = (EVENTS, 0), (EVENTS, 1)
# What of a stream does not come from its newest windows.
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
    "driftgauge_alarm_severity_info",
    "driftgauge_baseline_info",
    "driftgauge_baseline_created_timestamp_seconds",
    "driftgauge_baseline_cluster_ratio",
    "driftgauge_partials_gap_total",
    "driftgauge_partials_overlap_total",
    "driftgauge_partials_orphans_total",
}


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def collector(time):
    return WindowCollector(STREAMS, time.clock)


@pytest.fixture
def show(collector):
    """Show a shard, number 0 unless told otherwise, that holds `images`; as `build_shard`."""

    def _show(*published, shard=0, streams=("images",), **fields):
        collector.show(shard, take_snapshot(build_shard(*published, **fields), streams))

    return _show


@pytest.fixture
def close(show):
    """Publish windows of `images` one after the other, and show the shard after each."""
    published = {}

    def _close(*counts, **window):
        result = build_result(*counts, **window)
        published[result.window] = result
        show(*published.values())

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


def test_nothing_is_shown_before_a_shard_is(collector):
    assert samples_of(collector) == []


def test_describe_names_what_collect_yields_without_samples(collector, close):
    close()
    described = list(collector.describe())
    assert [family.name for family in described] == [family.name for family in collector.collect()]
    assert not any(family.samples for family in described)


def test_of_a_stream_without_windows_the_configuration_and_totals_of_zero_are_shown(collector, show, value):
    show()
    assert names_of_samples(collector) == ALWAYS
    for window in ("1h", "1d"):
        labels = {"stream": "images", "window": window}
        for name in ("windows_open", "alarm_active", "late_events_total", "window_revisions_total"):
            assert value(name, **labels) == 0
        assert {value("windows_closed_total", **labels, verdict=verdict) for verdict in Verdict} == {0}


def test_a_stream_of_a_shard_that_is_not_held_shows_nothing(collector, show):
    show()
    assert {sample.labels.get("stream", "images") for sample in samples_of(collector)} == {"images"}
    show(shard=1, streams=("texts",))
    assert {sample.labels.get("stream", "images") for sample in samples_of(collector)} == {"images", "texts"}


def test_a_shard_goes_15_s_after_it_was_last_shown_and_the_others_stay(collector, show, time):
    show(build_result())
    time.monotonic_s += 10
    show(shard=1, streams=("texts",))
    time.monotonic_s += 5
    assert {sample.labels["stream"] for sample in samples_of(collector) if "stream" in sample.labels} == {
        "images",
        "texts",
    }
    time.monotonic_s += 0.001
    assert {sample.labels.get("stream", "texts") for sample in samples_of(collector)} == {"texts"}
    assert {sample.labels["shard"] for sample in samples_of(collector) if "shard" in sample.labels} == {"1"}
    show(build_result())
    assert "images" in {sample.labels.get("stream") for sample in samples_of(collector)}


def test_a_shard_that_the_group_gave_to_others_goes_at_once(collector, show):
    show(build_result())
    show(shard=1, streams=("texts",))
    collector.keep_only([0, 1, 2])
    assert len({sample.labels.get("stream") for sample in samples_of(collector)} - {None}) == 2
    collector.keep_only([1, 2])
    assert {sample.labels.get("stream", "texts") for sample in samples_of(collector)} == {"texts"}
    collector.keep_only([])
    assert samples_of(collector) == []
    assert len(list(collector.collect())) == len(list(collector.describe())), "families without a sample"


def test_totals_come_from_what_is_kept_so_that_they_outlive_a_change_of_hands(show, value):
    show(
        late={HOUR_MS: 5},
        closed={(HOUR_MS, Verdict.OK): 3, (HOUR_MS, Verdict.DRIFT): 1, (2 * HOUR_MS, Verdict.OK): 9},
        revised={DAY_MS: 2},
    )
    assert (value("late_events_total", **HOURLY), value("late_events_total", **DAILY)) == (5, 0)
    closed = {verdict: value("windows_closed_total", **HOURLY, verdict=verdict) for verdict in Verdict}
    assert closed == {**dict.fromkeys(Verdict, 0), Verdict.OK: 3, Verdict.DRIFT: 1}
    assert value("windows_closed_total", **DAILY, verdict="ok") == 0
    assert (value("window_revisions_total", **HOURLY), value("window_revisions_total", **DAILY)) == (0, 2)


def test_the_chain_is_counted_by_shard(show, value):
    show(shard=3, chain=(1, 2, 4))
    names = ("partials_gap_total", "partials_overlap_total", "partials_orphans_total")
    assert [value(name, shard="3") for name in names] == [1, 2, 4]
    assert [value(name, shard="0") for name in names] == [None] * 3


def test_an_alarm_is_active_as_the_state_says_whatever_the_newest_window_does(show, value):
    show(build_result(verdict=Verdict.DRIFT), alarms=frozenset({HOUR_MS}))
    assert (value("alarm_active", **HOURLY), value("alarm_active", **DAILY)) == (1, 0)
    show(build_result((1, 0, 0, 0), number=2), alarms=frozenset({HOUR_MS}))
    assert value("alarm_active", **HOURLY) == 1
    show(build_result(number=3))
    assert value("alarm_active", **HOURLY) == 0


def test_the_configuration_is_shown_with_the_stream(show, value):
    show(streams=("images", "texts"))
    assert value("window_duration_seconds", stream="texts", window="1d") == 86_400
    assert value("window_min_events", stream="texts", window="1h") == 20
    assert value("window_overdue_seconds", **HOURLY) == 7_530
    assert value("window_overdue_seconds", stream="texts", window="1h") == 43_200, "as is configured"
    assert value("alarm_p_value", stream="images") == 0.001
    assert value("alarm_js_excess", stream="images") == 0.005
    assert value("alarm_mean_shift_excess", stream="images") == 0.025
    assert value("alarm_severity_info", stream="images", severity="warning") == 1
    assert value("alarm_severity_info", stream="texts", severity="critical") == 1
    assert value("baseline_info", stream="images", baseline="sha256:abc", model_version="v7") == 1
    assert value("baseline_created_timestamp_seconds", stream="images") == FITTED_MS / 1000
    assert [value("baseline_cluster_ratio", stream="images", cluster_id=str(i)) for i in range(4)] == [
        0.4,
        0.3,
        0.2,
        0.1,
    ]


def test_the_baseline_in_force_follows_the_wall_clock(time):
    later = build_reference("sha256:def", (1, 1, 1, 1))
    collector = WindowCollector([build_watched("images", (DAY_MS, later))], time.clock)
    collector.show(0, take_snapshot(build_shard(), ["images"]))
    value = value_of(collector)
    first = {"stream": "images", "baseline": "sha256:abc", "model_version": "v7"}
    second = {"stream": "images", "baseline": "sha256:def", "model_version": ""}
    time.wall_ms = DAY_MS - 1
    assert (value("baseline_info", **first), value("baseline_info", **second)) == (1, None)
    assert value("baseline_cluster_ratio", stream="images", cluster_id="0") == 0.4
    time.wall_ms = DAY_MS
    assert (value("baseline_info", **first), value("baseline_info", **second)) == (None, 1)
    assert value("baseline_cluster_ratio", stream="images", cluster_id="0") == 0.25


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
    close(slow_drift=3.25, slow_drift_limit=7.5)
    assert (value("window_slow_drift", **HOURLY), value("window_slow_drift_limit", **HOURLY)) == (3.25, 7.5)
    close(number=2, missing=(AWAY,), slow_drift_limit=7.5)
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


def test_a_window_without_a_partition_that_was_given_up_names_it_and_is_complete(close, value):
    close(number=1, missing=(AWAY,), verdict=Verdict.OK, incomplete_reason=None)
    assert value("window_complete", **HOURLY) == 1
    assert value("window_missing_partition", **HOURLY, topic=EVENTS, partition="1") == 1


def test_a_window_whose_counts_are_in_doubt_is_incomplete_though_it_misses_no_partition(close, value):
    close(number=1, verdict=Verdict.INCOMPLETE, incomplete_reason="counted_twice")
    assert value("window_complete", **HOURLY) == 0


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


@given(st.permutations([1, 2, 3, 4]))
def test_the_newest_window_is_shown_in_whatever_order_they_were_kept(numbers):
    collector = WindowCollector(STREAMS, Time().clock)
    state = build_shard(*(build_result(number=number) for number in numbers))
    collector.show(0, take_snapshot(state, ["images"]))
    assert value_of(collector)("window_end_timestamp_seconds", **HOURLY) == 5 * 3600


def test_streams_and_window_sizes_stand_side_by_side(show, value):
    show(build_result(), build_result(size_ms=DAY_MS))
    show(build_result(size_ms=DAY_MS, stream="texts"), shard=1, streams=("texts",))
    assert value("window_end_timestamp_seconds", **HOURLY) == 2 * 3600
    assert value("window_end_timestamp_seconds", **DAILY) == 2 * 86_400
    assert value("window_end_timestamp_seconds", stream="texts", window="1d") == 2 * 86_400
    assert value("window_end_timestamp_seconds", stream="texts", window="1h") is None


def test_what_is_not_configured_here_is_not_shown(collector, show):
    show(build_result(stream="elsewhere"), build_result(size_ms=2 * HOUR_MS))
    assert names_of_samples(collector) == ALWAYS
    assert {sample.labels.get("stream", "images") for sample in samples_of(collector)} == {"images"}
    assert {sample.labels.get("window", "1h") for sample in samples_of(collector)} == {"1h", "1d"}


def test_the_watermark_is_absent_while_it_is_unknown(show, value):
    show()
    assert value("watermark_timestamp_seconds", stream="images") is None
    show(watermark_ms=30_500)
    assert value("watermark_timestamp_seconds", stream="images") == 30.5


def test_open_windows_are_shown_by_size_and_what_is_final_is_not_open(show, value):
    panes = [number * HOUR_MS for number in (24, 25, 26)]
    show(panes=panes)
    assert (value("windows_open", **HOURLY), value("windows_open", **DAILY)) == (3, 1)
    show(panes=panes, final_ms=26 * HOUR_MS)
    assert (value("windows_open", **HOURLY), value("windows_open", **DAILY)) == (1, 1)


def test_a_window_whose_events_may_have_been_counted_twice_says_so(close, value):
    close(number=1, counted_twice=True)
    assert value("window_counted_twice", **HOURLY) == 1
    close(number=2)
    assert value("window_counted_twice", **HOURLY) == 0


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
