"""Latency from an event to its window's gauge, at half load: `python tests/bench/latency.py`, two minutes.

One replica in both roles on a real broker reads a backlog at full speed. Then events arrive in real time at
half of that rate, and each window's gauge is awaited. A window can close once an event's time passes its
end and the allowed disorder; the latency is measured from that time.
"""

import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import orjson
from confluent_kafka.admin import AdminClient, NewTopic

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.harness.broker import Broker  # noqa: E402
from tests.harness.service import ReplicaProcess  # noqa: E402

from driftgauge.baseline.artifact import save  # noqa: E402
from driftgauge.baseline.fitting import fit_baseline  # noqa: E402
from driftgauge.kafka.client import producer  # noqa: E402

TOPIC = "latency"
DIMENSION = 128
PARTITIONS = 6
BACKLOG = 200_000
WINDOW_S, DISORDER_S = 5, 2
MEASURED_S = 90
TICK_S = 0.01
# Two commit intervals and the requests.
LIMIT_S = 3.0
END = "driftgauge_window_end_timestamp_seconds"

CONFIG = """\
kafka: {{bootstrap.servers: "{bootstrap}", group.id: latency}}
topics: {{events: [latency], windows: latency.windows, dead_letters: latency.dead-letters}}
streams:
  - {{name: bench, baseline: baseline.safetensors, windows: [{window}s], allowed_disorder: {disorder}s}}
http: {{port: 0}}
"""


class LiveSource:
    """Publishes events whose event time is the send time."""

    def __init__(self, bootstrap: str) -> None:
        # Enough vectors that no cluster is empty in the half that the fit holds out.
        self.vectors = np.random.default_rng(0).normal(size=(20_000, DIMENSION)).astype(np.float32)
        self._tails = [
            b',"embedding":' + orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY) + b"}"
            for vector in self.vectors[:1_000]
        ]
        self._producer = producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
        self.sent = 0

    def send(self, number: int) -> None:
        """Send `number` events, or fewer if the client's queue is full."""
        head = b'{"stream":"bench","timestamp":%d' % (time.time_ns() // 1_000_000)
        for _ in range(number):
            tail = self._tails[self.sent % len(self._tails)]
            try:
                self._producer.produce(TOPIC, head + tail, partition=self.sent % PARTITIONS)
            except BufferError:
                # The check of the rate at the end detects missing events.
                return
            self.sent += 1
            if self.sent % 1_000 == 0:
                self._producer.poll(0)

    def send_all(self, number: int) -> None:
        while number > 0:
            self.send(min(number, 10_000))
            self._producer.flush(30)
            number -= 10_000

    def send_at(self, rate: float, done: threading.Event) -> None:
        """Send `rate` events a second until `done` is set."""
        started_s, sent = time.monotonic(), 0
        while not done.wait(TICK_S):
            due = round((time.monotonic() - started_s) * rate)
            self.send(due - sent)
            sent = due


def main() -> None:
    with Broker() as broker, tempfile.TemporaryDirectory() as name:
        folder, source = Path(name), LiveSource(broker.bootstrap)
        baseline = fit_baseline(
            source.vectors,
            stream="bench",
            model_version=None,
            clusters=20,
            created_ms=0,
            progress=lambda _: None,
        )
        save(baseline, folder / "baseline.safetensors")
        config = folder / "driftgauge.yaml"
        config.write_text(CONFIG.format(bootstrap=broker.bootstrap, window=WINDOW_S, disorder=DISORDER_S))
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic(TOPIC, PARTITIONS)])[TOPIC].result(30)
        source.send_all(BACKLOG)
        with ReplicaProcess(config, folder / "serve.log") as service:
            rate = read_backlog(service)
            sys.stdout.write(f"backlog: {rate:,.0f} events/s; half of that from now on\n")
            done = threading.Event()
            sending = threading.Thread(target=source.send_at, args=(rate / 2, done))
            started_s, before = time.monotonic(), source.sent
            sending.start()
            try:
                latencies = sorted(measure_latencies(service))
            finally:
                done.set()
                sending.join()
            sent = (source.sent - before) / (time.monotonic() - started_s)
            first, middle, last = latencies[0], latencies[len(latencies) // 2], latencies[-1]
            sys.stdout.write(
                f"{sent:,.0f} events/s sent; {len(latencies)} windows, after end and disorder: "
                f"{first:.2f} s the first, {middle:.2f} s half of them, {last:.2f} s the last\n"
            )
            if sent < 0.95 * rate / 2 or len(latencies) < MEASURED_S / WINDOW_S / 2 or last > LIMIT_S:
                sys.exit(f"too few events or windows, or a latency over {LIMIT_S:g} s")


def read_backlog(service: ReplicaProcess) -> float:
    """Return the events counted a second, from the assignment to the last event."""
    service.wait_for("the partitions to be assigned", lambda: service.assigned_partitions() == PARTITIONS)
    started_s = time.monotonic()
    service.wait_for("the backlog to be counted", lambda: service.counted() == BACKLOG, within_s=120)
    return BACKLOG / (time.monotonic() - started_s)


def measure_latencies(service: ReplicaProcess) -> list[float]:
    """Return each window's latency, in seconds after its end and the allowed disorder."""
    latencies: list[float] = []
    last_s, until_s = 0.0, time.time() + MEASURED_S
    while time.time() < until_s:
        shown = {value for (name, _), value in service.scrape().samples.items() if name == END}
        end_s = max(shown, default=0.0)
        # The first windows still hold events of the backlog.
        if end_s > last_s and time.time() > until_s - MEASURED_S + 3 * WINDOW_S:
            latencies.append(time.time() - end_s - DISORDER_S)
        last_s = max(last_s, end_s)
        time.sleep(0.02)
    return latencies


if __name__ == "__main__":
    main()
