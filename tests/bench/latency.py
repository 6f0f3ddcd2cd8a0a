"""From an event to the gauge that it decides, at half load: `python tests/bench/latency.py`, two minutes.

One replica in both roles on a real broker first reads a backlog as fast as it can. Then events happen at half
of that rate, in real time, and each window's gauge is awaited. The event that closes a window is the first
whose time is its end and the allowed disorder, so the delay is what comes after that moment.
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

from tests.integration.service import ReplicaProcess  # noqa: E402
from tests.kafka.broker import Broker  # noqa: E402

from driftgauge.baseline.artifact import save  # noqa: E402
from driftgauge.baseline.fitting import fit_baseline  # noqa: E402
from driftgauge.kafka.client import producer  # noqa: E402

TOPIC = "latency"
DIMENSION = 128
PARTITIONS = 6
BACKLOG = 200_000
WINDOW_S, DISORDER_S = 5, 2
FOR_S = 90
SLICE_S = 0.01
# Two commit intervals, and the time of the requests.
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
    """Publishes events that happen when they are sent."""

    def __init__(self, bootstrap: str) -> None:
        # As many as a fit needs, so that no cluster is empty in the half that it holds out.
        self.vectors = np.random.default_rng(0).normal(size=(20_000, DIMENSION)).astype(np.float32)
        self._tails = [
            b',"embedding":' + orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY) + b"}"
            for vector in self.vectors[:1_000]
        ]
        self._producer = producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
        self.sent = 0

    def send(self, number: int) -> None:
        """Send so many events of now; fewer where the client's queue is full."""
        head = b'{"stream":"bench","timestamp":%d' % (time.time_ns() // 1_000_000)
        for _ in range(number):
            tail = self._tails[self.sent % len(self._tails)]
            try:
                self._producer.produce(TOPIC, head + tail, partition=self.sent % PARTITIONS)
            except BufferError:
                # Late then, and the check of the rate says so.
                return
            self.sent += 1
            if self.sent % 1_000 == 0:
                self._producer.poll(0)

    def send_all(self, number: int) -> None:
        while number > 0:
            self.send(min(number, 10_000))
            self._producer.flush(30)
            number -= 10_000

    def keep(self, rate: float, done: threading.Event) -> None:
        """Send so many a second until it is done."""
        began_s, sent = time.monotonic(), 0
        while not done.wait(SLICE_S):
            due = round((time.monotonic() - began_s) * rate)
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
            sending = threading.Thread(target=source.keep, args=(rate / 2, done))
            began_s, before = time.monotonic(), source.sent
            sending.start()
            try:
                delays = sorted(watch(service))
            finally:
                done.set()
                sending.join()
            sent = (source.sent - before) / (time.monotonic() - began_s)
            first, middle, last = delays[0], delays[len(delays) // 2], delays[-1]
            sys.stdout.write(
                f"{sent:,.0f} events/s sent; {len(delays)} windows, after end and disorder: "
                f"{first:.2f} s the first, {middle:.2f} s half of them, {last:.2f} s the last\n"
            )
            if sent < 0.95 * rate / 2 or len(delays) < FOR_S / WINDOW_S / 2 or last > LIMIT_S:
                sys.exit(f"too few were sent or shown, or a gauge came later than {LIMIT_S:g} s")


def read_backlog(service: ReplicaProcess) -> float:
    """Return events a second, from the assignment to the last."""
    service.wait_for("the partitions to be assigned", lambda: service.assigned_partitions() == PARTITIONS)
    began_s = time.monotonic()
    service.wait_for("the backlog to be counted", lambda: service.counted() == BACKLOG, within_s=120)
    return BACKLOG / (time.monotonic() - began_s)


def watch(service: ReplicaProcess) -> list[float]:
    """Return how long after its end and the disorder each window was shown, in seconds."""
    delays: list[float] = []
    last_s, until_s = 0.0, time.time() + FOR_S
    while time.time() < until_s:
        shown = {value for (name, _), value in service.scrape().samples.items() if name == END}
        end_s = max(shown, default=0.0)
        # The first ones still hold the backlog.
        if end_s > last_s and time.time() > until_s - FOR_S + 3 * WINDOW_S:
            delays.append(time.time() - end_s - DISORDER_S)
        last_s = max(last_s, end_s)
        time.sleep(0.02)
    return delays


if __name__ == "__main__":
    main()
