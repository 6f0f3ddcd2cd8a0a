"""A real Prometheus server scrapes the running service."""

from pathlib import Path

import pytest

from tests.deploy.chain.servers import Prometheus
from tests.harness.case import HOUR_MS, START_MS, Case, make_events
from tests.needed import required
from tests.waiting import wait_for

pytestmark = pytest.mark.stack


def test_prometheus_scrapes_and_answers_divergence_query(tmp_path: Path, bootstrap: str) -> None:
    required("prometheus", "prometheus")
    case = Case(tmp_path, bootstrap)
    events = make_events("alpha", 500, start_ms=START_MS, span_ms=2 * HOUR_MS, seed=18)
    case.publish(events)
    with case.serve() as service:
        case.wait_for_counts(service, case.counts_of(events))
        service.wait_for(
            "the divergence to be exported",
            lambda: "driftgauge_window_js_divergence{" in service.scrape().text,
        )
        with Prometheus(tmp_path, [f"127.0.0.1:{service.port}"], {}) as prometheus:
            up = 'up{job="driftgauge"} == 1'
            wait_for("a scrape that succeeds", lambda: prometheus.query(up))
            (series,) = prometheus.query("driftgauge_window_js_divergence")
            dropped = prometheus.query("scrape_samples_scraped - scrape_samples_post_metric_relabeling")

    assert series["metric"]["stream"] == "alpha"
    assert series["metric"]["window"] == "1h"
    last = case.final_results()["alpha", "1h", "2025-11-03T01:00:00Z"]
    assert float(series["value"][1]) == last["js_divergence"]
    assert [float(sample["value"][1]) for sample in dropped] == [0]
