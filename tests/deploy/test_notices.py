"""Notices that a real Alertmanager sends to test servers in place of Slack and PagerDuty."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.chain.monitoring import shorten
from tests.deploy.chain.servers import Alertmanager
from tests.deploy.chain.webhook import JsonReceiver
from tests.deploy.test_alertmanager import CONFIG, FOLDER, SECRETS, amtool, post
from tests.deploy.test_rules import cases
from tests.waiting import wait_for

pytestmark = pytest.mark.stack

GRAFANA = "http://localhost:3000"
PAGE = "http://localhost:9464/"


class ReceivedMessages(JsonReceiver):
    """The requests that the receivers got, by path."""

    def __init__(self) -> None:
        super().__init__(lambda path, body: self.messages.setdefault(path, []).append(body))
        self.messages: dict[str, list[dict[str, Any]]] = {}


@contextmanager
def run_alertmanager(folder: Path, factor: int) -> Iterator[tuple[Alertmanager, ReceivedMessages]]:
    """Run Alertmanager with the shipped routes and receivers, with waits divided by a factor."""
    shutil.copytree(FOLDER / "templates", folder / "templates")
    with ReceivedMessages() as received:
        (folder / "slack-url").write_text(f"{received.url}/slack")
        (folder / "pagerduty-key").write_text("key")
        shipped = yaml.safe_load(CONFIG.read_text("utf-8").replace(SECRETS, str(folder)))
        config = shorten(shipped, factor) | {"global": {"pagerduty_url": f"{received.url}/pagerduty"}}
        with Alertmanager(folder, config) as alertmanager:
            yield alertmanager, received


def labelled(severity: str, **labels: str) -> dict[str, dict[str, str]]:
    return {
        "labels": {"alertname": "DriftgaugeDrift", "job": "driftgauge", "severity": severity, **labels},
        "annotations": {"summary": "Drift.", "description": "Much.", "dashboard": "/d/", "runbook_url": "/"},
    }


def test_page_is_sent_within_a_minute(tmp_path: Path):
    # An alert older than group_wait is sent at once.
    since = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    with run_alertmanager(tmp_path, factor=1) as (alertmanager, received):
        post(alertmanager, labelled("critical", stream="clicks") | {"startsAt": since})
        wait_for("the page", lambda: "/pagerduty" in received.messages, within_s=15)


def test_streams_have_separate_notices_and_only_pages_repeat_within_hours(tmp_path: Path):
    streams = ("clicks", "views")

    def about(stream: str, path: str) -> list[str]:
        sent = (json.dumps(message) for message in received.messages.get(path, ()))
        return [message for message in sent if stream in message]

    # Four hours, and a day, are 12 and 72 seconds.
    with run_alertmanager(tmp_path, factor=1200) as (alertmanager, received):
        for severity in ("critical", "warning"):
            # A page mutes the ticket of the same alert, so the ticket has another window.
            post(alertmanager, *(labelled(severity, stream=stream, window=severity) for stream in streams))
        wait_for(
            "pages to be repeated",
            lambda: all(
                len(about(stream, "/pagerduty")) >= 2 and about(stream, "/slack") for stream in streams
            ),
            within_s=60,
        )
    for stream, other in (streams, streams[::-1]):
        assert len(about(stream, "/slack")) == 1
        for path in ("/pagerduty", "/slack"):
            assert all(other not in message for message in about(stream, path))


def test_notice_links_to_dashboard_and_runbook(tmp_path: Path):
    (drift, *_), *_ = (expected for name, expected in cases() if name == "DriftgaugeDrift" and expected)
    drift["exp_annotations"]["description"] += " cluster 4 (<!channel> <https://evil|Dashboard> &lt;) 5.0 %"
    said = {"annotations": drift["exp_annotations"]}
    labels = {"alertname": "DriftgaugeDrift", **drift["exp_labels"], "severity": "warning"}
    slow = {**labels, "alertname": "DriftgaugeLagGrowing"}
    with run_alertmanager(tmp_path, factor=60) as (alertmanager, received):
        fired = [
            {"labels": labels, **said},
            {"labels": slow, **said},
            {"labels": {**labels, "severity": "critical", "window": "1d"}, **said},
            {"labels": {**labels, "severity": "info", "stream": "trials"}, **said},
        ]
        post(alertmanager, *fired)
        wait_for("both notices", lambda: received.messages.keys() == {"/slack", "/pagerduty"})
        now = datetime.now(UTC)
        over = {"startsAt": (now - timedelta(minutes=1)).isoformat(), "endsAt": now.isoformat()}
        post(alertmanager, *(alert | over for alert in fired))
        wait_for(
            "both to be resolved",
            lambda: all("is resolved" in json.dumps(sent) for sent in received.messages.values()),
        )

    description = drift["exp_annotations"]["description"]
    dashboard = GRAFANA + drift["exp_annotations"]["dashboard"]
    window = PAGE + drift["exp_annotations"]["page"]
    runbook = drift["exp_annotations"]["runbook_url"]
    escaped = description.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    (ticket,) = received.messages["/slack"][0]["attachments"]
    assert ticket["title"] == f"[firing] clicks: {drift['exp_annotations']['summary']} (and 1 more)"
    assert ticket["title_link"] == dashboard
    assert ticket["text"].splitlines()[:3] == [
        f"*DriftgaugeDrift* is firing. {escaped}",
        f"<{dashboard}|Dashboard> <{window}|Window> <{runbook}|Runbook>",
        f"*DriftgaugeLagGrowing* is firing. {escaped}",
    ]
    page = received.messages["/pagerduty"][0]
    assert page["routing_key"] == "key"
    assert page["client_url"] == dashboard
    assert page["payload"]["summary"] == f"[firing] clicks: {drift['exp_annotations']['summary']}"
    assert page["payload"]["custom_details"]["alerts"].splitlines() == [
        f"DriftgaugeDrift is firing. {description}",
        f"Dashboard: {dashboard}",
        f"Window: {window}",
        f"Runbook: {runbook}",
    ]
    assert "trials" not in json.dumps(received.messages)


def rendered(folder: Path, name: str, *alerts: tuple[str, str], **labels: str) -> str:
    """The text that amtool renders from a template, for alerts given by state and summary."""
    data = folder / "notice.json"
    told_of = [
        {"status": state, "labels": {}, "annotations": {"summary": summary, "dashboard": f"/d/{summary}"}}
        for state, summary in alerts
    ]
    states = {state for state, _ in alerts}
    status = "firing" if "firing" in states else "resolved"
    data.write_text(json.dumps({"status": status, "alerts": told_of, "commonLabels": labels}))
    return amtool(
        "template",
        "render",
        f"--template.glob={FOLDER}/templates/*.tmpl",
        f'--template.text={{{{ template "{name}" . }}}}',
        f"--template.data={data}",
    ).strip()


def test_title_names_firing_alert_and_cluster(tmp_path: Path):
    both = ("resolved", "gone"), ("firing", "there")
    assert rendered(tmp_path, "driftgauge.title", *both) == "[firing] there"
    assert rendered(tmp_path, "driftgauge.dashboard", *both) == f"{GRAFANA}/d/there"
    over = ("resolved", "gone"), ("resolved", "too")
    labels = {"cluster": "eu", "stream": "clicks"}
    assert (
        rendered(tmp_path, "driftgauge.title", *over, **labels) == "[resolved] eu: clicks: gone (and 1 more)"
    )
