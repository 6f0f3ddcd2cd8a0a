"""Grafana's drift alert rules: equal to Prometheus's rules, in Grafana's format."""

import operator
import re
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.dashboards import documents, flat
from tests.deploy.evaluation import REPLICA, assert_results, series
from tests.deploy.test_rules import ALERTS, read

PROVISIONING = Path(__file__).parents[2] / "deploy/grafana/provisioning"

# A label, or a condition on a label.
TEMPLATE = re.compile(r"(?:urlquery )?\$labels\.\w+|if \$labels\.\w+|end")

OF_STREAM = {**REPLICA, "stream": "clicks"}
OF_WINDOW = {**OF_STREAM, "window": "1h"}
COUNTER = "driftgauge_windows_closed_total"
SLOW, LIMIT = "driftgauge_window_slow_drift", "driftgauge_window_slow_drift_limit"
SEGMENT = {**OF_WINDOW, "segment": "country", "value": "de", "verdict": "drift"}

# For each alert: its panel, series at which it just fires, and the value of its query.
EDGES = {
    "DriftgaugeDrift": ("Verdicts of all streams", [series("driftgauge_alarm_active", 1, **OF_WINDOW)], 1),
    "DriftgaugeDriftPassed": (
        "Verdicts of all streams",
        [series(COUNTER, 0, **OF_WINDOW, verdict="drift") | {"values": "0x4 1x6"}],
        1,
    ),
    "DriftgaugeSlowDrift": (
        "Slow drift",
        [series(SLOW, 0.5, **OF_WINDOW), series(LIMIT, 0.5, **OF_WINDOW)],
        0.5,
    ),
    "DriftgaugeSegmentDrift": (
        "Verdicts of segments",
        [series("driftgauge_window_segment_verdict", 1, **SEGMENT)],
        1,
    ),
}

# The comparisons of Grafana's thresholds with one parameter.
COMPARED = {"gt": operator.gt, "lt": operator.lt, "gte": operator.ge, "lte": operator.le}

(GROUP,) = read(PROVISIONING / "alerting/driftgauge.yml")["groups"]
RULES: dict[str, dict[str, Any]] = {rule["title"]: rule for rule in GROUP["rules"]}


def test_grafana_rules_equal_prometheus_rules():
    theirs = {name: rule for name in EDGES for rule in ALERTS[name]}
    assert RULES.keys() == theirs.keys()
    for title, rule in RULES.items():
        asked, condition = rule["data"]
        assert asked["model"]["expr"] == theirs[title]["expr"]
        assert (rule["condition"], condition["model"]["expression"]) == (condition["refId"], asked["refId"])
        assert rule["for"] == theirs[title].get("for", "0s")
        assert rule.get("keepFiringFor") == theirs[title].get("keep_firing_for")
        assert rule["labels"] == theirs[title]["labels"]
        for annotation in ("summary", "dashboard", "runbook_url"):
            assert rule["annotations"][annotation] == theirs[title]["annotations"][annotation]


@pytest.mark.stack
@pytest.mark.parametrize("title", RULES)
def test_rule_fires_on_smallest_value_and_not_without_value(tmp_path: Path, title: str):
    _, firing, least = EDGES[title]
    asked, condition = RULES[title]["data"]
    assert_results(tmp_path, firing, [(asked["model"]["expr"], least)])
    (evaluator,) = (each["evaluator"] for each in condition["model"]["conditions"])
    assert COMPARED[evaluator["type"]](least, *evaluator["params"])
    assert RULES[title]["noDataState"] == "OK"


def test_annotations_use_only_templates_of_grafana():
    for title, rule in RULES.items():
        for text in rule["annotations"].values():
            actions = re.findall(r"\{\{\s*(.*?)\s*\}\}", text)
            assert all(TEMPLATE.fullmatch(action) for action in actions), (title, text)
            # Provisioning would expand this as an environment variable.
            assert "${" not in text, title


def test_every_rule_links_to_its_panel():
    titles = {
        (document["uid"], str(panel["id"])): panel["title"]
        for document in documents()
        for panel in flat(document)
    }
    for title, rule in RULES.items():
        place = rule["annotations"]["__dashboardUid__"], rule["annotations"]["__panelId__"]
        assert titles[place] == EDGES[title][0]


def test_rules_have_unique_uids_and_use_provisioned_data_source():
    uids = {rule["uid"] for rule in RULES.values()}
    assert len(uids) == len(RULES)
    assert all(re.fullmatch(r"[a-z0-9-]{1,40}", uid) for uid in uids)
    (datasource,) = read(PROVISIONING / "datasources/prometheus.yml")["datasources"]
    asked = {query["datasourceUid"] for rule in RULES.values() for query in rule["data"]}
    assert asked == {datasource["uid"], "__expr__"}
