"""Throughput of the service on a real broker: `python tests/bench/service.py`.

The service reads a backlog at full speed. Rate and processor time come from its own metrics, from the
assignment of the partitions to the last event. The metrics advance with the commit, once a second, so the
rate is understated by up to a second's worth. One process has both roles: decode, count and commit are
COUNT's time, apply, close and write are WINDOWS'.
"""

import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

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
START_MS = 1_762_128_000_000
DAY_MS = 86_400_000

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
        start_ms=START_MS,
        span_ms=2 * DAY_MS,
        disorder_ms=60_000,
        seed=0,
        as_base64=as_base64,
    )
    publish(producer({"bootstrap.servers": bootstrap}), publication, rate=None)
    with (folder / "serve.log").open("w+") as log:
        service = subprocess.Popen(
            [sys.executable, "-m", "driftgauge", "serve", "--config", str(folder / "driftgauge.yaml")],
            stderr=log,
        )
        try:
            first, last = watch(folder / "serve.log", topic, EVENTS[as_base64])
        finally:
            service.terminate()
            service.wait(30)
    report(f"{dimension} numbers, {'base64' if as_base64 else 'JSON array'}", first, last)


def watch(log: Path, topic: str, events: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return the metrics and the time at the assignment and after the last counted event."""
    first: dict[str, float] = {}
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        time.sleep(0.25)
        port = next((part for line in log.read_text().splitlines() for part in ports(line)), None)
        if port is None:
            continue
        sample = {"time": time.monotonic(), "driftgauge_events_total": 0.0, **scrape(port, topic)}
        if sample["driftgauge_consumer_assigned_partitions"] and not first:
            first = sample
        if sample["driftgauge_events_total"] == events:
            return first, sample
    sys.exit(f"not all of {events} events were counted in {LIMIT_S} s; see {log}")


def ports(line: str) -> list[int]:
    return [int(line.split('"port": ')[1].rstrip("}"))] if "http server started" in line else []


def scrape(port: int, topic: str) -> dict[str, float]:
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    return {
        " ".join([sample.name, *filter(None, [sample.labels.get("stage")])]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("outcome", "accepted") == "accepted"
        and sample.labels.get("topic", topic) == topic
        and sample.labels.get("role", "count") == "count"
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
