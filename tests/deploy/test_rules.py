"""The rules that Prometheus evaluates: valid, tested alert by alert, in words that can be acted on."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from deploy.generate import recording
from deploy.generate.grafana.dashboards import DRIFT, SERVICE
from deploy.generate.texts import to_yaml

from tests.deploy import promql
from tests.needed import required

PROMETHEUS = Path(__file__).parents[2] / "deploy/prometheus"
RULES = sorted(PROMETHEUS.glob("rules/*.yml"))
TESTS = sorted(PROMETHEUS.glob("tests/*.test.yml"))

# What a Prometheus of the oldest version that is supported, 2.42, knows of.
GROUP_KEYS = {"name", "rules"}
RULE_KEYS = {"record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"}

RUNBOOKS = "https://github.com/driftgauge/driftgauge/blob/main/deploy/runbooks"
NAME = re.compile(r"\bjob_\w+:\w+:\w+|\bdriftgauge_\w+")
# The labels that tell one instance of an alert from another, by which a reader finds what it is about.
WHICH = ("stream", "window", "segment", "value", "topic", "partition", "instance")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def rules(kind: str) -> dict[str, dict[str, Any]]:
    return {
        rule[kind]: rule
        for path in RULES
        for group in read(path)["groups"]
        for rule in group["rules"]
        if kind in rule
    }


ALERTS = rules("alert")
RECORDS = rules("record")


def known_names() -> set[str]:
    return {*promql.series(), *RECORDS}


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


def test_promtool_has_nothing_to_say_against_the_rules():
    promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)


def test_promtool_has_nothing_to_say_against_the_example_configuration():
    promtool("check", "config", "--lint=all", "--lint-fatal", PROMETHEUS / "prometheus.yml")


def test_the_example_configuration_reads_every_rule_and_names_the_job_that_rules_ask_for():
    config = read(PROMETHEUS / "prometheus.yml")
    assert sorted(path for glob in config["rule_files"] for path in PROMETHEUS.glob(glob)) == RULES
    (job,) = (scrape["job_name"] for scrape in config["scrape_configs"])
    asked = re.findall(r'job="([^"]+)"', "".join(rule["expr"] for rule in ALERTS.values()))
    assert set(asked) == {job}


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name.removesuffix(".test.yml"))
def test_rules_do_what_their_unit_tests_say(path: Path):
    promtool("test", "rules", path)


def test_every_alert_is_seen_to_fire_and_not_to_fire():
    firing = {name for name, expected in cases() if expected}
    quiet = {name for name, expected in cases() if not expected}
    assert firing == quiet == set(ALERTS)


def test_unit_tests_read_every_rule_and_the_recorded_ones_first():
    order = [group["name"] for path in RULES for group in read(path)["groups"]]
    for path in TESTS:
        tests = read(path)
        assert sorted((path.parent / file).resolve() for file in tests["rule_files"]) == RULES, path
        assert sorted(tests["group_eval_order"]) == sorted(order), path
        assert tests["group_eval_order"][0] == "driftgauge-recording", path


def test_the_committed_recording_rules_are_what_is_generated():
    committed = PROMETHEUS / "rules/driftgauge-recording.yml"
    assert committed.read_text("utf-8") == to_yaml({"groups": recording.groups()}), "run `make generate`"


def test_rules_use_nothing_that_the_oldest_prometheus_does_not_know():
    for path in RULES:
        for group in read(path)["groups"]:
            assert group.keys() <= GROUP_KEYS, group["name"]
            for rule in group["rules"]:
                assert rule.keys() <= RULE_KEYS, rule


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong_and_where_to_look(name: str):
    annotations = ALERTS[name]["annotations"]
    assert annotations.keys() == {"summary", "description", "dashboard", "runbook_url"}
    assert re.fullmatch(r"[A-Z][^{}]+\.", annotations["summary"])
    assert annotations["runbook_url"] == f"{RUNBOOKS}/{name}.md"
    assert re.match(r"/d/([\w-]+)\?", annotations["dashboard"])[1] in {DRIFT, SERVICE}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_urgent_it_is(name: str):
    urgent = ALERTS[name].get("labels", {}).get("severity")
    if urgent is None:
        assert re.search(
            r"group_left \(severity\)\s+job_stream_severity:driftgauge_alarm_severity_info:",
            ALERTS[name]["expr"],
        )
    else:
        assert urgent in {"critical", "warning"}


def test_a_description_names_what_it_is_about():
    for name, expected in cases():
        for alert in expected:
            description = alert["exp_annotations"]["description"]
            for label in WHICH:
                assert alert["exp_labels"].get(label, "") in description, (name, label)


def test_drift_is_described_by_its_top_movers():
    described = [
        alert["exp_annotations"]["description"]
        for name, each in cases()
        for alert in each
        if name == "DriftgaugeDrift"
    ]
    movers = re.compile(r"Top movers:( cluster \d+ \([\d.e-]+\)){3}\.$")
    assert any(movers.search(text) for text in described)
    held = re.compile(r": it is (incomplete|insufficient); the last one that says anything says drift\.$")
    assert all(movers.search(text) or held.search(text) for text in described)


@pytest.mark.parametrize("rule", [*ALERTS.values(), *RECORDS.values()], ids=[*ALERTS, *RECORDS])
def test_a_rule_asks_for_what_is_exported_or_recorded(rule: dict[str, Any]):
    asked = {selector.name for selector, _ in promql.selectors(rule["expr"])}
    asked |= set(NAME.findall(" ".join(rule.get("annotations", {}).values())))
    assert asked <= known_names()


def test_unit_tests_feed_rules_with_nothing_that_the_service_does_not_export():
    exported = set(promql.series()) - set(RECORDS)
    for path in TESTS:
        for group in read(path)["tests"]:
            for series in group["input_series"]:
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
    if isinstance(node, promql_parser.VectorSelector):
        return node.name in RECORDS
    return isinstance(node, promql_parser.AggregateExpr)


@pytest.mark.parametrize("rule", [*ALERTS.values(), *RECORDS.values()], ids=[*ALERTS, *RECORDS])
def test_what_is_joined_to_is_there_once_whatever_else_is_scraped(rule: dict[str, Any]):
    for node, _ in promql.nodes(rule["expr"]):
        if isinstance(node, promql_parser.BinaryExpr) and node.modifier and node.modifier.matching:
            if str(node.op) in {"and", "or", "unless"}:
                continue
            assert is_unique(node.rhs), promql_parser.BinaryExpr.prettify(node)
