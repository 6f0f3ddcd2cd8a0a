"""What is told: notices as a real Alertmanager sends them, to a Slack and a PagerDuty of our own."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.chain.servers import Alertmanager
from tests.deploy.chain.shipped import shorten
from tests.deploy.test_alertmanager import CONFIG, FOLDER, SECRETS, post
from tests.deploy.test_rules import cases
from tests.integration.service import wait_for

GRAFANA = "http://localhost:3000"


@dataclass
class Inbox:
    """What was sent to whoever is told."""

    url: str
    messages: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@contextmanager
def inbox() -> Iterator[Inbox]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.messages.setdefault(self.path, []).append(json.loads(body))
            self.send_response(202 if self.path == "/pagerduty" else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept = Inbox(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_notice_leads_to_the_dashboard_and_to_the_runbook(tmp_path: Path):
    (drift, *_), *_ = (expected for name, expected in cases() if name == "DriftgaugeDrift" and expected)
    told = {"annotations": drift["exp_annotations"]}
    labels = {"alertname": "DriftgaugeDrift", **drift["exp_labels"]}
    slow = {**labels, "alertname": "DriftgaugeLagGrowing"}
    shutil.copytree(FOLDER / "templates", tmp_path / "templates")
    with inbox() as kept:
        (tmp_path / "slack-url").write_text(f"{kept.url}/slack")
        (tmp_path / "pagerduty-key").write_text("key")
        shipped = yaml.safe_load(CONFIG.read_text("utf-8").replace(SECRETS, str(tmp_path)))
        with Alertmanager(
            tmp_path, shorten(shipped, 60) | {"global": {"pagerduty_url": f"{kept.url}/pagerduty"}}
        ) as alertmanager:
            post(
                alertmanager,
                {"labels": labels, **told},
                {"labels": slow, **told},
                {"labels": {**labels, "severity": "critical"}, **told},
                {"labels": {**labels, "severity": "info", "stream": "trials"}, **told},
            )
            wait_for("both notices", lambda: kept.messages.keys() == {"/slack", "/pagerduty"})

    description = drift["exp_annotations"]["description"]
    dashboard = GRAFANA + drift["exp_annotations"]["dashboard"]
    runbook = drift["exp_annotations"]["runbook_url"]
    (ticket,) = kept.messages["/slack"][0]["attachments"]
    assert ticket["title"] == f"[firing] clicks: {drift['exp_annotations']['summary']} (and 1 more)"
    assert ticket["title_link"] == dashboard
    assert ticket["text"].splitlines()[:3] == [
        f"*DriftgaugeDrift* is firing. {description}",
        f"<{dashboard}|Dashboard> <{runbook}|Runbook>",
        f"*DriftgaugeLagGrowing* is firing. {description}",
    ]
    page = kept.messages["/pagerduty"][0]
    assert page["routing_key"] == "key"
    assert page["client_url"] == dashboard
    assert page["payload"]["summary"] == f"[firing] clicks: {drift['exp_annotations']['summary']}"
    assert page["payload"]["custom_details"]["alerts"].splitlines() == [
        f"DriftgaugeDrift is firing. {description}",
        f"Dashboard: {dashboard}",
        f"Runbook: {runbook}",
    ]
    assert "trials" not in json.dumps(kept.messages)
