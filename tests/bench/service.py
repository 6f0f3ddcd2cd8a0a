"""Throughput of the service on a real broker: `python tests/bench/service.py`.

The service reads a backlog at full speed. Rate and processor time come from its own metrics, from the
assignment of the partitions to the last event. The metrics advance with the commit, once a second, so the
rate is understated by up to a second's worth. One process has both roles: decode, count and commit are
COUNT's time, apply, close and write are WINDOWS'.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from confluent_kafka.admin import AdminClient, NewTopic

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.builders.clocks import DAY_MS, MONDAY_MS  # noqa: E402
from tests.integration.service import ReplicaProcess  # noqa: E402
from tests.kafka.broker import Broker  # noqa: E402

from driftgauge.baseline.artifact import save  # noqa: E402
from driftgauge.baseline.fitting import fit_baseline  # noqa: E402
from driftgauge.kafka.client import producer  # noqa: E402
from driftgauge.kafka.publisher import Publication, publish  # noqa: E402

# By whether events are sent as base64, which decodes faster; each takes some seconds.
EVENTS = {False: 500_000, True: 1_500_000}
DISTINCT = 4_000
PARTITIONS = 6
CLUSTERS = 20
LIMIT_S = 120

CONFIG = """\
kafka: {{bootstrap.servers: "{bootstrap}", group.id: bench-{topic}}}
topics: {{events: [{topic}], windows: {topic}.windows, dead_letters: {topic}.dead-letters}}
streams:
  - {{name: bench, baseline: baseline.safetensors, windows: [1h, 1d], allowed_disorder: 1h}}
http: {{port: 0}}
"""


def main() -> None:
    with Broker() as broker, tempfile.TemporaryDirectory() as folder:
        for dimension in (128, 512):
            for as_base64 in (False, True):
                measure(broker.bootstrap, Path(folder), dimension, as_base64=as_base64)


def measure(bootstrap: str, folder: Path, dimension: int, *, as_base64: bool) -> None:
    topic = f"bench-{dimension}-{'base64' if as_base64 else 'json'}"
    vectors = np.random.default_rng(0).normal(size=(DISTINCT, dimension)).astype(np.float32)
    baseline = fit_baseline(
        vectors, stream="bench", model_version=None, clusters=CLUSTERS, created_ms=0, progress=lambda _: None
    )
    save(baseline, folder / "baseline.safetensors")
    (folder / "driftgauge.yaml").write_text(CONFIG.format(bootstrap=bootstrap, topic=topic))
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS)])[topic].result(30)
    publication = Publication.spread(
        topic=topic,
        stream="bench",
        vectors=np.resize(vectors, (EVENTS[as_base64], dimension)),
        start_ms=MONDAY_MS,
        span_ms=2 * DAY_MS,
        disorder_ms=60_000,
        seed=0,
        as_base64=as_base64,
    )
    publish(producer({"bootstrap.servers": bootstrap}), publication, rate=None)
    with ReplicaProcess(folder / "driftgauge.yaml", folder / "serve.log") as service:
        first, last = watch(service, topic, EVENTS[as_base64])
        service.stop()
    report(f"{dimension} numbers, {'base64' if as_base64 else 'JSON array'}", first, last)


def watch(
    service: ReplicaProcess, topic: str, events: int, *, interval_s: float = 0.25, from_commit: bool = False
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the metrics and the time, first at the assignment and last when all events are counted.

    Args:
        service: The replica that reads the topic.
        topic: The events topic.
        events: The number of its events.
        interval_s: The time between scrapes, each of which takes processor time.
        from_commit: Whether the first metrics are those after the first commit, unless this commit has more
            than half of the events.
    """
    first: dict[str, float] = {}
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        time.sleep(interval_s)
        sample = {"time": time.monotonic(), "driftgauge_events_total": 0.0, **scrape(service, topic)}
        if not sample["driftgauge_consumer_assigned_partitions"]:
            continue
        counted = sample["driftgauge_events_total"]
        is_first_commit = bool(first) and first["driftgauge_events_total"] == 0 < counted <= events / 2
        if not first or (from_commit and is_first_commit):
            first = sample
        if counted == events:
            return first, sample
    sys.exit(f"not all of {events} events were counted in {LIMIT_S} s:\n{service.log_tail()}")


def scrape(service: ReplicaProcess, topic: str) -> dict[str, float]:
    expected = {"outcome": "accepted", "topic": topic, "role": "count"}
    return {
        " ".join([name, *filter(None, [dict(labels).get("stage")])]): value
        for (name, labels), value in service.scrape().samples.items()
        if all(expected.get(label, text) == text for label, text in labels)
    }


def report(title: str, first: dict[str, float], last: dict[str, float]) -> None:
    spent = {name: last[name] - first[name] for name in first}
    events = spent["driftgauge_events_total"]
    stages = ", ".join(
        f"{stage} {spent[f'driftgauge_batch_duration_seconds_sum {stage}'] / events * 1e6:.1f}"
        for stage in ("decode", "count", "commit", "apply", "close", "write")
    )
    memory = last["process_resident_memory_bytes"] / 2**20
    processor = spent["process_cpu_seconds_total"] / events * 1e6
    sys.stdout.write(
        f"{title:24} {events / spent['time']:9,.0f} events/s, {memory:.0f} MiB; "
        f"us/event: processor {processor:.1f}, of which {stages}\n"
    )


if __name__ == "__main__":
    main()
