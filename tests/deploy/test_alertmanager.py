"""The shipped routes, templates and silences: by amtool, and by a real Alertmanager's notices."""

import json
import re
import shlex
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from deploy.generate.alertmanager import spec
from deploy.generate.alerts import groups

from driftgauge.page.advice import silence_of
from driftgauge.page.overview import Overview
from tests.builders.clocks import MONDAY_MS
from tests.builders.page import MadeResults, build_settings
from tests.deploy.servers import (
    ALERTMANAGER,
    ALERTMANAGER_CONFIG,
    SECRETS,
    Alertmanager,
    load,
    run_alertmanager,
)
from tests.deploy.test_rules import ALERTS, cases
from tests.processes import run_required
from tests.waiting import wait_for

# Alerts without a severity go to tickets.
ROUTES = [
    ("page", "alertname=DriftgaugeDown severity=critical job=driftgauge"),
    ("page", "alertname=DriftgaugeDrift severity=critical job=driftgauge stream=checkout window=1h"),
    ("tickets", "alertname=DriftgaugeDrift severity=warning job=driftgauge stream=clicks window=1h"),
    ("nobody", "alertname=DriftgaugeDrift severity=info job=driftgauge stream=trials window=1h"),
    (
        "search-page",
        "alertname=DriftgaugeDrift severity=critical job=driftgauge stream=q owner=ada team=search",
    ),
    ("search-tickets", "alertname=DriftgaugeWindowsOverdue severity=warning stream=q owner=ada team=search"),
    ("nobody", "alertname=DriftgaugeDrift severity=info job=driftgauge stream=q owner=ada team=search"),
    ("tickets", "alertname=DriftgaugeDrift severity=warning job=driftgauge stream=r owner=eve team=vision"),
    ("tickets", "alertname=DriftgaugeLagGrowing severity=warning job=driftgauge topic=embeddings"),
    ("tickets", "alertname=SomethingElse"),
    ("tickets", "alertname=SomethingElse severity=page"),
]

JOB = {"job": "driftgauge"}
CLICKS = {**JOB, "stream": "clicks", "window": "1h"}
# The external label of several Prometheus servers with one Alertmanager.
HERE, THERE = {"cluster": "eu"}, {"cluster": "us"}
TOPIC = {**JOB, "topic": "embeddings"}
ACTIVE, INCOMPLETE = {**CLICKS, "reason": "active"}, {**CLICKS, "reason": "incomplete"}
ROLE = {**JOB, "condition": "windows", "reason": "role"}
PAGE, TICKET = {"severity": "critical"}, {"severity": "warning"}


class AlertPair(NamedTuple):
    """Two alerts that fire at the same time, and whether the source mutes the target."""

    source: Mapping[str, str]
    target: Mapping[str, str]
    mutes: bool


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
    pair("ReplicaFault", {**JOB, "instance": "a:9464"}, "Drift", CLICKS, mutes=False),
    pair("Drift", ACTIVE, "SlowDrift", CLICKS, mutes=True),
    pair("Drift", {**CLICKS, "reason": "passed"}, "SlowDrift", CLICKS, mutes=False),
    pair("Drift", ACTIVE, "SegmentDrift", {**CLICKS, "segment": "country", "value": "de"}, mutes=True),
    pair("Drift", ACTIVE, "SlowDrift", {**CLICKS, "window": "1d"}, mutes=False),
    pair("Drift", ACTIVE, "SegmentDrift", {**CLICKS, "stream": "views"}, mutes=False),
    pair("Drift", ACTIVE, "WindowsInconclusive", INCOMPLETE, mutes=False),
    pair("SlowDrift", CLICKS, "Drift", CLICKS, mutes=False),
    *(
        pair(cause, labels, effect, concerned, mutes=True)
        for cause, labels in (
            ("ConsumerStuck", {**TOPIC, "partition": "3"}),
            ("PartitionsStopped", TOPIC),
            ("PartitionsBlocked", {**TOPIC, "reason": "unheld"}),
            ("PartitionsBlocked", ROLE),
            ("TransactionHanging", {**TOPIC, "partition": "3"}),
        )
        for effect, concerned in (("WindowsInconclusive", INCOMPLETE), ("WindowsOverdue", CLICKS))
    ),
    *(
        pair("PartitionsStopped", TOPIC, "WindowsInconclusive", {**CLICKS, "reason": reason}, mutes=False)
        for reason in ("misfit", "sensitivity")
    ),
    *(
        pair(
            "TransactionHanging",
            {**TOPIC, "partition": "3"},
            "PartitionsBlocked",
            {**TOPIC, "reason": reason},
            mutes=reason == "restore",
        )
        for reason in ("restore", "unheld")
    ),
    pair(
        "RecordsRejected",
        {**TOPIC, "reason": "topic"},
        "RecordsRejected",
        {**TOPIC, "reason": "part"},
        mutes=True,
    ),
    # A page mutes the ticket of the same reason only.
    *(
        pair(
            "PartitionsBlocked",
            {**PAGE, **TOPIC, "reason": "unheld"},
            "PartitionsBlocked",
            {**TICKET, **TOPIC, "reason": reason},
            mutes=reason == "unheld",
        )
        for reason in ("unheld", "restore")
    ),
    pair("PartitionsBlocked", ROLE, "Drift", CLICKS, mutes=False),
    pair("PartitionsBlocked", ROLE, "WindowsOverdue", {**CLICKS, "namespace": "ml"}, mutes=False),
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
    # While the configuration changes, a stream's alert exists with its old labels and the new ones.
    pair(
        "Drift", {**PAGE, **CLICKS, "owner": "eve"}, "Drift", {**TICKET, **CLICKS, "owner": "ada"}, mutes=True
    ),
    pair("Down", {**JOB, **HERE}, "Drift", {**CLICKS, **HERE}, mutes=True),
    *(
        pair(cause, {**labels, **HERE}, effect, {**concerned, **THERE}, mutes=False)
        for cause, labels, effect, concerned in (
            ("Down", JOB, "Drift", CLICKS),
            ("Drift", ACTIVE, "SlowDrift", CLICKS),
            ("PartitionsBlocked", ROLE, "WindowsOverdue", CLICKS),
            ("ConsumerStuck", {**TOPIC, "partition": "3"}, "LagGrowing", TOPIC),
        )
    ),
    pair("ConsumerStuck", {**TOPIC, "partition": "3"}, "LagGrowing", TOPIC, mutes=True),
    pair(
        "ConsumerStuck", {**TOPIC, "partition": "3"}, "LagGrowing", {**TOPIC, "topic": "others"}, mutes=False
    ),
    pair("LagGrowing", TOPIC, "WindowsOverdue", CLICKS, mutes=False),
]


# Names that begin, end or match like others, and characters that a matcher or a shell reads otherwise.
STREAMS = ("clicks", "clicks2", "my-clicks", "click.", 'a "b" | \\ $c')


CONFIG: dict[str, Any] = load(ALERTMANAGER_CONFIG)


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


@pytest.mark.stack
def test_amtool_accepts_configuration_and_templates():
    said = amtool("check-config", str(ALERTMANAGER_CONFIG))
    assert "1 templates" in said


def test_secrets_are_only_in_files():
    texts = [ALERTMANAGER_CONFIG, *ALERTMANAGER.glob("templates/*")]
    written = "".join(path.read_text("utf-8") for path in texts)
    files = re.findall(r"_file: (\S+)", written)
    assert len(set(files)) == len(files) == 4
    assert all(file.startswith(f"{SECRETS}/") for file in files)
    assert not re.search(r"\b(api_url|routing_key|service_key|password|token|credentials):", written)


def test_operator_gets_the_same_routes_inhibitions_and_secrets():
    def written(matchers: list[dict[str, str]]) -> list[str]:
        return [f'{each["name"]}{each.get("matchType", "=")}"{each["value"]}"' for each in matchers]

    def routes(tree: dict[str, Any], read: Callable[[Any], Any]) -> list[Any]:
        return [
            (read(each["matchers"]), each["receiver"], routes(each, read)) for each in tree.get("routes", ())
        ]

    shipped, operator = CONFIG, spec()
    assert routes(operator["route"], written) == routes(shipped["route"], list)
    assert [
        (written(rule["sourceMatch"]), written(rule["targetMatch"]), rule["equal"])
        for rule in operator["inhibitRules"]
    ] == [
        (rule["source_matchers"], rule["target_matchers"], rule["equal"]) for rule in shipped["inhibit_rules"]
    ]
    secrets = re.findall(rf"{SECRETS}/([\w-]+)", str(shipped["receivers"]))
    assert re.findall(r"'key': '([\w-]+-(?:key|url))'", str(operator["receivers"])) == secrets


@pytest.mark.stack
@pytest.mark.parametrize(("receiver", "labels"), ROUTES)
def test_alert_goes_to_its_receiver(receiver: str, labels: str):
    options = (f"--config.file={ALERTMANAGER_CONFIG}", f"--verify.receivers={receiver}")
    amtool("config", "routes", "test", *options, *labels.split())


def test_deployments_have_separate_notices():
    assert {"cluster", "job", "namespace"} <= set(CONFIG["route"]["group_by"])


@pytest.mark.stack
def test_alerts_mute_only_their_consequences(tmp_path: Path):
    # A job for each pair separates the pairs from each other.
    sources = [{**each.source, "job": f"{number}"} for number, each in enumerate(PAIRS)]
    targets = [{**each.target, "job": f"{number}"} for number, each in enumerate(PAIRS)]
    with Alertmanager(tmp_path, {**CONFIG, "templates": []}) as alertmanager:
        post(alertmanager, *({"labels": labels} for labels in sources))
        post(alertmanager, *({"labels": labels} for labels in targets))

        def muted() -> list[AlertPair]:
            found = [alert["labels"] for alert in alertmanager.alerts() if alert["status"]["inhibitedBy"]]
            return [each for each, labels in zip(PAIRS, targets, strict=True) if labels in found]

        expected = [each for each in PAIRS if each.mutes]
        wait_for("inhibitions to take effect", lambda: len(muted()) >= len(expected))
        assert muted() == expected


def alerts_of(stream: str) -> list[dict[str, str]]:
    """Return an alert by each rule of the shipped ones, for each window size of a stream."""
    part = {"segment": "camera", "value": "dock-2"}
    return [
        {
            **JOB,
            "alertname": rule["alert"],
            "reason": rule["labels"].get("reason", ""),
            "stream": stream,
            "window": window,
            **(part if rule["alert"] == "DriftgaugeSegmentDrift" else {}),
        }
        for group in groups()
        for rule in group["rules"]
        for window in ("1h", "6h", "1d")
    ]


@pytest.mark.stack
@pytest.mark.parametrize("stream", [STREAMS[0], STREAMS[-1]])
def test_silence_that_is_offered_mutes_all_alerts_on_the_drift_of_its_stream_alone(
    tmp_path: Path, stream: str
):
    results = MadeResults()
    results.publish(0, "drift", stream=stream)
    offered = silence_of(Overview(results.history, build_settings()).status(stream, MONDAY_MS))
    assert offered is not None
    program, *arguments = shlex.split(offered)
    assert program == "amtool"
    on_drift = {
        rule["alert"] for group in groups() if group["name"] == "driftgauge-drift" for rule in group["rules"]
    }
    every = [alert for each in STREAMS for alert in alerts_of(each)]
    with Alertmanager(tmp_path, {**CONFIG, "templates": [], "inhibit_rules": []}) as alertmanager:
        amtool(f"--alertmanager.url=http://127.0.0.1:{alertmanager.port}", *arguments)
        post(alertmanager, *({"labels": labels} for labels in every))

        def silenced() -> list[dict[str, str]]:
            return [each["labels"] for each in alertmanager.alerts() if each["status"]["silencedBy"]]

        wait_for("all alerts", lambda: len(alertmanager.alerts()) == len(set(map(str, every))))
        found = {(each["alertname"], each["stream"], each["window"]) for each in silenced()}
    assert found == {(name, stream, window) for name in on_drift for window in ("1h", "6h", "1d")}


GRAFANA = "http://localhost:3000"
WINDOW_PAGE = "http://localhost:9464/"


@pytest.mark.stack
def test_notice_links_to_dashboard_and_runbook(tmp_path: Path):
    (drift, *_), *_ = (expected for name, expected in cases() if name == "DriftgaugeDrift" and expected)
    said: dict[str, str] = drift["exp_annotations"]
    said["description"] += " cluster 4 (<!channel> <https://evil|Dashboard> &lt;) 5.0 %"
    labels = {"alertname": "DriftgaugeDrift", **drift["exp_labels"], "severity": "warning"}
    fired = [
        {"labels": each, "annotations": said}
        for each in (
            labels,
            {**labels, "alertname": "DriftgaugeLagGrowing"},
            {**labels, "severity": "critical", "window": "1d"},
            {**labels, "severity": "info", "stream": "trials"},
        )
    ]
    with run_alertmanager(tmp_path, factor=60) as (alertmanager, received):
        post(alertmanager, *fired)
        wait_for("both notices", lambda: received.keys() == {"/slack", "/pagerduty"})
        now = datetime.now(UTC)
        over = {"startsAt": (now - timedelta(minutes=1)).isoformat(), "endsAt": now.isoformat()}
        post(alertmanager, *(alert | over for alert in fired))
        wait_for(
            "both to be resolved",
            lambda: all("is resolved" in json.dumps(sent) for sent in received.values()),
        )

    dashboard, window, runbook = GRAFANA + said["dashboard"], WINDOW_PAGE + said["page"], said["runbook_url"]
    escaped = said["description"].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    (ticket,) = received["/slack"][0]["attachments"]
    assert ticket["title"] == f"[firing] clicks: {said['summary']} (and 1 more)"
    assert ticket["title_link"] == dashboard
    assert ticket["text"].splitlines()[:3] == [
        f"*DriftgaugeDrift* is firing. {escaped}",
        f"<{dashboard}|Dashboard> <{window}|Window> <{runbook}|Runbook>",
        f"*DriftgaugeLagGrowing* is firing. {escaped}",
    ]
    page = received["/pagerduty"][0]
    assert (page["routing_key"], page["client_url"]) == ("key", dashboard)
    assert page["payload"]["summary"] == f"[firing] clicks: {said['summary']}"
    assert page["payload"]["custom_details"]["alerts"].splitlines() == [
        f"DriftgaugeDrift is firing. {said['description']}",
        f"Dashboard: {dashboard}",
        f"Window: {window}",
        f"Runbook: {runbook}",
    ]
    assert "trials" not in json.dumps(received)


OVER, FIRING = ("resolved", "gone"), ("firing", "there")
OWNED = {"cluster": "eu", "stream": "clicks", "owner": "ada"}


@pytest.mark.stack
@pytest.mark.parametrize(
    ("name", "status", "alerts", "labels", "text"),
    [
        ("title", "firing", (OVER, FIRING), {}, "[firing] there"),
        ("dashboard", "firing", (OVER, FIRING), {}, f"{GRAFANA}/d/there"),
        ("title", "resolved", (OVER, OVER), OWNED, "[resolved] eu: clicks (ada): gone (and 1 more)"),
    ],
)
def test_template_names_firing_alert_and_cluster(
    tmp_path: Path,
    name: str,
    status: str,
    alerts: Sequence[tuple[str, str]],
    labels: Mapping[str, str],
    text: str,
):
    told_of = [
        {"status": state, "labels": {}, "annotations": {"summary": summary, "dashboard": f"/d/{summary}"}}
        for state, summary in alerts
    ]
    data = tmp_path / "notice.json"
    data.write_text(json.dumps({"status": status, "alerts": told_of, "commonLabels": labels}))
    templates = f"--template.glob={ALERTMANAGER}/templates/*.tmpl"
    shown = f'--template.text={{{{ template "driftgauge.{name}" . }}}}'
    assert amtool("template", "render", templates, shown, f"--template.data={data}").strip() == text
