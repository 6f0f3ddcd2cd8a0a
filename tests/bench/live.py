"""What live traffic costs a replica: `python -m tests.bench.live`.

A real broker, one replica of both roles, scraped every 15 s, and events at a pace. Of a minute in which each
stream closes one window it shows processor time, memory, series, and the bytes of the partials.
"""

import tempfile
import time
from base64 import b64encode
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tests.bench.tables import say_header, say_row
from tests.bench.workload import (
    DISTINCT,
    PARTITIONS,
    Publisher,
    draw_vectors,
    processor_s,
    resident_mib,
    save_fitted,
    write_config,
)
from tests.builders.clocks import MINUTE_MS
from tests.harness.broker import Broker
from tests.harness.service import ReplicaProcess
from tests.waiting import wait_for


@dataclass(frozen=True)
class Setting:
    """Streams, and events of all of them together a second, with so many numbers each, on some replicas."""

    streams: int
    rate: int
    dimension: int
    replicas: int = 1
    partitions: int = PARTITIONS
    shards: int = 16


SETTINGS = [
    Setting(1, 10, 512),
    Setting(10, 100, 512),
    Setting(10, 1_000, 512),
    Setting(100, 1_000, 512),
    Setting(100, 1_000, 128),
]


class Traffic:
    """Publishes the events of a setting at their pace, the streams in turn, spread over the partitions."""

    def __init__(self, setting: Setting, bootstrap: str, topic: str) -> None:
        self._setting = setting
        self._texts = [b64encode(row.tobytes()).decode() for row in draw_vectors(setting.dimension)]
        self._publisher = Publisher(bootstrap, topic, linger_ms=5)
        self._random = np.random.default_rng(0)
        self._began_s = time.monotonic()
        self._sent = 0

    def run(self, seconds: float, replicas: Sequence[ReplicaProcess]) -> None:
        """Publish for so long; scrape the replicas meanwhile, as Prometheus would."""
        scrape_s = time.monotonic()
        end_s = scrape_s + seconds
        while (now_s := time.monotonic()) < end_s:
            while self._sent < (now_s - self._began_s) * self._setting.rate:
                self._send()
            if now_s >= scrape_s:
                scrape_s += 15.0
                for replica in replicas:
                    replica.get("/metrics")
            time.sleep(0.1)
        self._publisher.flush()

    def _send(self) -> None:
        stream, text = self._sent % self._setting.streams, self._texts[self._sent % DISTINCT]
        time_ms = time.time_ns() // 1_000_000
        event = f'{{"stream": "s{stream}", "timestamp": {time_ms}, "embedding_b64": "{text}"}}'
        self._publisher.send(event.encode(), partition=int(self._random.integers(self._setting.partitions)))
        self._sent += 1


def measure(setting: Setting, broker: Broker) -> dict[str, float]:
    """Run a setting on a broker, and return what one of its replicas takes; a million events: of all."""
    name = f"live-{setting.streams}-{setting.rate}-{setting.dimension}"
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        save_fitted(draw_vectors(setting.dimension), "s0", folder / "s.safetensors")
        stream = {"match": "s*", "most": setting.streams, "baseline": "s.safetensors"}
        stream |= {"windows": ["1m", "1h"], "allowed_disorder": "5s"}
        bootstrap, shards = broker.bootstrap, setting.shards
        config = write_config(folder, bootstrap, name, "events", stream, setting.partitions, shards=shards)
        replicas = [
            running.enter_context(ReplicaProcess(config, folder / f"{number}.log"))
            for number in range(setting.replicas)
        ]
        shared = setting.partitions // setting.replicas, shards // setting.replicas
        wait_for(
            "the replicas to share the partitions",
            lambda: all((each.assigned_partitions(), each.assigned_shards()) == shared for each in replicas),
        )
        # The measured minute begins with a minute, so that it holds one closing of each stream.
        time.sleep((MINUTE_MS - time.time_ns() // 1_000_000 % MINUTE_MS) / 1_000)
        traffic = Traffic(setting, bootstrap, "events")
        # The first window of each stream has closed by then.
        traffic.run(90.0, replicas)
        began_s, before = time.monotonic(), used(replicas, broker.node.data, name)
        traffic.run(60.0, replicas)
        spent = (used(replicas, broker.node.data, name) - before) / (time.monotonic() - began_s)
        processor, partials, changelog = spent[:3] / setting.replicas * (1e3, 1e-3, 1e-3)
        found = {
            "ms/s": processor,
            "s a million events": processor / spent[3] * 1e3,
            "MiB": float(np.mean([resident_mib(each.pid) for each in replicas])),
            "series": count_series(replicas[0].get("/metrics")[1]),
            "partials, kB/s": partials,
            "changelog, kB/s": changelog,
        }
        for replica in replicas:
            replica.stop()
    return found


def used(replicas: Sequence[ReplicaProcess], data: Path, name: str) -> np.ndarray:
    """Return the processor time so far, s, the bytes of partials and changelog, and the counted events."""
    written = [
        sum(log.stat().st_size for log in data.glob(f"driftgauge.{name}.{topic}.*/*.log"))
        for topic in ("partials", "changelog")
    ]
    processor = sum(processor_s(each.pid) for each in replicas)
    return np.array([processor, *written, sum(each.counted() for each in replicas)])


def count_series(text: str) -> int:
    """Return the number of series of a scrape."""
    return sum(bool(line) and not line.startswith("#") for line in text.splitlines())


def main() -> None:
    for number, setting in enumerate(SETTINGS):
        with Broker() as broker:
            found = measure(setting, broker)
        if number == 0:
            say_header("events/s", "numbers", "streams", *found)
        say_row(
            setting.rate, setting.dimension, setting.streams, *(f"{each:,.0f}" for each in found.values())
        )


if __name__ == "__main__":
    main()
