"""Grafana's drift alert rules: equal to Prometheus's rules, in Grafana's format."""

import operator
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy.generate.__main__ import files

from tests.deploy.dashboards import documents, flat
from tests.deploy.evaluation import REPLICA, assert_results, series

DEPLOY = Path(__file__).parents[2] / "deploy"
PROVISIONING = DEPLOY / "grafana/provisioning"
COMMITTED = PROVISIONING / "alerting/driftgauge.yml"
GROUP = "driftgauge-drift"

# A label, or a condition on a label.
TEMPLATE = re.compile(r"(?:urlquery )?\$labels\.\w+|if \$labels\.\w+|end")

OF_STREAM = {**REPLICA, "stream": "clicks"}
OF_WINDOW = {**OF_STREAM, "window": "1h"}
COUNTER = "driftgauge_windows_closed_total"
ACTIVE = "driftgauge_alarm_active"
SLOW, LIMIT = "driftgauge_window_slow_drift", "driftgauge_window_slow_drift_limit"
SEGMENT = {**OF_WINDOW, "segment": "country", "value": "de", "verdict": "drift"}

# For each alert: series at which it just fires, the value of its query, and series at which it is quiet.
EDGES = {
    "DriftgaugeDrift": ([series(ACTIVE, 1, **OF_WINDOW)], 1, [series(ACTIVE, 0, **OF_WINDOW)]),
    "DriftgaugeDriftPassed": (
        [series(COUNTER, 0, **OF_WINDOW, verdict="drift") | {"values": "0x4 1x6"}],
        1,
        [series(COUNTER, 1, **OF_WINDOW, verdict="drift")],
    ),
    "DriftgaugeSlowDrift": (
        [series(SLOW, 0.5, **OF_WINDOW), series(LIMIT, 0.5, **OF_WINDOW)],
        0.5,
        [series(SLOW, 0.25, **OF_WINDOW), series(LIMIT, 0.5, **OF_WINDOW)],
    ),
    "DriftgaugeSegmentDrift": (
        [series("driftgauge_window_segment_verdict", 1, **SEGMENT)],
        1,
        [series("driftgauge_window_segment_verdict", 0, **SEGMENT)],
    ),
}

PANELS = {
    "DriftgaugeDrift": "Verdicts of all streams",
    "DriftgaugeDriftPassed": "Verdicts of all streams",
    "DriftgaugeSlowDrift": "Slow drift",
    "DriftgaugeSegmentDrift": "Verdicts of segments",
}

# The comparisons of Grafana's thresholds with one parameter.
COMPARED = {"gt": operator.gt, "lt": operator.lt, "gte": operator.ge, "lte": operator.le}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def grafana_rules() -> dict[str, dict[str, Any]]:
    (group,) = read(COMMITTED)["groups"]
    assert group["name"] == GROUP
    return {rule["title"]: rule for rule in group["rules"]}


def prometheus_rules() -> dict[str, dict[str, Any]]:
    groups = read(DEPLOY / "prometheus/rules/driftgauge-alerts.yml")["groups"]
    (rules,) = (group["rules"] for group in groups if group["name"] == GROUP)
    return {f"{rule['alert']} ({rule['labels']['severity']})": rule for rule in rules}


def test_committed_rules_are_up_to_date():
    assert COMMITTED.read_text("utf-8") == files()[COMMITTED], "run `make generate`"


def test_grafana_rules_are_drift_rules():
    assert set(grafana_rules()) == set(prometheus_rules())


def test_grafana_rule_equals_prometheus_rule():
    for name, theirs in prometheus_rules().items():
        rule = grafana_rules()[name]
        (asked,) = (each["model"]["expr"] for each in rule["data"] if each["datasourceUid"] != "__expr__")
        assert asked == theirs["expr"]
        assert rule["for"] == theirs.get("for", "0s")
        assert rule.get("keepFiringFor") == theirs.get("keep_firing_for")
        assert rule["labels"] == theirs["labels"]
        for annotation in ("summary", "dashboard", "runbook_url"):
            assert rule["annotations"][annotation] == theirs["annotations"][annotation]


def test_condition_uses_query_result():
    for rule in grafana_rules().values():
        asked, condition = rule["data"]
        assert rule["condition"] == condition["refId"]
        assert condition["model"]["expression"] == asked["refId"]
        assert asked["model"]["instant"] is True


@pytest.mark.stack
@pytest.mark.parametrize("name", grafana_rules())
def test_rule_fires_on_smallest_value_and_not_without_value(tmp_path: Path, name: str):
    alert, severity = name.removesuffix(")").split(" (")
    urgent = series("driftgauge_alarm_severity_info", 1, **OF_STREAM, severity=severity)
    firing, least, quiet = EDGES[alert]
    asked, condition = grafana_rules()[name]["data"]
    expr = asked["model"]["expr"]
    assert_results(tmp_path, [*firing, urgent], [(expr, least)])
    assert_results(tmp_path, [*quiet, urgent], [(expr, None)])
    (evaluator,) = (each["evaluator"] for each in condition["model"]["conditions"])
    assert condition["model"]["type"] == "threshold"
    assert COMPARED[evaluator["type"]](least, *evaluator["params"])
    assert grafana_rules()[name]["noDataState"] == "OK"


def test_annotations_use_only_templates_of_grafana():
    for name, rule in grafana_rules().items():
        for text in rule["annotations"].values():
            actions = re.findall(r"\{\{\s*(.*?)\s*\}\}", text)
            assert all(TEMPLATE.fullmatch(action) for action in actions), (name, text)
            # Provisioning would expand this as an environment variable.
            assert "${" not in text, name


def test_descriptions_name_stream_window_and_segment():
    for rule in grafana_rules().values():
        for label in ("stream", "window", "segment", "value"):
            assert f"$labels.{label} " in rule["annotations"]["description"]


def test_every_rule_links_to_its_panel():
    titles = {
        (document["uid"], str(panel["id"])): panel["title"]
        for document in documents()
        for panel in flat(document)
    }
    linked = {
        name.partition(" (")[0]: titles[
            rule["annotations"]["__dashboardUid__"], rule["annotations"]["__panelId__"]
        ]
        for name, rule in grafana_rules().items()
    }
    assert linked == PANELS


def test_rule_uids_are_unique_and_short_enough():
    uids = [rule["uid"] for rule in grafana_rules().values()]
    assert len(uids) == len(set(uids))
    assert all(re.fullmatch(r"[a-z0-9-]{1,40}", uid) for uid in uids)


def test_rules_use_provisioned_data_source():
    (datasource,) = read(PROVISIONING / "datasources/prometheus.yml")["datasources"]
    asked = {query["datasourceUid"] for rule in grafana_rules().values() for query in rule["data"]} - {
        "__expr__"
    }
    assert asked == {datasource["uid"]}


def test_provisioned_dashboards_are_read_only():
    (provider,) = read(PROVISIONING / "dashboards/driftgauge.yml")["providers"]
    assert provider["allowUiUpdates"] is False
    assert provider["disableDeletion"] is True
