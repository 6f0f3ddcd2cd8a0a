"""Routes, checked by amtool, and inhibitions, checked by a real Alertmanager."""

import json
import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.chain.servers import Alertmanager
from tests.deploy.test_rules import ALERTS, cases
from tests.processes import run_required
from tests.waiting import wait_for

FOLDER = Path(__file__).parents[2] / "deploy/alertmanager"
CONFIG = FOLDER / "alertmanager.yml"
SECRETS = "/etc/alertmanager/secrets/driftgauge"

RECEIVER_OF = {"critical": "page", "warning": "tickets", "info": "nobody"}

# Receiver and labels of an alert. Alerts without a severity go to tickets.
ROUTES = [
    ("page", "alertname=DriftgaugeDown severity=critical job=driftgauge"),
    (
        "page",
        "alertname=DriftgaugeConsumerStuck severity=critical job=driftgauge topic=embeddings partition=3",
    ),
    (
        "page",
        "alertname=DriftgaugeDrift severity=critical job=driftgauge stream=checkout window=1h",
    ),
    (
        "tickets",
        "alertname=DriftgaugeDrift severity=warning job=driftgauge stream=clicks window=1h",
    ),
    (
        "nobody",
        "alertname=DriftgaugeDrift severity=info job=driftgauge stream=trials window=1h",
    ),
    ("nobody", "alertname=DriftgaugeSlowDrift severity=info job=driftgauge stream=trials window=1h"),
    (
        "tickets",
        "alertname=DriftgaugeLagGrowing severity=warning job=driftgauge namespace=ml topic=embeddings",
    ),
    ("tickets", "alertname=SomethingElse"),
    ("tickets", "alertname=SomethingElse severity=page"),
]

JOB = {"job": "driftgauge"}
CLICKS = {**JOB, "stream": "clicks", "window": "1h"}
# The external label of several Prometheus servers with one Alertmanager.
HERE, THERE = {"cluster": "eu"}, {"cluster": "us"}
TOPIC = {**JOB, "topic": "embeddings"}
PAGE, TICKET = {"severity": "critical"}, {"severity": "warning"}


@dataclass(frozen=True)
class AlertPair:
    """Two alerts that fire at the same time, and whether the source mutes the target."""

    source: Mapping[str, str]
    target: Mapping[str, str]
    mutes: bool

    def __str__(self) -> str:
        source, target = (each["alertname"].removeprefix("Driftgauge") for each in (self.source, self.target))
        return f"{source}-{'mutes' if self.mutes else 'spares'}-{target}"


def pair(
    source: str,
    source_labels: Mapping[str, str],
    target: str,
    target_labels: Mapping[str, str],
    *,
    mutes: bool,
) -> AlertPair:
    return AlertPair(
        {"alertname": f"Driftgauge{source}", **source_labels},
        {"alertname": f"Driftgauge{target}", **target_labels},
        mutes,
    )


PAIRS = [
    *(
        pair("Down", JOB, alert.removeprefix("Driftgauge"), {**JOB, "stream": "clicks"}, mutes=True)
        for alert in ALERTS
        if alert != "DriftgaugeDown"
    ),
    pair("Down", {**JOB, "namespace": "ml"}, "Drift", {**CLICKS, "namespace": "ml"}, mutes=True),
    pair("Down", {**JOB, "namespace": "ml"}, "Drift", {**CLICKS, "namespace": "trial"}, mutes=False),
    pair("TargetDown", {**JOB, "instance": "a:9464"}, "Drift", CLICKS, mutes=False),
    pair("Drift", CLICKS, "SlowDrift", CLICKS, mutes=True),
    pair("Drift", CLICKS, "SegmentDrift", {**CLICKS, "segment": "country", "value": "de"}, mutes=True),
    pair("Drift", CLICKS, "SlowDrift", {**CLICKS, "window": "1d"}, mutes=False),
    pair("Drift", CLICKS, "SegmentDrift", {**CLICKS, "stream": "views"}, mutes=False),
    pair("Drift", CLICKS, "WindowsIncomplete", CLICKS, mutes=False),
    pair("SlowDrift", CLICKS, "Drift", CLICKS, mutes=False),
    *(
        pair(cause, labels, effect, CLICKS, mutes=True)
        for cause, labels in (
            ("ConsumerStuck", {**TOPIC, "partition": "3"}),
            ("PartitionsStopped", TOPIC),
            ("PartitionsUnheld", TOPIC),
            ("PartitionsUnwritable", TOPIC),
            ("RestoreFailing", TOPIC),
            ("RoleDown", {**JOB, "condition": "windows"}),
            ("TransactionHanging", {**TOPIC, "partition": "3"}),
        )
        for effect in ("WindowsIncomplete", "WindowsOverdue")
    ),
    pair("TransactionHanging", {**TOPIC, "partition": "3"}, "RestoreFailing", TOPIC, mutes=True),
    pair("RoleDown", {**JOB, "condition": "count"}, "Drift", CLICKS, mutes=False),
    pair("RoleDown", JOB, "WindowsOverdue", {**CLICKS, "namespace": "ml"}, mutes=False),
    pair(
        "TransactionHanging",
        {**TOPIC, "partition": "3"},
        "ConsumerStuck",
        {**TOPIC, "partition": "3"},
        mutes=True,
    ),
    pair(
        "TransactionHanging",
        {**TOPIC, "partition": "3"},
        "ConsumerStuck",
        {**TOPIC, "partition": "4"},
        mutes=False,
    ),
    # A page mutes the earlier ticket.
    pair(
        "ConsumerStuck",
        {**PAGE, **TOPIC, "partition": "3"},
        "ConsumerStuck",
        {**TICKET, **TOPIC, "partition": "3"},
        mutes=True,
    ),
    pair(
        "ConsumerStuck",
        {**PAGE, **TOPIC, "partition": "3"},
        "ConsumerStuck",
        {**TICKET, **TOPIC, "partition": "4"},
        mutes=False,
    ),
    pair(
        "ConsumerStuck",
        {**TICKET, **TOPIC, "partition": "3"},
        "ConsumerStuck",
        {**PAGE, **TOPIC, "partition": "3"},
        mutes=False,
    ),
    pair("Drift", {**PAGE, **CLICKS}, "Drift", {**TICKET, **CLICKS, "stream": "views"}, mutes=False),
    pair("Down", {**JOB, **HERE}, "Drift", {**CLICKS, **HERE}, mutes=True),
    *(
        pair(cause, {**labels, **HERE}, effect, {**concerned, **THERE}, mutes=False)
        for cause, labels, effect, concerned in (
            ("Down", JOB, "Drift", CLICKS),
            ("Drift", CLICKS, "SlowDrift", CLICKS),
            ("RoleDown", {**JOB, "condition": "windows"}, "WindowsOverdue", CLICKS),
            ("ConsumerStuck", {**TOPIC, "partition": "3"}, "LagGrowing", TOPIC),
        )
    ),
    pair("ConsumerStuck", {**TOPIC, "partition": "3"}, "LagGrowing", TOPIC, mutes=True),
    pair(
        "ConsumerStuck", {**TOPIC, "partition": "3"}, "LagGrowing", {**TOPIC, "topic": "others"}, mutes=False
    ),
    pair("LagGrowing", TOPIC, "WindowsOverdue", CLICKS, mutes=False),
]


def config() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(CONFIG.read_text("utf-8"))
    return tree


def amtool(*arguments: str) -> str:
    return run_required("amtool", "prometheus-alertmanager", *arguments).stdout


def post(alertmanager: Alertmanager, *alerts: Mapping[str, Any]) -> None:
    """Post firing alerts to Alertmanager."""
    now = datetime.now(UTC).isoformat()
    request = urllib.request.Request(
        f"http://127.0.0.1:{alertmanager.port}/api/v2/alerts",
        json.dumps([{"startsAt": now, **alert} for alert in alerts]).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def with_own_job(labels: Mapping[str, str], number: int) -> dict[str, str]:
    """The labels with a job of their own, which separates the pairs from each other."""
    return {**labels, "job": f"{labels['job']}-{number}"}


@pytest.mark.stack
def test_amtool_accepts_configuration_and_templates():
    said = amtool("check-config", str(CONFIG))
    assert "1 templates" in said


def test_secrets_are_only_in_files():
    written = CONFIG.read_text("utf-8") + "".join(
        path.read_text("utf-8") for path in FOLDER.glob("templates/*")
    )
    files = re.findall(r"_file: (\S+)", written)
    assert len(files) == 2
    assert all(file.startswith(f"{SECRETS}/") for file in files)
    assert not re.search(r"\b(api_url|routing_key|service_key|password|token|credentials):", written)
    kept = (FOLDER / "secrets/.gitignore").read_text("utf-8").splitlines()
    assert kept[-2:] == ["*", "!.gitignore"]


@pytest.mark.stack
@pytest.mark.parametrize(("receiver", "labels"), ROUTES)
def test_alert_goes_to_its_receiver(receiver: str, labels: str):
    amtool(
        "config",
        "routes",
        "test",
        f"--config.file={CONFIG}",
        f"--verify.receivers={receiver}",
        *labels.split(),
    )


@pytest.mark.stack
def test_every_alert_goes_to_receiver_of_its_severity():
    expected_alerts = {
        (name, alert["exp_labels"]["severity"]) for name, expected in cases() for alert in expected
    }
    assert {name for name, _ in expected_alerts} == set(ALERTS)
    for name, severity in sorted(expected_alerts):
        found = amtool(
            "config", "routes", "test", f"--config.file={CONFIG}", f"alertname={name}", f"severity={severity}"
        )
        assert found.strip() == RECEIVER_OF[severity], name


def test_receiver_nobody_sends_nothing():
    (receiver,) = (each for each in config()["receivers"] if each["name"] == "nobody")
    assert receiver.keys() == {"name"}


def test_inhibitions_name_existing_alerts():
    for rule in config()["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            if matcher.startswith("severity"):
                continue
            pattern = re.fullmatch(r'alertname=~?"(.+)"', matcher)
            assert pattern is not None, matcher
            for name in expanded(pattern[1]):
                assert any(re.fullmatch(name, alert) for alert in ALERTS), name


def expanded(pattern: str) -> list[str]:
    """The alternatives of a pattern with one group."""
    group = re.fullmatch(r"(\w+)\((.+)\)", pattern)
    return [pattern] if group is None else [group[1] + one for one in group[2].split("|")]


@pytest.fixture(scope="module")
def muted(tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, bool]:
    """Whether the target of each pair is muted, after all pairs were posted to one Alertmanager."""
    with Alertmanager(tmp_path_factory.mktemp("inhibitions"), {**config(), "templates": []}) as alertmanager:
        post(alertmanager, *({"labels": with_own_job(each.source, n)} for n, each in enumerate(PAIRS)))
        post(alertmanager, *({"labels": with_own_job(each.target, n)} for n, each in enumerate(PAIRS)))

        def states() -> dict[int, bool]:
            return {
                int(alert["labels"]["job"].rpartition("-")[2]): bool(alert["status"]["inhibitedBy"])
                for alert in alertmanager.alerts()
                if alert["labels"] in targets
            }

        targets = [with_own_job(each.target, number) for number, each in enumerate(PAIRS)]
        expected = sum(each.mutes for each in PAIRS)
        wait_for("inhibitions to take effect", lambda: sum(states().values()) >= expected)
        return states()


def test_grouping_and_inhibitions_separate_deployments():
    apart = {"cluster", "job", "namespace"}
    assert apart <= set(config()["route"]["group_by"])
    assert all(apart <= set(rule["equal"]) for rule in config()["inhibit_rules"])


@pytest.mark.stack
@pytest.mark.parametrize("number", range(len(PAIRS)), ids=list(map(str, PAIRS)))
def test_alert_mutes_only_its_consequences(muted: Mapping[int, bool], number: int):
    assert muted[number] is PAIRS[number].mutes
