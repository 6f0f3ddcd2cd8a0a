"""A real Prometheus server scrapes the running service."""

import json
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.integration.case import HOUR_MS, START_MS, Case, make_events
from tests.kafka.node import free_ports
from tests.needed import required
from tests.waiting import wait_for

pytestmark = pytest.mark.stack

CONFIG = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - {{job_name: driftgauge, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}
"""


def query(port: int, expression: str) -> list[dict[str, Any]]:
    """Return the result of an instant query; empty while Prometheus does not answer."""
    where = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        with urllib.request.urlopen(where, timeout=5) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return result
    except OSError:
        return []


def test_prometheus_scrapes_and_answers_divergence_query(tmp_path: Path, bootstrap: str) -> None:
    binary = required("prometheus", "prometheus")
    case = Case(tmp_path, bootstrap)
    events = make_events("alpha", 500, start_ms=START_MS, span_ms=2 * HOUR_MS, seed=18)
    case.publish(events)
    with case.serve() as service:
        case.wait_for_counts(service, case.counts_of(events))
        service.wait_for(
            "the divergence to be exported",
            lambda: "driftgauge_window_js_divergence{" in service.scrape().text,
        )
        config = tmp_path / "prometheus.yml"
        config.write_text(CONFIG.format(port=service.port))
        (port,) = free_ports(1)
        with (tmp_path / "prometheus.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    binary,
                    f"--config.file={config}",
                    f"--storage.tsdb.path={tmp_path / 'prometheus'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            up = 'up{job="driftgauge"} == 1'
            wait_for("a scrape that succeeds", lambda: bool(query(port, up)))
            (series,) = query(port, "driftgauge_window_js_divergence")
            dropped = query(port, "scrape_samples_scraped - scrape_samples_post_metric_relabeling")
        finally:
            process.kill()
            process.wait()

    assert series["metric"]["stream"] == "alpha"
    assert series["metric"]["window"] == "1h"
    last = case.final_results()["alpha", "1h", "2025-11-03T01:00:00Z"]
    assert float(series["value"][1]) == last["js_divergence"]
    assert [float(sample["value"][1]) for sample in dropped] == [0]
