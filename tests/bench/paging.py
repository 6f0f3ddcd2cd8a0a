"""How soon a page goes out after the end of a window that drifts: `python -m tests.bench.paging`.

All is real and waits as shipped: a broker, a replica, Prometheus that scrapes and evaluates every 15 s,
the rules, Alertmanager and its routes. A stream is as its baseline for three minutes, then drifts grossly.
Each run has other ports, by which Prometheus chooses when it scrapes.
"""

import json
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from tests.deploy.servers import RULES, Prometheus, load, run_alertmanager
from tests.harness.broker import Broker
from tests.harness.case import Case, make_events
from tests.options import parse_options
from tests.output import say

from driftgauge.events.timestamps import parse_timestamp

ALERT = "DriftgaugeDrift"
# Of windows that are as the baseline: a stream that never was has no drift, its baseline does not fit it.
CLEAN_S = 180
PATIENCE_S = 600


def measure(folder: Path, bootstrap: str) -> tuple[float, float]:
    """Return the seconds from the end of the first window in drift to its result, and to the page."""
    case = Case(
        folder,
        bootstrap,
        windows=("1m",),
        stream_settings={"min_events": None, "idle_timeout": None, "labels": {"severity": "critical"}},
        settings={"commit_interval": "1s"},
    )
    with ExitStack() as running:
        replica = running.enter_context(case.serve())
        replica.wait_until_ready()
        alertmanager, received = running.enter_context(run_alertmanager(folder, factor=1))
        rules = {path.name: load(path) for path in RULES}
        targets, notified = (f"127.0.0.1:{each.port}" for each in (replica, alertmanager))
        running.enter_context(Prometheus(folder, [targets], rules, every="15s", alertmanagers=[notified]))
        for second in range(PATIENCE_S):
            publish_second(case, second)
            if ALERT in json.dumps(received.get("/pagerduty", [])):
                break
            time.sleep(1)
        else:
            raise SystemExit(f"no page of {ALERT} within {PATIENCE_S} s")
        paged_ms = time.time_ns() // 1_000_000
    results = [(message, json.loads(message.value() or b"")) for message in case.read(case.windows_topic)]
    message, result = next(each for each in results if each[1]["verdict"] == "drift")
    end_ms = parse_timestamp(result["end"])
    return (message.timestamp()[1] - end_ms) / 1e3, (paged_ms - end_ms) / 1e3


def publish_second(case: Case, second: int) -> None:
    """Publish the events of the last second, after `CLEAN_S` shifted by thrice the spread of the baseline."""
    start_ms = time.time_ns() // 1_000_000 - 1_000
    events = make_events("alpha", 50, start_ms=start_ms, span_ms=1_000, seed=second)
    shift = np.float32(3 * (second >= CLEAN_S))
    case.publish(
        replace(each, vector=each.vector + shift, partition=row % 4) for row, each in enumerate(events)
    )


def main() -> None:
    with Broker() as broker:
        # Of seven minutes each.
        for _ in range(parse_options(__doc__, runs=3).runs):
            with tempfile.TemporaryDirectory() as folder:
                result_s, page_s = measure(Path(folder), broker.bootstrap)
            say(f"{result_s:.1f} s from the window's end to its result, {page_s:.1f} s to the page")


if __name__ == "__main__":
    main()
