"""The metrics of the newest closed window: score, verdict, clusters, segments, state."""

import math
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_open
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from driftgauge.core.statistics.novelty import Novelty
from driftgauge.core.statistics.power import Detectable
from driftgauge.core.statistics.spread import Spread, SpreadChange
from driftgauge.core.windows.evidence import Kind
from driftgauge.core.windows.result import Verdict
from driftgauge.telemetry.snapshot import take_snapshot
from driftgauge.telemetry.window_collector import WindowCollector
from tests.builders.baselines import HOSTILE_NAMES
from tests.builders.batches import AWAY, HOME
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.references import build_reference
from tests.builders.results import build_result, build_score, build_segment, build_small_segment
from tests.builders.specs import ALARM
from tests.builders.telemetry import (
    CLUSTER_NAMES,
    DAILY,
    EVENTS,
    HOURLY,
    build_shard,
    build_watched,
    collector_reader,
    exported_names,
)

SCORE_GAUGES = {
    "window_js_divergence": lambda score: score.js_divergence,
    "window_js_distance": lambda score: score.js_distance,
    "window_noise_floor": lambda score: score.noise_floor,
    "window_js_excess": lambda score: score.js_excess,
    "window_js_p_value": lambda score: score.js_p_value,
    "window_mean_shift_t2": lambda score: score.mean_shift.t2,
    "window_mean_shift_excess": lambda score: score.mean_shift.excess,
    "window_mean_shift_p_value": lambda score: score.mean_shift.p_value,
    "window_mean_shift_leading_p_value": lambda score: score.mean_shift.leading_p_value,
    "window_centroid_distance": lambda score: score.mean_shift.centroid_distance,
    "window_centroid_p_value": lambda score: score.mean_shift.centroid_p_value,
    "window_p_value": lambda score: score.p_value,
    "window_calibrated": lambda score: score.calibrated,
    "window_novelty_ratio": lambda score: score.novelty.share,
    "window_novelty_excess_ratio": lambda score: score.novelty.excess,
    "window_novelty_p_value": lambda score: score.novelty.p_value,
    "window_duplicates_ratio": lambda score: score.duplicates.share,
    "window_duplicates_p_value": lambda score: score.duplicates.p_value,
}
SEGMENT_GAUGES = (
    "window_segment_events",
    "window_segment_js_divergence",
    "window_segment_adjusted_p_value",
)


def verdicts(exported, name="window_verdict", labels=HOURLY):
    return {verdict.value: exported(name, **labels, verdict=verdict) for verdict in Verdict}


def test_scored_window_exports_score_and_times(close, exported):
    close(number=5, revision=2, published_ms=1_700_000_000_250)
    score = build_result(number=5, revision=2).score
    shown = {name: exported(name, **HOURLY) for name in SCORE_GAUGES}
    assert shown == {name: value_of(score) for name, value_of in SCORE_GAUGES.items()}
    assert len(set(shown.values())) == len(shown)
    assert exported("window_events", **HOURLY) == 100
    assert exported("window_revision", **HOURLY) == 2
    assert exported("window_end_timestamp_seconds", **HOURLY) == 6 * 3600
    assert exported("window_closed_timestamp_seconds", **HOURLY) == 1_700_000_000.25
    assert [exported("window_cluster_ratio", **HOURLY, cluster_id=str(i)) for i in range(4)] == [
        0.1,
        0.2,
        0.3,
        0.4,
    ]


def cluster_names(exported, labels, names=CLUSTER_NAMES):
    return {
        str(cluster): name
        for cluster, name in enumerate(names)
        if exported("cluster_info", **labels, cluster_id=str(cluster), name=name or "") == 1
    }


def test_clusters_with_a_name_have_one_series(close, exported):
    close()
    assert cluster_names(exported, HOURLY) == {"0": "cats", "1": 'truck, "auto\\mobile"', "3": "cats"}


@pytest.mark.parametrize("parse", [parse_plain, parse_open], ids=["plain", "openmetrics"])
def test_hostile_cluster_names_survive_exposition(clock, parse):
    (baseline,) = build_watched().baselines
    watched = replace(build_watched(), baselines=(replace(baseline, names=HOSTILE_NAMES[:4]),))
    collector = WindowCollector([watched], clock.clock)
    collector.show(0, take_snapshot(build_shard(build_result()), ["images"]))
    registry = CollectorRegistry()
    registry.register(collector)
    render = generate_latest if parse is parse_plain else generate_open
    (family,) = (each for each in parse(render(registry).decode()) if each.name == "driftgauge_cluster_info")
    assert [sample.labels["name"] for sample in family.samples] == list(HOSTILE_NAMES[:4])


def test_names_and_baseline_shares_are_those_of_window_baseline(clock):
    """After a change of baseline, the newest day is of the former one for a day more."""
    later = build_reference(baseline_id="sha256:def", counts=np.ones(4, np.int64))
    watched = build_watched("images", (DAY_MS, later))
    first, second = watched.baselines
    watched = replace(watched, baselines=(first, replace(second, names=("dogs", None, None, None))))
    collector = WindowCollector([watched], clock.clock)
    exported = collector_reader(collector)
    clock.wall_ms = DAY_MS + HOUR_MS
    hour = build_result(number=24, baseline_id="sha256:def", baseline_counts=(1, 1, 1, 1))
    day = build_result(size_ms=DAY_MS, number=0, baseline_id="sha256:abc")
    collector.show(0, take_snapshot(build_shard(hour, day), ["images"]))
    assert cluster_names(exported, HOURLY) == {}
    assert cluster_names(exported, HOURLY, ("dogs",)) == {"0": "dogs"}
    assert cluster_names(exported, DAILY)["0"] == "cats"
    shares = [exported("baseline_cluster_ratio", **size, cluster_id="0") for size in (HOURLY, DAILY)]
    assert shares == [0.25, 0.4]


def test_removed_baseline_has_shares_and_no_names(close, exported):
    close(baseline_id="sha256:removed")
    assert exported("baseline_cluster_ratio", **HOURLY, cluster_id="0") == 0.4
    assert cluster_names(exported, HOURLY) == {}


def test_absolute_contributions_sum_to_divergence(close, exported):
    close()
    parts = [exported("window_cluster_signed_js_contribution", **HOURLY, cluster_id=str(i)) for i in range(4)]
    assert min(map(abs, parts)) > 0
    assert sum(map(abs, parts)) == pytest.approx(exported("window_js_divergence", **HOURLY), abs=1e-15)


def test_contribution_of_shrunken_cluster_is_negative(close, exported):
    close((10, 20, 30, 40))
    parts = [exported("window_cluster_signed_js_contribution", **HOURLY, cluster_id=str(i)) for i in range(4)]
    assert [part < 0 for part in parts] == [True, True, False, False], "the baseline's are 40, 30, 20, 10"


def test_calibration_is_exported(close, exported):
    for number, calibrated in enumerate([True, False]):
        close(number=number, score=build_score((10, 20, 30, 40), calibrated=calibrated))
        assert exported("window_calibrated", **HOURLY) == calibrated


def test_detectable_drift_is_relative_to_smallest_worth_finding(close, exported):
    close(score=build_score((10, 20, 30, 40), detectable=Detectable(0.03, math.inf, 0.04, 0.06, 0.08)))
    shown = {kind: exported("window_detectable_ratio", **HOURLY, kind=kind) for kind in map(str, Kind)}
    assert shown == {
        "mix": 0.03 / ALARM.js_divergence,
        "shift": math.inf,
        "novelty": 0.04 / ALARM.novelty,
        "spread": 0.06 / ALARM.spread,
        "duplicates": 0.08 / ALARM.duplicates,
    }
    close(score=build_score((10, 20, 30, 40), detectable=Detectable(0.03, 0.5, 0.04, 0.06, 0.08)), number=2)
    assert exported("window_detectable_ratio", **HOURLY, kind="shift") == 0.5 / ALARM.mean_shift


def test_window_that_was_not_scored_could_show_no_drift(close, exported):
    close((1, 1, 1, 1))
    assert {exported("window_detectable_ratio", **HOURLY, kind=str(kind)) for kind in Kind} == {math.inf}


def test_spread_of_each_part_is_exported(close, exported):
    close(score=build_score((10, 20, 30, 40), spread=Spread(SpreadChange(0.06, 0.01, 0.03, 0.41), None)))
    for name, value in (("change_ratio", 0.06), ("p_value", 0.41)):
        shown = [
            exported(f"window_spread_{name}", **HOURLY, part=part) for part in ("components", "residual")
        ]
        assert shown == [value, None]


def test_evidence_of_significant_window_is_exported(close, exported):
    def shown():
        return [exported("window_evidence_ratio", **HOURLY, kind=str(kind)) for kind in Kind]

    close()
    assert shown() == [None] * 5
    close(score=build_score((10, 20, 30, 40), kind=Kind.MIX), number=2)
    assert shown() == [0.4, 0.25, 0.2, 0.1, 0.05]


@pytest.mark.parametrize("kind", [None, Kind.NOVELTY])
def test_cluster_with_most_novelty_is_exported_of_significant_window(close, exported, kind):
    novelty = Novelty(0.05, 0.04, 1e-4, np.array([0.02, 0.0, 0.03, -0.01]))
    close(score=build_score((10, 20, 30, 40), novelty=novelty, kind=kind))
    shown = [
        exported("window_cluster_novelty_contribution", **HOURLY, cluster_id=str(each)) for each in range(4)
    ]
    assert shown == [None, None, None if kind is None else 0.03, None]


@pytest.mark.parametrize("verdict", list(Verdict))
def test_verdict_is_1_and_others_are_0(close, exported, verdict):
    close(verdict=verdict)
    assert verdicts(exported) == {**dict.fromkeys(map(str, Verdict), 0), verdict: 1}


def test_verdict_follows_newest_window(close, exported):
    close(number=1, verdict=Verdict.WARNING)
    close(number=2, verdict=Verdict.DRIFT)
    assert [verdict for verdict, shown in verdicts(exported).items() if shown] == ["drift"]
    close((1, 1, 1, 1), number=3)
    assert [verdict for verdict, shown in verdicts(exported).items() if shown] == ["insufficient"]


def test_slow_drift_of_incomplete_window_is_absent_but_limit_is_not(collector, close, exported):
    close(slow_drift=3.25, slow_drift_limit=7.5)
    assert (exported("window_slow_drift", **HOURLY), exported("window_slow_drift_limit", **HOURLY)) == (
        3.25,
        7.5,
    )
    close(number=2, missing=(AWAY,), slow_drift_limit=7.5)
    assert "driftgauge_window_slow_drift" not in exported_names(collector)
    assert exported("window_slow_drift_limit", **HOURLY) == 7.5


def test_every_segment_is_exported(close, exported):
    segment = build_segment("de", 70, js_divergence=0.02, adjusted_p_value=0.003, verdict=Verdict.DRIFT)
    close(segments=(segment, build_segment("fr", 30)))
    labels = {**HOURLY, "segment": "country", "value": "de"}
    assert [exported(name, **labels) for name in SEGMENT_GAUGES] == [70, 0.02, 0.003]
    assert exported("window_segment_events", **{**labels, "value": "fr"}) == 30
    shown = verdicts(exported, "window_segment_verdict", labels)
    assert shown == {**dict.fromkeys(map(str, Verdict), 0), "drift": 1}
    assert verdicts(exported)["ok"] == 1, "the verdict of the whole window is separate"


def test_segment_with_too_few_events_has_verdict_without_score(close, exported):
    close(segments=(build_small_segment("other", 3),))
    labels = {**HOURLY, "segment": "country", "value": "other"}
    assert [exported(name, **labels) for name in SEGMENT_GAUGES] == [3, None, None]
    assert verdicts(exported, "window_segment_verdict", labels)["insufficient"] == 1


def test_segment_name_is_escaped(collector, close):
    name = 'a "quoted"\nline \\ é'
    close(segments=(build_segment("", 7, segment=(name, "")),))
    registry = CollectorRegistry()
    registry.register(collector)
    text = generate_latest(registry).decode()
    (events,) = (
        sample
        for family in parse_plain(text)
        for sample in family.samples
        if sample.name == "driftgauge_window_segment_events"
    )
    assert (events.labels, events.value) == ({**HOURLY, "segment": name, "value": ""}, 7)


def test_stream_without_segments_has_no_segment_series(collector, close):
    close()
    assert not [name for name in exported_names(collector) if "segment" in name]


def test_window_with_too_few_events_has_times_without_score(collector, close, exported):
    close(number=1)
    close((1, 2, 0, 1), number=2)
    absent = {*SCORE_GAUGES, "window_slow_drift", "window_cluster_signed_js_contribution"}
    assert exported_names(collector).isdisjoint(f"driftgauge_{name}" for name in absent)
    assert verdicts(exported)["insufficient"] == 1
    assert exported("window_events", **HOURLY) == 4
    assert exported("window_end_timestamp_seconds", **HOURLY) == 3 * 3600
    assert exported("window_cluster_ratio", **HOURLY, cluster_id="1") == 0.5


def test_complete_window_misses_no_partition(collector, close, exported):
    close(number=1)
    assert exported("window_complete", **HOURLY) == 1
    assert exported("window_events_lost", **HOURLY) == 0
    assert "driftgauge_window_missing_partition" not in exported_names(collector)


def test_incomplete_window_names_missing_partitions_until_revised(collector, close, exported):
    close(number=1, missing=(HOME, AWAY))
    assert exported("window_complete", **HOURLY) == 0
    assert verdicts(exported)["incomplete"] == 1
    assert exported("window_js_divergence", **HOURLY) is not None, "the score is exported all the same"
    for topic, partition in (HOME, AWAY):
        labels = {**HOURLY, "topic": topic, "partition": str(partition)}
        assert exported("window_missing_partition", **labels) == 1
    close((20, 20, 30, 40), number=1, revision=1)
    assert exported("window_complete", **HOURLY) == 1
    assert "driftgauge_window_missing_partition" not in exported_names(collector)


def test_window_without_given_up_partition_is_complete_and_names_it(close, exported):
    close(number=1, missing=(AWAY,), verdict=Verdict.OK, incomplete_reason=None)
    assert exported("window_complete", **HOURLY) == 1
    assert exported("window_missing_partition", **HOURLY, topic=EVENTS, partition="1") == 1


def test_window_with_doubtful_counts_is_incomplete(close, exported):
    close(number=1, verdict=Verdict.INCOMPLETE, incomplete_reason="counted_twice")
    assert exported("window_complete", **HOURLY) == 0


def test_window_with_lost_events_is_marked(close, exported):
    close(number=1, events_lost=True)
    assert exported("window_events_lost", **HOURLY) == 1
    assert exported("window_events", **HOURLY) == 100


def test_revision_of_older_window_does_not_replace_newest(close, exported):
    close(number=1)
    close(number=2, published_ms=2_000)
    close((25, 25, 25, 25), number=1, revision=3, published_ms=3_000)
    assert exported("window_end_timestamp_seconds", **HOURLY) == 3 * 3600
    assert exported("window_revision", **HOURLY) == 0
    assert exported("window_closed_timestamp_seconds", **HOURLY) == 2


def test_revision_of_newest_window_replaces_it(close, exported):
    close(number=2, published_ms=2_000)
    close((50, 50, 50, 50), number=2, revision=1, published_ms=3_000)
    assert exported("window_revision", **HOURLY) == 1
    assert exported("window_events", **HOURLY) == 200
    assert exported("window_js_divergence", **HOURLY) == build_result((50, 50, 50, 50)).score.js_divergence


def test_window_with_events_counted_twice_is_marked(close, exported):
    close(number=1, counted_twice=True)
    assert exported("window_counted_twice", **HOURLY) == 1
    close(number=2)
    assert exported("window_counted_twice", **HOURLY) == 0
