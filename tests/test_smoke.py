"""The whole service on the embedded broker: every published event is counted once and exported."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deploy.demo.broker import EVENTS_TOPIC, TOPICS, EmbeddedBroker, write_config
from scipy.spatial.distance import jensenshannon

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.events.timestamps import format_timestamp
from driftgauge.kafka import client
from tests.builders.baselines import save_baseline
from tests.builders.clocks import HOUR_MS
from tests.builders.events import build_event
from tests.builders.references import CLUSTERS
from tests.harness.service import ReplicaProcess
from tests.harness.topics import read

PARTITIONS = 4
HOURS = 3
PER_HOUR = 200
# So that the closing events are not of the future.
START_MS = (SYSTEM_CLOCK.wall_ms() // HOUR_MS - HOURS - 2) * HOUR_MS
WINDOWS_TOPIC, DEAD_LETTERS_TOPIC = TOPICS[1:3]
IMAGES = {"stream": "images", "window": "1h"}
WITHIN_S = 300.0


def shown_by(process: ReplicaProcess) -> Any:
    """Return the first hours' windows that a process shows on its page."""

    def read() -> Any:
        return json.loads(process.get("/api/v1/windows?stream=images")[1]).get("windows", ())[:HOURS]

    process.wait_for("the page to show all windows", lambda: len(read()) == HOURS)
    return read()


def test_service_counts_every_event_and_exports_last_window(tmp_path: Path) -> None:
    baseline = save_baseline(tmp_path)
    random = np.random.default_rng(1)
    clusters = random.integers(CLUSTERS, size=(HOURS, PER_HOUR))
    offsets_ms = random.integers(HOUR_MS, size=(HOURS, PER_HOUR))
    events = [
        build_event(START_MS + hour * HOUR_MS + offset_ms, cluster)
        for hour in range(HOURS)
        for offset_ms, cluster in sorted(zip(offsets_ms[hour], clusters[hour], strict=True))
    ]
    # An event after the last hour on each partition closes all earlier windows.
    closing = [build_event(START_MS + (HOURS + 1) * HOUR_MS, 0)] * PARTITIONS

    with EmbeddedBroker(TOPICS) as broker:
        config = tmp_path / "driftgauge.yaml"
        stream = {"name": "images", "baseline": "images.safetensors", "windows": ["1h"], "min_events": 5}
        stream |= {"allowed_disorder": "1h"}
        kafka = write_config(config, bootstrap=broker.bootstrap, streams=[stream])
        with (
            ReplicaProcess(config, tmp_path / "serve.log") as service,
            # The embedded broker knows no offsets by time, so this process is there before the results.
            ReplicaProcess(config, tmp_path / "page.log", role=None) as page,
        ):
            service.wait_until_ready()
            page.wait_until_ready()
            producer = client.producer(kafka)
            for number, value in enumerate([*events, b"not an event", *closing]):
                producer.produce(EVENTS_TOPIC, value, partition=number % PARTITIONS)
            assert producer.flush(WITHIN_S) == 0
            end_s = (START_MS + HOURS * HOUR_MS) / 1_000
            service.wait_for(
                "the last hour to be shown",
                lambda: service.scrape().value("driftgauge_window_end_timestamp_seconds", **IMAGES) == end_s,
            )
            scrape = service.scrape()
            pages = [shown_by(process) for process in (service, page)]
            results = [
                json.loads(message.value() or b"")
                for message in read(broker.bootstrap, WINDOWS_TOPIC, within_s=WITHIN_S)
            ]
            letters = [
                message.value() for message in read(broker.bootstrap, DEAD_LETTERS_TOPIC, within_s=WITHIN_S)
            ]
            loaded = Path(f"/proc/{service.pid}/maps").read_text()
            service.stop()
            page.stop()

    assert Counter({result["start"]: result["count"] for result in results}) == {
        format_timestamp(START_MS + hour * HOUR_MS): PER_HOUR for hour in range(HOURS)
    }
    last = np.bincount(clusters[-1], minlength=CLUSTERS)
    divergence = jensenshannon(last, baseline.counts, base=2) ** 2
    assert scrape.value("driftgauge_window_events", **IMAGES) == PER_HOUR
    assert scrape.value("driftgauge_window_js_divergence", **IMAGES) == pytest.approx(divergence)
    shown, alone = pages
    assert shown == alone
    assert [window["count"] for window in shown] == [PER_HOUR] * HOURS
    assert shown[-1]["js_divergence"] == pytest.approx(divergence)
    counted = {outcome: number for outcome, number in scrape.outcomes().items() if number}
    assert counted == {"accepted": len(events) + len(closing), "undecodable": 1}
    assert letters == [b"not an event"]
    assert service.is_running() is False
    # Serving has judged windows by now, and carries nothing that only fitting needs.
    assert "/scipy/special/" in loaded
    assert not set(re.findall(r"/sklearn/|/scipy/(?:optimize|stats)/", loaded))
