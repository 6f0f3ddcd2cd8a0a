"""Who is told of which alert: routes by amtool, inhibitions by a real Alertmanager."""

import json
import re
import subprocess
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
from tests.integration.service import wait_for
from tests.needed import required

FOLDER = Path(__file__).parents[2] / "deploy/alertmanager"
CONFIG = FOLDER / "alertmanager.yml"
SECRETS = "/etc/alertmanager/secrets/driftgauge"

RECEIVER_OF = {"critical": "page", "warning": "tickets", "info": "nobody"}

# Receiver, and the labels of what it is to be told of. What bears no severity is not lost.
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
# An external label, where one Alertmanager is told by several Prometheis.
HERE, THERE = {"cluster": "eu"}, {"cluster": "us"}
TOPIC = {**JOB, "topic": "embeddings"}
PAGE, TICKET = {"severity": "critical"}, {"severity": "warning"}


@dataclass(frozen=True)
class Pair:
    """Two alerts that fire at the same time."""

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
) -> Pair:
    return Pair(
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
    # A page mutes the ticket that came before it.
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
    command = [required("amtool", "prometheus-alertmanager"), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def post(alertmanager: Alertmanager, *alerts: Mapping[str, Any]) -> None:
    """Say that these alerts fire."""
    now = datetime.now(UTC).isoformat()
    request = urllib.request.Request(
        f"http://127.0.0.1:{alertmanager.port}/api/v2/alerts",
        json.dumps([{"startsAt": now, **alert} for alert in alerts]).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def in_world(labels: Mapping[str, str], number: int) -> dict[str, str]:
    """The same labels under a job of their own, so that no pair has to do with another."""
    return {**labels, "job": f"{labels['job']}-{number}"}


@pytest.mark.stack
def test_amtool_has_nothing_to_say_against_the_configuration_and_its_templates():
    said = amtool("check-config", str(CONFIG))
    assert "1 templates" in said


def test_what_is_secret_stands_in_files():
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
def test_an_alert_goes_to_its_receiver(receiver: str, labels: str):
    amtool(
        "config",
        "routes",
        "test",
        f"--config.file={CONFIG}",
        f"--verify.receivers={receiver}",
        *labels.split(),
    )


@pytest.mark.stack
def test_every_alert_goes_where_its_severity_leads():
    told = {(name, alert["exp_labels"]["severity"]) for name, expected in cases() for alert in expected}
    assert {name for name, _ in told} == set(ALERTS)
    for name, severity in sorted(told):
        found = amtool(
            "config", "routes", "test", f"--config.file={CONFIG}", f"alertname={name}", f"severity={severity}"
        )
        assert found.strip() == RECEIVER_OF[severity], name


def test_nobody_is_a_receiver_that_tells_nobody():
    (receiver,) = (each for each in config()["receivers"] if each["name"] == "nobody")
    assert receiver.keys() == {"name"}


def test_inhibitions_name_alerts_that_there_are():
    for rule in config()["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            if matcher.startswith("severity"):
                continue
            pattern = re.fullmatch(r'alertname=~?"(.+)"', matcher)
            assert pattern is not None, matcher
            for name in expanded(pattern[1]):
                assert any(re.fullmatch(name, alert) for alert in ALERTS), name


def expanded(pattern: str) -> list[str]:
    """Each alternative of a pattern with one group of them, by itself."""
    group = re.fullmatch(r"(\w+)\((.+)\)", pattern)
    return [pattern] if group is None else [group[1] + one for one in group[2].split("|")]


@pytest.fixture(scope="module")
def muted(tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, bool]:
    """Of which pairs the target is muted, after all of them were posted to one Alertmanager."""
    with Alertmanager(tmp_path_factory.mktemp("inhibitions"), {**config(), "templates": []}) as alertmanager:
        post(alertmanager, *({"labels": in_world(each.source, n)} for n, each in enumerate(PAIRS)))
        post(alertmanager, *({"labels": in_world(each.target, n)} for n, each in enumerate(PAIRS)))

        def states() -> dict[int, bool]:
            return {
                int(alert["labels"]["job"].rpartition("-")[2]): bool(alert["status"]["inhibitedBy"])
                for alert in alertmanager.alerts()
                if alert["labels"] in targets
            }

        targets = [in_world(each.target, number) for number, each in enumerate(PAIRS)]
        expected = sum(each.mutes for each in PAIRS)
        wait_for("inhibitions to take effect", lambda: sum(states().values()) >= expected)
        return states()


def test_notices_and_what_mutes_them_are_kept_apart_by_deployment():
    apart = {"cluster", "job", "namespace"}
    assert apart <= set(config()["route"]["group_by"])
    assert all(apart <= set(rule["equal"]) for rule in config()["inhibit_rules"])


@pytest.mark.stack
@pytest.mark.parametrize("number", range(len(PAIRS)), ids=list(map(str, PAIRS)))
def test_an_alert_mutes_what_follows_from_it_and_nothing_else(muted: Mapping[int, bool], number: int):
    assert muted[number] is PAIRS[number].mutes
