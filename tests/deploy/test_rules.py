"""The rules that Prometheus evaluates: valid, tested alert by alert, in words that can be acted on."""

import re
import subprocess
from collections.abc import Iterator
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
from tests.needed import required

PROMETHEUS = Path(__file__).parents[2] / "deploy/prometheus"
RULES = PROMETHEUS / "rules/driftgauge-alerts.yml"
TESTS = sorted(PROMETHEUS.glob("tests/*.test.yml"))

# What a Prometheus of the oldest version that is supported, 2.42, knows of.
GROUP_KEYS = {"name", "rules"}
RULE_KEYS = {"alert", "expr", "for", "keep_firing_for", "labels", "annotations"}

RUNBOOKS = "https://github.com/driftgauge/driftgauge/blob/main/deploy/runbooks"
NAME = re.compile(r"\bdriftgauge_\w+")
RANGE = re.compile(r"\[(\d+[smhd])(:\d+[smhd])?\]")
# The labels that tell one instance of an alert from another, by which a reader finds what it is about.
WHICH = ("stream", "window", "segment", "value", "topic", "partition", "instance", "condition", "role")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def rules() -> dict[str, list[dict[str, Any]]]:
    """The rules of each alert, one a severity."""
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
    """Every time at which an alert is looked at, by its name, and in which instances it is to fire then."""
    for path in TESTS:
        for group in read(path)["tests"]:
            for case in group.get("alert_rule_test", ()):
                yield case["alertname"], case["exp_alerts"]


def promtool(*arguments: object) -> None:
    command = [required("promtool", "prometheus"), *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.stack
def test_promtool_has_nothing_to_say_against_the_rules():
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


@pytest.mark.stack
def test_promtool_has_nothing_to_say_against_the_example_configuration():
    promtool("check", "config", "--lint=all", "--lint-fatal", PROMETHEUS / "prometheus.yml")


def test_the_example_configuration_reads_the_rules_and_names_the_job_that_they_ask_for():
    config = read(PROMETHEUS / "prometheus.yml")
    assert sorted(path for glob in config["rule_files"] for path in PROMETHEUS.glob(glob)) == [RULES]
    (job,) = (scrape["job_name"] for scrape in config["scrape_configs"])
    asked = re.findall(r'job="([^"]+)"', RULES.read_text("utf-8"))
    assert set(asked) == {job}


def left_open(text: str) -> str:
    """The rules as Prometheus 3 takes them: without a sample that lies on the older edge of a range."""
    shorter = RANGE.sub(lambda match: f"[{parse_duration(match[1]) - 1}ms{match[2] or ''}]", text)
    assert shorter != text
    return shorter


@pytest.mark.stack
@pytest.mark.parametrize("version", ["2", "3"])
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name.removesuffix(".test.yml"))
def test_rules_do_what_their_unit_tests_say(tmp_path: Path, path: Path, version: str):
    if version == "3":
        (tmp_path / "rules.yml").write_text(left_open(RULES.read_text("utf-8")))
        text = path.read_text("utf-8").replace(f"../rules/{RULES.name}", "rules.yml")
        path = tmp_path / path.name
        path.write_text(text)
    promtool("test", "rules", path)


def test_every_alert_is_seen_to_fire_and_not_to_fire():
    firing = {name for name, expected in cases() if expected}
    quiet = {name for name, expected in cases() if not expected}
    assert firing == quiet == set(ALERTS)


def test_every_severity_of_an_alert_is_seen():
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


def test_the_committed_rules_are_what_is_generated():
    assert RULES.read_text("utf-8") == files()[RULES], "run `make generate`"


def test_rules_use_nothing_that_the_oldest_prometheus_does_not_know():
    for group in read(RULES)["groups"]:
        assert group.keys() <= GROUP_KEYS, group["name"]
        for rule in group["rules"]:
            assert rule.keys() <= RULE_KEYS, rule


@EACH_RULE
def test_an_alert_says_what_is_wrong_where_to_look_and_how_urgent_it_is(rule: dict[str, Any]):
    annotations = rule["annotations"]
    assert annotations.keys() == {"summary", "description", "dashboard", "runbook_url"}
    assert re.fullmatch(r"[A-Z][^{}]+\.", annotations["summary"])
    assert annotations["runbook_url"] == f"{RUNBOOKS}/{rule['alert']}.md"
    assert re.match(r"/d/([\w-]+)\?", annotations["dashboard"])[1] in {DRIFT, SERVICE}
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def test_only_drift_pages_at_once_and_blindness_after_half_an_hour():
    for name, each in ALERTS.items():
        waits = {rule["labels"]["severity"]: rule.get("for", "0s") for rule in each}
        if name == "DriftgaugeDrift":
            assert waits == {"critical": "0s", "warning": "0s", "info": "0s"}
        elif "critical" in waits:
            assert waits["critical"] == "30m", name
            assert parse_duration(waits["warning"]) <= parse_duration("5m"), name
        else:
            assert waits.keys() == {"warning"}, name


def test_drift_is_bridged_while_its_shard_changes_hands():
    for name in ("DriftgaugeDrift", "DriftgaugeSlowDrift", "DriftgaugeSegmentDrift"):
        assert {rule.get("keep_firing_for") for rule in ALERTS[name]} == {"5m"}


def test_a_description_names_what_it_is_about():
    for name, expected in cases():
        for alert in expected:
            description = alert["exp_annotations"]["description"]
            for label in WHICH:
                assert str(alert["exp_labels"].get(label, "")) in description, (name, label)


@EACH_RULE
def test_a_rule_asks_for_what_is_exported(rule: dict[str, Any]):
    asked = {selector.name for selector, _ in promql.selectors(rule["expr"])}
    asked |= set(NAME.findall(" ".join(rule["annotations"].values())))
    assert asked <= set(promql.series())


@EACH_RULE
def test_a_rule_keeps_what_tells_deployments_apart_and_no_address(rule: dict[str, Any]):
    for node, _ in promql.nodes(rule["expr"]):
        if isinstance(node, promql_parser.AggregateExpr):
            assert set(SOURCE) <= set(node.modifier.labels), str(node)
        if isinstance(node, promql_parser.BinaryExpr) and node.modifier and node.modifier.matching:
            assert set(SOURCE) <= set(node.modifier.matching.labels), str(node)
    if "absent" not in rule["expr"]:
        assert set(SOURCE) <= promql.labels(rule["expr"]) <= {*SOURCE, *WHICH, "shard"}


def test_unit_tests_feed_rules_with_nothing_that_the_service_does_not_export():
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
    """Whether no two series of a result share the labels that rules match by, whatever else is scraped."""
    if isinstance(node, promql_parser.ParenExpr):
        return is_unique(node.expr)
    if isinstance(node, promql_parser.BinaryExpr):
        sides = [each for each in (node.lhs, node.rhs) if not isinstance(each, promql_parser.NumberLiteral)]
        # Time, less what is unique, is unique.
        return all(is_unique(each) for each in sides)
    if isinstance(node, promql_parser.Call):
        return node.func.name == "time"
    return isinstance(node, promql_parser.AggregateExpr)


@EACH_RULE
def test_what_is_joined_to_is_there_once_whatever_else_is_scraped(rule: dict[str, Any]):
    for node, _ in promql.nodes(rule["expr"]):
        if isinstance(node, promql_parser.BinaryExpr) and node.modifier and node.modifier.matching:
            if str(node.op) in {"and", "or", "unless"}:
                continue
            assert is_unique(node.rhs), promql_parser.BinaryExpr.prettify(node)
