"""Prometheus's alerting rules: validity, unit tests of every alert, texts and labels."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from deploy.generate.__main__ import files
from deploy.generate.grafana.dashboards import DRIFT, SERVICE
from deploy.generate.labels import SOURCE

from driftgauge.core.durations import parse_duration
from tests.deploy import promql
from tests.processes import run_required

PROMETHEUS = Path(__file__).parents[2] / "deploy/prometheus"
RULES = PROMETHEUS / "rules/driftgauge-alerts.yml"
TESTS = sorted(PROMETHEUS.glob("tests/*.test.yml"))

# The keys of Prometheus 2.42, the oldest supported version.
GROUP_KEYS = {"name", "rules"}
RULE_KEYS = {"alert", "expr", "for", "keep_firing_for", "labels", "annotations"}

RUNBOOKS = "https://github.com/driftgauge/driftgauge/blob/main/deploy/runbooks"
NAME = re.compile(r"\bdriftgauge_\w+")
RANGE = re.compile(r"\[(\d+[smhd])(:\d+[smhd])?\]")
# The labels that identify an instance of an alert.
WHICH = ("stream", "window", "segment", "value", "topic", "partition", "instance", "condition", "role")

promtool = partial(run_required, "promtool", "prometheus")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def rules() -> dict[str, list[dict[str, Any]]]:
    """The rules by alert, one rule per severity."""
    found: dict[str, list[dict[str, Any]]] = {}
    for group in read(RULES)["groups"]:
        for rule in group["rules"]:
            found.setdefault(rule["alert"], []).append(rule)
    return found


ALERTS = rules()
EACH_RULE = pytest.mark.parametrize(
    "rule",
    [rule for each in ALERTS.values() for rule in each],
    ids=[f"{name}-{rule['labels']['severity']}" for name, each in ALERTS.items() for rule in each],
)


def cases() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The evaluated alerts of all unit tests, with the instances expected to fire."""
    for path in TESTS:
        for group in read(path)["tests"]:
            for case in group.get("alert_rule_test", ()):
                yield case["alertname"], case["exp_alerts"]


@pytest.mark.stack
def test_promtool_accepts_rules():
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


@pytest.mark.stack
def test_promtool_accepts_example_configuration():
    run_required(
        "promtool",
        "prometheus",
        "check",
        "config",
        "--lint=all",
        "--lint-fatal",
        PROMETHEUS / "prometheus.yml",
    )


def test_example_configuration_reads_rules_and_names_their_job():
    config = read(PROMETHEUS / "prometheus.yml")
    assert sorted(path for glob in config["rule_files"] for path in PROMETHEUS.glob(glob)) == [RULES]
    (job,) = (scrape["job_name"] for scrape in config["scrape_configs"])
    asked = re.findall(r'job="([^"]+)"', RULES.read_text("utf-8"))
    assert set(asked) == {job}


def exclude_older_edge(text: str) -> str:
    """The rules with ranges that exclude a sample on the older edge, as Prometheus 3 evaluates them."""
    shorter = RANGE.sub(lambda match: f"[{parse_duration(match[1]) - 1}ms{match[2] or ''}]", text)
    assert shorter != text
    return shorter


@pytest.mark.stack
@pytest.mark.parametrize("version", ["2", "3"])
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name.removesuffix(".test.yml"))
def test_rules_pass_their_unit_tests(tmp_path: Path, path: Path, version: str):
    if version == "3":
        (tmp_path / "rules.yml").write_text(exclude_older_edge(RULES.read_text("utf-8")))
        text = path.read_text("utf-8").replace(f"../rules/{RULES.name}", "rules.yml")
        path = tmp_path / path.name
        path.write_text(text)
    promtool("test", "rules", path)


def test_unit_tests_cover_firing_and_quiet_of_every_alert():
    firing = {name for name, expected in cases() if expected}
    quiet = {name for name, expected in cases() if not expected}
    assert firing == quiet == set(ALERTS)


def test_unit_tests_cover_every_severity():
    seen = {(name, alert["exp_labels"]["severity"]) for name, expected in cases() for alert in expected}
    looked_up = {
        (matched[1], severity)
        for path in TESTS
        for matched in re.finditer(r'alertname="(\w+)"', path.read_text("utf-8"))
        for severity in ("critical", "warning")
        if f'alertname="{matched[1]}", alertstate="firing", severity="{severity}"' in path.read_text("utf-8")
    }
    assert seen | looked_up >= {
        (name, rule["labels"]["severity"]) for name, each in ALERTS.items() for rule in each
    }


def test_committed_rules_are_up_to_date():
    assert RULES.read_text("utf-8") == files()[RULES], "run `make generate`"


def test_rules_use_only_keys_of_oldest_prometheus():
    for group in read(RULES)["groups"]:
        assert group.keys() <= GROUP_KEYS, group["name"]
        for rule in group["rules"]:
            assert rule.keys() <= RULE_KEYS, rule


@EACH_RULE
def test_alert_has_summary_links_and_severity(rule: dict[str, Any]):
    annotations = rule["annotations"]
    # Only a window has a page of its own, not the state of the service.
    page = {"page"} if annotations["dashboard"].startswith(f"/d/{DRIFT}?") else set()
    assert annotations.keys() == {"summary", "description", "dashboard", "runbook_url"} | page
    assert re.fullmatch(r"[A-Z][^{}]+\.", annotations["summary"])
    assert annotations["runbook_url"] == f"{RUNBOOKS}/{rule['alert']}.md"
    assert re.match(r"/d/([\w-]+)\?", annotations["dashboard"])[1] in {DRIFT, SERVICE}
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def test_drift_pages_at_once_and_blindness_after_half_an_hour():
    for name, each in ALERTS.items():
        waits = {rule["labels"]["severity"]: rule.get("for", "0s") for rule in each}
        if name == "DriftgaugeDrift":
            assert waits == {"critical": "0s", "warning": "0s", "info": "0s"}
        elif "critical" in waits:
            assert waits["critical"] == "30m", name
            assert parse_duration(waits["warning"]) <= parse_duration("5m"), name
        else:
            assert waits.keys() == {"warning"}, name


def test_drift_keeps_firing_while_shard_changes_owner():
    for name in ("DriftgaugeDrift", "DriftgaugeSlowDrift", "DriftgaugeSegmentDrift"):
        assert {rule.get("keep_firing_for") for rule in ALERTS[name]} == {"5m"}


def test_description_names_every_label():
    for name, expected in cases():
        for alert in expected:
            description = alert["exp_annotations"]["description"]
            for label in WHICH:
                assert str(alert["exp_labels"].get(label, "")) in description, (name, label)


@EACH_RULE
def test_rule_queries_exported_metrics(rule: dict[str, Any]):
    asked = {selector.name for selector, _ in promql.selectors(rule["expr"])}
    asked |= set(NAME.findall(" ".join(rule["annotations"].values())))
    assert asked <= set(promql.series())


@EACH_RULE
def test_rule_keeps_source_labels_and_no_address(rule: dict[str, Any]):
    for node, _ in promql.nodes(rule["expr"]):
        if isinstance(node, promql_parser.AggregateExpr):
            assert set(SOURCE) <= set(node.modifier.labels), str(node)
        if isinstance(node, promql_parser.BinaryExpr) and node.modifier and node.modifier.matching:
            assert set(SOURCE) <= set(node.modifier.matching.labels), str(node)
    if "absent" not in rule["expr"]:
        assert set(SOURCE) <= promql.labels(rule["expr"]) <= {*SOURCE, *WHICH, "shard"}


def test_unit_tests_use_only_exported_series():
    exported = set(promql.series())
    for path in TESTS:
        for group in read(path)["tests"]:
            for series in group.get("input_series", ()):
                (selector,) = (found for found, _ in promql.selectors(series["series"]))
                labels = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
                assert selector.name in exported, path
                if labels.get("job") == "driftgauge":
                    assert set(labels) <= promql.series()[selector.name], (path, selector.name)


def is_unique(node: promql.Node) -> bool:
    """Whether an expression has one series for each set of matched labels, whatever else is scraped."""
    if isinstance(node, promql_parser.ParenExpr):
        return is_unique(node.expr)
    if isinstance(node, promql_parser.BinaryExpr):
        sides = [each for each in (node.lhs, node.rhs) if not isinstance(each, promql_parser.NumberLiteral)]
        # The time minus a unique series is unique.
        return all(is_unique(each) for each in sides)
    if isinstance(node, promql_parser.Call):
        return node.func.name == "time"
    return isinstance(node, promql_parser.AggregateExpr)


@EACH_RULE
def test_right_side_of_join_is_unique(rule: dict[str, Any]):
    for node, _ in promql.nodes(rule["expr"]):
        if isinstance(node, promql_parser.BinaryExpr) and node.modifier and node.modifier.matching:
            if str(node.op) in {"and", "or", "unless"}:
                continue
            assert is_unique(node.rhs), promql_parser.BinaryExpr.prettify(node)
