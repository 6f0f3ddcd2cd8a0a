"""What live traffic costs one replica: `python -m tests.bench.live`.

A real broker, one replica of both roles, scraped every 15 s, and events at a pace. Over a minute in which
each stream closes one window are told: processor time, memory, series, and the bytes of the partials.
"""

import argparse
import tempfile
import time
from base64 import b64encode
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import yaml
from confluent_kafka import Producer
from tests.bench.input_engines import PAGE, processor_s
from tests.bench.workload import DISTINCT, PARTITIONS, create_topics, draw_vectors, save_fitted
from tests.builders.clocks import MINUTE_MS
from tests.harness.broker import Broker
from tests.harness.service import ReplicaProcess
from tests.output import say

# The first window of each stream has closed by then.
WARM_UP_S, MEASURED_S = 90.0, 60.0
SCRAPED_EVERY_S = 15.0
TICK_S = 0.1


@dataclass(frozen=True)
class Setting:
    """Streams, and events of all of them together a second, with so many numbers each."""

    streams: int
    rate: int
    dimension: int

    @property
    def name(self) -> str:
        return f"live-{self.streams}-{self.rate}-{self.dimension}"


SETTINGS = [
    Setting(1, 10, 512),
    Setting(10, 100, 512),
    Setting(10, 1_000, 512),
    Setting(100, 1_000, 512),
    Setting(100, 1_000, 128),
]


def write_config(setting: Setting, bootstrap: str, folder: Path) -> Path:
    """Fit the baseline, create the topics and write the configuration of a setting; return its file."""
    baseline = folder / f"{setting.dimension}.safetensors"
    save_fitted(draw_vectors(setting.dimension), "s0", baseline)
    name = setting.name
    own = [f"{name}.windows", f"{name}.dead-letters"]
    create_topics(bootstrap, [name], own)
    document = {
        "kafka": {"bootstrap.servers": bootstrap, "group.id": name},
        "topics": {"events": [name], "windows": own[0], "dead_letters": own[1]},
        "streams": [
            {
                "match": "s*",
                "most": setting.streams,
                "baseline": baseline.name,
                "windows": ["1m", "1h"],
                "allowed_disorder": "5s",
            }
        ],
        "http": {"port": 0},
    }
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(document))
    return config


def written(data: Path, name: str) -> int:
    """Return the bytes of a deployment's partials in the broker's logs."""
    return sum(log.stat().st_size for log in data.glob(f"*{name}.partials.*/*.log"))


class Traffic:
    """Publishes the events of a setting at their pace, the streams in turn."""

    def __init__(self, setting: Setting, bootstrap: str) -> None:
        self._setting = setting
        self._texts = [b64encode(row.tobytes()).decode() for row in draw_vectors(setting.dimension)]
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
        self._began_s = time.monotonic()
        self.sent = 0

    def run(self, seconds: float, replica: ReplicaProcess) -> None:
        """Publish for so long; scrape the replica meanwhile, as Prometheus would."""
        end_s = time.monotonic() + seconds
        scrape_s = time.monotonic()
        while (now_s := time.monotonic()) < end_s:
            while self.sent < (now_s - self._began_s) * self._setting.rate:
                self._send()
            self._producer.poll(0)
            if now_s >= scrape_s:
                scrape_s += SCRAPED_EVERY_S
                replica.get("/metrics")
            time.sleep(TICK_S)
        self._producer.flush()

    def _send(self) -> None:
        stream, text = self.sent % self._setting.streams, self._texts[self.sent % DISTINCT]
        time_ms = time.time_ns() // 1_000_000
        event = f'{{"stream": "s{stream}", "timestamp": {time_ms}, "embedding_b64": "{text}"}}'
        # Each stream is on each partition.
        partition = self.sent // self._setting.streams % PARTITIONS
        self._producer.produce(self._setting.name, event.encode(), partition=partition)
        self.sent += 1


def measure(setting: Setting, broker: Broker, folder: Path) -> str:
    """Return a row of the table."""
    config = write_config(setting, broker.bootstrap, folder)
    with ReplicaProcess(config, config.with_suffix(".log")) as replica:
        replica.wait_until_ready()
        # The measured minute begins with a minute, so that it holds one closing of each stream.
        time.sleep((MINUTE_MS - time.time_ns() // 1_000_000 % MINUTE_MS) / 1_000)
        traffic = Traffic(setting, broker.bootstrap)
        traffic.run(WARM_UP_S, replica)
        counted, before = replica.counted(), written(broker.data, setting.name)
        began_s, spent_s = time.monotonic(), processor_s(replica.pid)
        traffic.run(MEASURED_S, replica)
        took_s, spent_s = time.monotonic() - began_s, processor_s(replica.pid) - spent_s
        partials = (written(broker.data, setting.name) - before) / took_s / 1e3
        counted = replica.counted() - counted
        memory = int(Path(f"/proc/{replica.pid}/statm").read_text("ascii").split()[1]) * PAGE / 2**20
        series = sum(
            not line.startswith("#") for line in replica.get("/metrics")[1].splitlines() if line.strip()
        )
        replica.stop()
    return (
        f"| {setting.rate:,} | {setting.dimension} | {setting.streams} | {spent_s / took_s * 1e3:.0f} | "
        f"{spent_s / counted * 1e6:,.0f} | {memory:.0f} | {series:,} | {partials:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", type=int, nargs="+", help="these settings of the list, from 0")
    options = parser.parse_args()
    say("| events/s | numbers | streams | ms/s | s a million events | MiB | series | partials, kB/s |")
    say("|---|---|---|---|---|---|---|---|")
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        broker = running.enter_context(Broker())
        for number in options.only or range(len(SETTINGS)):
            say(measure(SETTINGS[number], broker, folder))


if __name__ == "__main__":
    main()
