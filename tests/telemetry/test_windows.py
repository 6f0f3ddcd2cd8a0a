"""The metrics of the newest window of each stream and size, as Prometheus reads them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_open
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from driftgauge.core.statistics.novelty import Novelty
from driftgauge.core.statistics.spread import Spread, SpreadChange
from driftgauge.core.windows.result import Verdict
from driftgauge.telemetry.snapshot import take_snapshot
from driftgauge.telemetry.window_collector import WindowCollector
from tests.builders.baselines import HOSTILE_NAMES
from tests.builders.batches import AWAY, HOME
from tests.builders.clocks import DAY_MS
from tests.builders.references import build_reference
from tests.builders.results import (
    KINDS,
    build_description,
    build_result,
    build_score,
    build_segment,
    build_small_segment,
    by_statistic,
)
from tests.builders.telemetry import (
    CLUSTER_NAMES,
    build_shard,
    build_watched,
    registry_of,
    sample_reader,
)

COUNTS = (10, 20, 30, 40)
DIVERGENCE = build_score(COUNTS).findings["js_divergence"]
NOVELTY = Novelty(0.05, 0.04, 1e-4, np.array([0.02, 0.0, 0.03, -0.01]))
SCORE_GAUGES = {
    "window_js_divergence": DIVERGENCE.js_divergence,
    "window_noise_floor": 0.0011,
    "window_p_value": 0.23,
    "window_slow_drift_ratio": 0.5 / 6.5,
}


SIGNED = build_result(COUNTS).signed_contributions.tolist()
MIX = {
    f"{number} mix {name or ''} images 1h": value
    for number, (name, value) in enumerate(zip(CLUSTER_NAMES, SIGNED, strict=True))
}


def hourly(**values):
    """The samples of metrics of the hourly windows of `images`: name -> samples."""
    return {name: {} if value is None else {"images 1h": value} for name, value in values.items()}


def verdict(name):
    return {"window_verdict": {f"images {each} 1h": float(each == name) for each in Verdict}}


def segment(value, name):
    """The samples of a segment by country."""
    verdicts = {f"country images {value} {each} 1h": float(each == name) for each in Verdict}
    return {"window_segment_verdict": verdicts}


def by_kind(name, *values):
    kinds = zip((*KINDS, "relations"), values, strict=False)
    return {name: {f"{kind} images 1h": value for kind, value in kinds}}


def by_cluster(name, *values):
    return {
        name: {
            f"{number} {cluster or ''} images 1h": value
            for number, (cluster, value) in enumerate(zip(CLUSTER_NAMES, values, strict=True))
        }
    }


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        pytest.param([{}], {**hourly(**SCORE_GAUGES), **verdict("ok")}, id="scored"),
        pytest.param(
            [{"number": 5, "revision": 2, "published_ms": 1_700_000_000_250}],
            hourly(
                window_events=100,
                window_end_timestamp_seconds=6 * 3600,
                window_closed_timestamp_seconds=1_700_000_000.25,
                window_missing_partition=None,
                window_segment_verdict=None,
            )
            | by_cluster("window_cluster_ratio", 0.1, 0.2, 0.3, 0.4)
            | by_cluster("baseline_cluster_ratio", 0.4, 0.3, 0.2, 0.1),
            id="times and shares",
        ),
        pytest.param(
            [{}, {"number": 2, "counts": (1, 2, 0, 1)}],
            hourly(**dict.fromkeys(SCORE_GAUGES))
            | hourly(
                window_events=4,
                window_end_timestamp_seconds=3 * 3600,
                window_cluster_contribution=None,
                window_excess=None,
            )
            | by_kind("window_detectable_ratio", *[math.inf] * 6)
            | by_cluster("window_cluster_ratio", 0.25, 0.5, 0, 0.25)
            | verdict("insufficient"),
            id="too few events",
        ),
        pytest.param(
            [{"score": build_score(COUNTS, detectable=by_statistic(0.03, math.inf, 0.04, 0.06, 0.08))}],
            by_kind("window_detectable_ratio", 3, math.inf, 2, 0.6, 1.6),
            id="detectable drift, relative to the smallest worth finding",
        ),
        pytest.param(
            [{"score": build_score(COUNTS, spread=Spread(SpreadChange(0.06, 0.01, 0.03, 0.41), None))}],
            by_kind("window_excess", DIVERGENCE.excess, -0.004, 0.0025, 0.03, 0.015, 0.1),
            id="sizes, and spread without residual",
        ),
        pytest.param(
            [{"score": build_score(COUNTS, novelty=NOVELTY)}],
            {"window_evidence_ratio": {}},
            id="not significant",
        ),
        pytest.param(
            [{"score": build_score(COUNTS, novelty=NOVELTY, kind="novelty"), "verdict": Verdict.DRIFT}],
            by_kind("window_evidence_ratio", 0.4, 0.25, 0.2, 0.1, 0.05)
            | {"window_cluster_contribution": MIX | {"2 novelty  images 1h": 0.03}}
            | verdict("drift"),
            id="significant",
        ),
        pytest.param(
            [{"missing": (HOME, AWAY)}],
            {
                **hourly(window_slow_drift_ratio=None),
                **hourly(window_js_divergence=DIVERGENCE.js_divergence),
                **verdict("incomplete"),
                "window_missing_partition": {"0 images embeddings 1h": 1, "1 images embeddings 1h": 1},
            },
            id="missing partitions",
        ),
        pytest.param(
            [{"missing": (HOME,)}, {"revision": 1, "counts": (20, 20, 30, 40)}],
            hourly(window_missing_partition=None, window_events=110) | verdict("ok"),
            id="revised",
        ),
        pytest.param(
            [{"missing": (AWAY,), "verdict": Verdict.OK, "incomplete_reason": None}],
            verdict("ok") | {"window_missing_partition": {"1 images embeddings 1h": 1}},
            id="given-up partition",
        ),
        pytest.param(
            [
                {"published_ms": 1_000},
                {"number": 2, "published_ms": 2_000},
                {"counts": (25, 25, 25, 25), "revision": 3, "published_ms": 3_000},
            ],
            hourly(
                window_end_timestamp_seconds=3 * 3600,
                window_closed_timestamp_seconds=2,
            ),
            id="older window revised",
        ),
        pytest.param(
            [
                {"segments": (build_segment("x"),)},
                {
                    "number": 2,
                    "segments": (
                        build_segment(
                            "de", 70, js_divergence=0.02, adjusted_p_value=0.003, verdict=Verdict.DRIFT
                        ),
                    ),
                },
            ],
            segment("de", "drift") | verdict("ok"),
            id="segment",
        ),
        pytest.param(
            [{"segments": (build_small_segment("other", 3),)}],
            segment("other", "insufficient"),
            id="small segment",
        ),
    ],
)
def test_newest_window_is_exported(close, exported, windows, expected):
    for window in windows:
        close(**window)
    shown = exported(*expected)
    assert shown == {name: pytest.approx(samples) for name, samples in expected.items()}


def test_contributions_have_a_sign_and_sum_to_the_divergence(close, exported):
    close(counts=(10, 20, 30, 40))
    (parts,) = exported("window_cluster_contribution").values()
    assert [part < 0 for part in parts.values()] == [True, True, False, False], "the baseline has 40 to 10"
    assert sum(map(abs, parts.values())) == pytest.approx(DIVERGENCE.js_divergence, abs=1e-15)


def test_names_and_shares_are_those_of_window_baseline(clock):
    """After a change of baseline, the newest day is of the former one for a day more."""
    later = build_reference(baseline_id="sha256:def", counts=np.ones(4, np.int64))
    watched = build_watched("images", (DAY_MS, later))
    described = {later.baseline_id: build_description("dogs", None, None, None)}
    watched = replace(watched, descriptions=watched.descriptions | described)
    collector = WindowCollector([watched], clock.clock)
    exported = sample_reader(registry_of(collector))
    clock.wall_ms = DAY_MS - 1
    hour = build_result(number=24, baseline_id="sha256:def", baseline_counts=(1, 1, 1, 1))
    day = build_result(size_ms=DAY_MS, number=0, baseline_id="sha256:abc")
    collector.show(0, take_snapshot(build_shard(hour, day), ["images"]))
    (shares,) = exported("baseline_cluster_ratio").values()
    assert shares == {
        **{f"{number} {name} images 1h": 0.25 for number, name in enumerate(("dogs", "", "", ""))},
        "0 cats images 1d": 0.4,
        '1 truck, "auto\\mobile" images 1d': 0.3,
        "2  images 1d": 0.2,
        "3 cats images 1d": 0.1,
    }
    assert exported("stream_info") == {"stream_info": {"sha256:abc v7  warning images ": 1}}
    clock.wall_ms = DAY_MS
    assert exported("stream_info") == {"stream_info": {"sha256:def   warning images ": 1}}
    removed = build_result(baseline_id="sha256:removed")
    collector.show(0, take_snapshot(build_shard(removed), ["images"]))
    assert set(exported("window_cluster_ratio")["window_cluster_ratio"]) == {
        f"{number}  images 1h" for number in range(4)
    }


@pytest.mark.parametrize(
    ("render", "parse"), [(generate_latest, parse_plain), (generate_open, parse_open)], ids=["plain", "open"]
)
def test_hostile_names_survive_exposition(clock, render, parse):
    name = 'a "quoted"\nline \\ é'
    watched = replace(build_watched(), descriptions={"sha256:abc": build_description(*HOSTILE_NAMES[:4])})
    collector = WindowCollector([watched], clock.clock)
    result = build_result(segments=(build_segment("", 7, segment=(name, "")),))
    collector.show(0, take_snapshot(build_shard(result), ["images"]))
    families = {family.name: family.samples for family in parse(render(registry_of(collector)).decode())}
    shares = families["driftgauge_window_cluster_ratio"]
    assert [each.labels["name"] for each in shares] == list(HOSTILE_NAMES[:4])
    verdict, *_ = families["driftgauge_window_segment_verdict"]
    labels = {"stream": "images", "window": "1h", "segment": name, "value": "", "verdict": "ok"}
    assert (verdict.labels, verdict.value) == (labels, 1)
