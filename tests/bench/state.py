"""Size of the internal topics and restore time of a shard: `python tests/bench/state.py`.

The service counts ten million events on a real broker with many commits a second, so that partials and
changelog are written as often as in days of the default of one. Meanwhile the size of both topics is
measured on the broker's disk. The changelog is compacted. The partials expire by retention, so their bytes a
commit are printed. At the end a new process restores every shard.
"""

import base64
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.builders.clocks import MONDAY_MS  # noqa: E402
from tests.harness.broker import Broker  # noqa: E402
from tests.harness.service import ReplicaProcess  # noqa: E402

from driftgauge.baseline.artifact import save  # noqa: E402
from driftgauge.baseline.fitting import fit_baseline  # noqa: E402

EVENTS = 10_000_000
PARTITIONS = 12
DIMENSION = 4
CLUSTERS = 20
DISTINCT = 1_000
TOPIC = "bench-state"
SHARDS = 16
INTERNAL = "bench-state"
# One event every 8.64 ms of event time: ten million in a day.
STEP_US = 8_640
LIMIT_S = 900
REPORT_INTERVAL_S = 5.0

CONFIG = """\
kafka: {{bootstrap.servers: "{bootstrap}", group.id: bench}}
topics: {{events: [{topic}], windows: bench.windows, dead_letters: bench.dead-letters, internal: {internal}}}
commit_interval: 20ms
streams:
  - {{name: bench, baseline: baseline.safetensors, windows: [5m, 1h], allowed_lateness: 10m}}
http: {{port: 0}}
"""


def main() -> None:
    vectors = np.random.default_rng(0).normal(size=(DISTINCT, DIMENSION)).astype("<f4")
    baseline = fit_baseline(
        vectors, stream="bench", model_version=None, clusters=CLUSTERS, created_ms=0, progress=lambda _: None
    )
    with Broker() as broker, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(baseline, folder / "baseline.safetensors")
        config = folder / "driftgauge.yaml"
        config.write_text(CONFIG.format(bootstrap=broker.bootstrap, topic=TOPIC, internal=INTERNAL))
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic(TOPIC, PARTITIONS)])[TOPIC].result(30)
        publish(broker.bootstrap, [base64.b64encode(vector.tobytes()).decode() for vector in vectors])
        with ReplicaProcess(config, folder / "serve-1.log") as service:
            started = time.monotonic()
            while (counted := service.counted()) < EVENTS:
                if time.monotonic() - started > LIMIT_S:
                    sys.exit(f"{counted:,.0f} events were counted in {LIMIT_S} s")
                say(counted, service, broker)
                time.sleep(REPORT_INTERVAL_S)
            say(counted, service, broker)
            service.stop()
        with ReplicaProcess(config, folder / "serve-2.log") as service:
            service.wait_for("the shards to be restored", lambda: restores(service, "count") == SHARDS)
            restored_s = restores(service, "sum") / SHARDS
            sys.stdout.write(
                f"a shard was restored by a new process {restored_s:.2f} s after its assignment\n"
            )


def publish(bootstrap: str, vectors: list[str]) -> None:
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": "lz4",
            "linger.ms": 50,
            "batch.num.messages": 20_000,
        }
    )
    for number in range(EVENTS):
        event = (
            f'{{"stream":"bench","timestamp":{MONDAY_MS + number * STEP_US // 1_000},'
            f'"embedding_b64":"{vectors[number % DISTINCT]}"}}'
        )
        while True:
            try:
                producer.produce(TOPIC, event, partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(120):
        sys.exit("the broker did not take all events")


def restores(service: ReplicaProcess, part: str) -> float:
    """Return the number of restored shards (`count`) or their seconds together (`sum`)."""
    return service.scrape().total(f"driftgauge_restore_duration_seconds_{part}", role="windows")


def size_on_disk(broker: Broker, topic: str) -> int:
    """Return the bytes of a topic's log segments."""
    return sum(path.stat().st_size for path in broker.data.glob(f"{topic}-*/*.log"))


def say(counted: float, service: ReplicaProcess, broker: Broker) -> None:
    partials = size_on_disk(broker, f"{INTERNAL}.partials.{SHARDS}")
    changelog = size_on_disk(broker, f"{INTERNAL}.changelog.{SHARDS}")
    scrape = service.scrape()
    commits = {
        role: scrape.total("driftgauge_commits_total", role=role, outcome="ok")
        for role in ("count", "windows")
    }
    sys.stdout.write(
        f"{counted:12,.0f} events counted, {commits['count']:7,.0f} commits of partials, "
        f"{partials / max(commits['count'], 1):7,.0f} bytes each; {commits['windows']:7,.0f} of windows, "
        f"changelog {changelog / 2**20:6.2f} MiB on {SHARDS} shards\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
