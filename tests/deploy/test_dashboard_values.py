"""Values, units and colours on the dashboards for known gauges, evaluated by Prometheus."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from deploy.generate.grafana.dashboards import DRIFT, SERVICE

from driftgauge.core.windows.result import Verdict
from tests.builders.baselines import HOSTILE_NAMES
from tests.deploy.dashboards import colour, documents, flat, named, property_of, substitute, texts
from tests.deploy.evaluation import REPLICA, assert_results, assert_series, series

CHOSEN = {"job": "driftgauge", "namespace": "ml", "stream": "clicks", "window": "1h"}
VARIABLES = {**CHOSEN, "cluster": ".*", "instance": ".+", "__rate_interval": "1m", "__interval": "1m"}

COLOURS = {
    "ok": "green",
    "warning": "yellow",
    "drift": "red",
    "insufficient": "#8e8e8e",
    "incomplete": "purple",
    "misfit": "orange",
}

# All different, and sums of powers of two, which floating point adds and divides exactly.
WINDOW = {
    "js_divergence": 0.5,
    "noise_floor": 0.125,
    "js_excess": 0.375,
    "p_value": 2**-4,
    "js_p_value": 2**-5,
    "mean_shift_p_value": 2**-6,
    "mean_shift_leading_p_value": 2**-9,
    "centroid_p_value": 2**-7,
    "mean_shift_excess": 2,
    "mean_shift_t2": 20,
    "centroid_distance": 1.5,
    "novelty_ratio": 2**-8,
    "novelty_excess_ratio": 2**-10,
    "novelty_p_value": 2**-11,
    "duplicates_ratio": 2**-16,
    "duplicates_p_value": 2**-17,
    "slow_drift": 6,
    "slow_drift_limit": 8,
    "calibrated": 1,
    "complete": 0,
    "events_lost": 1,
    "counted_twice": 1,
    "events": 4096,
    "min_events": 512,
    "revision": 7,
    "end_timestamp_seconds": 240,
    "closed_timestamp_seconds": 260,
    "overdue_seconds": 80,
}
ALARM = {
    "p_value": 2**-3,
    "js_excess": 2**-9,
    "mean_shift_excess": 0.25,
    "novelty_excess_ratio": 2**-12,
    "spread_excess_ratio": 2**-13,
    "duplicates_ratio": 2**-18,
}

NEWEST = "Newest windows of all streams"
CLUSTERS = "Clusters by contribution"
SEGMENTS = "Segments of the newest window"

# The value and unit, by panel and displayed name.
SHOWN = {
    (NEWEST, "alarm"): (1, "none"),
    (NEWEST, "divergence"): (0.5, "none"),
    (NEWEST, "noise floor"): (0.125, "none"),
    (NEWEST, "excess"): (0.375, "none"),
    (NEWEST, "p-value"): (2**-4, "sci"),
    (NEWEST, "calibrated"): (1, "none"),
    (NEWEST, "slow drift"): (0.75, "percentunit"),
    (NEWEST, "events"): (4096, "locale"),
    (NEWEST, "window ended"): (240_000, "dateTimeAsIso"),
    (NEWEST, "closed ago"): (40, "s"),
    (NEWEST, "revision"): (7, "none"),
    ("Divergence", "divergence"): (0.5, "none"),
    ("Divergence", "noise floor"): (0.125, "none"),
    ("Divergence", "large above"): (0.126953125, "none"),
    ("p-values", "combined"): (2**-4, "sci"),
    ("p-values", "divergence"): (2**-5, "sci"),
    ("p-values", "T2, leading components"): (2**-9, "sci"),
    ("p-values", "T2"): (2**-6, "sci"),
    ("p-values", "centroid distance"): (2**-7, "sci"),
    ("p-values", "novelty"): (2**-11, "sci"),
    ("p-values", "spread"): (2**-9, "sci"),
    ("p-values", "duplicates"): (2**-17, "sci"),
    ("p-values", "significant below"): (2**-3, "sci"),
    ("Mean shift", "excess"): (2, "none"),
    ("Mean shift", "large above"): (0.25, "none"),
    ("Slow drift", "evidence"): (6, "none"),
    ("Slow drift", "warning above"): (8, "none"),
    ("Novelty", "excess"): (2**-10, "percentunit"),
    ("Novelty", "in cluster {{cluster_id}}"): (2**-16, "percentunit"),
    ("Novelty", "large above"): (2**-12, "percentunit"),
    ("Spread", "{{part}}"): (2**-14, "percentunit"),
    ("Spread", "large above"): (2**-13, "percentunit"),
    ("Duplicates", "share"): (2**-16, "percentunit"),
    ("Duplicates", "large above"): (2**-18, "percentunit"),
    ("Kind of drift", "{{kind}}"): (2**-15, "percentunit"),
    ("Least detectable drift", "{{kind}}"): (1.5, "none"),
    (CLUSTERS, "contribution"): (1, "percentunit"),
    (CLUSTERS, "share now"): (0.75, "percentunit"),
    (CLUSTERS, "share in baseline"): (0.25, "percentunit"),
    (CLUSTERS, "change"): (0.5, "percentunit"),
    ("Cluster contributions over time", "{{cluster_id}}"): (-0.5, "none"),
    ("Events in a window", "events"): (4096, "short"),
    ("Events in a window", "scored above"): (512, "short"),
    ("Problems of a window", "missing partitions"): (1, "none"),
    ("Problems of a window", "incomplete"): (1, "none"),
    ("Problems of a window", "events lost"): (1, "none"),
    ("Problems of a window", "counted twice"): (1, "none"),
    (SEGMENTS, "divergence"): (0.0625, "none"),
    (SEGMENTS, "p-value"): (0.03125, "sci"),
    (SEGMENTS, "events"): (64, "locale"),
}

UNHELD = "Unassigned partitions and shards"

# Panel, metric, the values of two replicas, the displayed value and its colour.
OVERVIEW = [
    ("Replicas up", "up", (1, 0), 1, "green"),
    ("Replicas up", "up", (0, 0), 0, "red"),
    ("Replicas not ready", "driftgauge_ready", (1, 1), 0, "green"),
    ("Replicas not ready", "driftgauge_ready", (1, 0), 1, "orange"),
    (UNHELD, "driftgauge_consumer_assigned_partitions", (2, 1), 0, "green"),
    (UNHELD, "driftgauge_consumer_assigned_partitions", (2, 0), 1, "red"),
]

# The metric of each panel with verdicts; only the first panel covers several jobs.
VERDICT_PANELS = {
    "Verdicts of all streams": "driftgauge_window_verdict",
    NEWEST: "driftgauge_window_verdict",
    "Verdicts of segments": "driftgauge_window_segment_verdict",
    SEGMENTS: "driftgauge_window_segment_verdict",
}


def gauges(replica: Mapping[str, str] = REPLICA, **other: float) -> list[dict[str, str]]:
    """The gauges of the selected stream's newest window, as the owner of its shard exports them."""
    of_stream = {**replica, "stream": "clicks"}
    of_window = {**of_stream, "window": "1h"}
    cluster, segment = {"cluster_id": "3"}, {"segment": "country", "value": "de"}
    values = {f"window_{name}": value for name, value in WINDOW.items()}
    levels = {f"alarm_{name}": value for name, value in ALARM.items()}
    return [
        *(series(f"driftgauge_{name}", value, **of_window) for name, value in (values | other).items()),
        *(series(f"driftgauge_{name}", value, **of_stream) for name, value in levels.items()),
        series("driftgauge_alarm_active", 1, **of_window),
        series("driftgauge_window_detectable_ratio", 1.5, **of_window, kind="mix"),
        series("driftgauge_window_spread_change_ratio", 2**-14, **of_window, part="residual"),
        series("driftgauge_window_spread_p_value", 2**-8, **of_window, part="components"),
        series("driftgauge_window_spread_p_value", 2**-9, **of_window, part="residual"),
        series("driftgauge_window_evidence_ratio", 2**-15, **of_window, kind="novelty"),
        series("driftgauge_window_missing_partition", 1, **of_window, topic="embeddings", partition="3"),
        series("driftgauge_window_cluster_signed_js_contribution", -0.25, **of_window, **cluster),
        series("driftgauge_window_cluster_novelty_contribution", 2**-16, **of_window, **cluster),
        series("driftgauge_window_cluster_ratio", 0.75, **of_window, **cluster),
        series("driftgauge_baseline_cluster_ratio", 0.25, **of_window, **cluster),
        series("driftgauge_window_segment_js_divergence", 0.0625, **of_window, **segment),
        series("driftgauge_window_segment_adjusted_p_value", 0.03125, **of_window, **segment),
        series("driftgauge_window_segment_events", 64, **of_window, **segment),
    ]


def verdict_gauges(verdict: str, **labels: str) -> list[dict[str, str]]:
    """The verdict gauges of a window and of a segment: 1 for the verdict, 0 for the others."""
    of_window = {**REPLICA, "stream": "clicks", "window": "1h", **labels}
    segment = {"segment": "country", "value": "de"}
    return [
        series(name, int(each == verdict), **of_window, **more, verdict=each)
        for name, more in (
            ("driftgauge_window_verdict", {}),
            ("driftgauge_window_segment_verdict", segment),
        )
        for each in Verdict
    ]


def panels(uid: str = DRIFT) -> dict[str, dict[str, Any]]:
    (found,) = (each for each in documents() if each["uid"] == uid)
    return {panel["title"]: panel for panel in flat(found) if panel["type"] != "row"}


def asked(panel: Mapping[str, Any], name: str = "") -> str:
    """The expression of a displayed name on a panel, with substituted variables."""
    return substitute(named(panel)[name], VARIABLES)


@pytest.mark.stack
def test_every_series_shows_expected_value(tmp_path: Path):
    found = panels()
    expected = [(asked(found[title], name), value) for (title, name), (value, _) in SHOWN.items()]
    assert_results(tmp_path, gauges(), expected)


@pytest.mark.stack
@pytest.mark.parametrize("name", ["truck, automobile", *HOSTILE_NAMES])
def test_clusters_have_their_names_beside_their_numbers(tmp_path: Path, name: str):
    of_window = {**REPLICA, "stream": "clicks", "window": "1h"}
    unnamed = [
        series(f"driftgauge_window_cluster_{gauge}", value, **of_window, cluster_id="12")
        for gauge, value in (("signed_js_contribution", 0.25), ("ratio", 0.125))
    ]
    # Two replicas that change to a baseline with other names.
    infos = [
        series("driftgauge_cluster_info", 1, **{**of_window, "instance": instance}, cluster_id="3", name=name)
        for instance in ("a:9464", "b:9464")
    ]
    inputs = [*gauges(), *unnamed, *infos]
    found = panels()
    over_time = asked(found["Cluster contributions over time"], "{{cluster_id}}")
    assert_series(
        tmp_path,
        inputs,
        over_time,
        [({"cluster_id": f"03 {name}", "name": name}, -0.5), ({"cluster_id": "12 "}, 0.5)],
    )
    now = asked(found[CLUSTERS], "share now")
    assert_series(
        tmp_path, inputs, now, [({"cluster_id": "3", "name": name}, 0.75), ({"cluster_id": "12"}, 0.125)]
    )
    other = series("driftgauge_cluster_info", 1, **of_window, cluster_id="3", name="another")
    # The newest window of a day may be of another baseline.
    of_day = series(
        "driftgauge_cluster_info", 1, **{**of_window, "window": "1d"}, cluster_id="12", name="former"
    )
    assert_results(tmp_path, [*inputs, other, of_day], [(now, 0.875), (over_time, 0)])


@pytest.mark.stack
def test_clusters_of_two_deployments_have_no_result(tmp_path: Path):
    found = panels()
    elsewhere = gauges({**REPLICA, "namespace": "staging"})
    by_cluster = [name for name in SHOWN if "cluster_id" in named(found[name[0]])[name[1]]]
    assert len(by_cluster) == 6
    of_both = VARIABLES | {"namespace": ".*"}
    expected = [(substitute(named(found[title])[name], of_both), None) for title, name in by_cluster]
    assert_results(tmp_path, [*gauges(), *elsewhere], expected)


def test_every_series_has_expected_unit():
    for (title, name), (_, unit) in SHOWN.items():
        assert property_of(panels()[title], name, "unit") == unit, (title, name)


def gauges_drawn() -> Iterator[tuple[str, str]]:
    for title, panel in panels().items():
        for name, expr in named(panel).items():
            if "_total" not in expr and "ALERTS" not in expr and "verdict" not in expr:
                yield title, name


def test_every_drawn_gauge_has_expected_value():
    assert set(gauges_drawn()) == set(SHOWN)


@pytest.mark.stack
def test_shard_with_two_owners_is_drawn_once(tmp_path: Path):
    panel = panels()["Divergence"]
    both = [*gauges(), *gauges({**REPLICA, "instance": "b"})]
    assert_results(
        tmp_path, both, [(asked(panel, "divergence"), 0.5), (asked(panel, "large above"), 0.126953125)]
    )


@pytest.mark.stack
@pytest.mark.parametrize(("title", "name", "exported", "value", "shade"), OVERVIEW)
def test_overview_shows_state_of_service(
    tmp_path: Path, title: str, name: str, exported: tuple[float, float], value: float, shade: str
):
    panel = panels(SERVICE)[title]
    more = {"up": {}, "driftgauge_ready": {"condition": "count"}}.get(name, {"topic": "embeddings"})
    replicas = [REPLICA, {**REPLICA, "instance": "b:9464"}]
    inputs = [
        *(series(name, each, **replica, **more) for replica, each in zip(replicas, exported, strict=True)),
        *(series("driftgauge_topic_partitions", 3, **replica, topic="embeddings") for replica in replicas),
    ]
    assert_results(tmp_path, inputs, [(asked(panel), value)])
    assert colour(panel, value) == shade


@pytest.mark.stack
@pytest.mark.parametrize("verdict", Verdict)
def test_verdict_is_shown_with_name_and_colour(tmp_path: Path, verdict: Verdict):
    expected = []
    for title, name in VERDICT_PANELS.items():
        (field,) = (each for each, expr in named(panels()[title]).items() if "verdict" in expr)
        shown = texts(panels()[title], field)
        (code,) = (value for value, (text, _) in shown.items() if text == verdict)
        assert shown[code][1] == COLOURS[verdict]
        assert name in panels()[title]["description"]
        expected.append((asked(panels()[title], field), code))
    assert_results(tmp_path, verdict_gauges(verdict), expected)


@pytest.mark.stack
def test_worst_verdict_of_two_jobs_is_shown(tmp_path: Path):
    panel = panels()["Verdicts of all streams"]
    ((legend, _),) = named(panel).items()
    expr = substitute(panel["targets"][0]["expr"], VARIABLES | {"job": ".+"})
    (code,) = (value for value, (text, _) in texts(panel, legend).items() if text == "drift")
    assert_results(tmp_path, [*verdict_gauges("ok"), *verdict_gauges("drift", job="other")], [(expr, code)])
