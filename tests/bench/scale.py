"""Cost of one replica by the number of replicas: `make scale`.

It simulates one replica of each role without a broker, with the service's own code, over a minute in which
each stream closes a window. There are few events, because the fixed cost is served; their cost is shown
separately. Finally real replicas on a real broker run a smaller setting, which is compared with its
simulation.
"""

import tracemalloc

import numpy as np
from tests.bench.live import Setting, count_series, measure
from tests.bench.scale_replica import Costs, CountReplica, WindowsReplica, build_specs, draw_stream_batch
from tests.bench.tables import say_header, say_row
from tests.builders.clocks import MONDAY_MS, SECOND_MS
from tests.harness.broker import Broker
from tests.options import parse_options
from tests.output import say
from threadpoolctl import threadpool_limits

from driftgauge.core.counting.batch import EventBatch

MEASURED_S = 60
DIMENSION = 32
SERVED = Setting(200, 200, DIMENSION, 2, partitions=24, shards=8)


class Simulation:
    """All count replicas, and the window replica that holds the most shards; an event a stream and second."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._random = np.random.default_rng(1)
        self._specs = build_specs(setting.streams, DIMENSION)
        self.counting = [
            CountReplica(
                self._specs,
                range(number, setting.partitions, setting.replicas),
                setting.partitions,
                setting.shards,
                number,
            )
            for number in range(setting.replicas)
        ]
        self.windows = WindowsReplica(
            self._specs, range(-(-setting.shards // setting.replicas)), setting.shards
        )
        self._now_ms = MONDAY_MS
        self._offsets = np.zeros(setting.partitions, np.int64)

    def step(self, step_ms: int) -> None:
        """Count and commit the events of a step, then close."""
        self._now_ms += step_ms
        batches = self._read(step_ms)
        for number, replica in enumerate(self.counting):
            replica.count(batches[number], self._now_ms)
            # The first count replica writes to all shards, the others only to the shards read here.
            wanted = self.windows.states if number else range(self.setting.shards)
            self.windows.apply(replica.commit(self._now_ms, wanted), self._now_ms)
        self.windows.commit(self._now_ms)

    def _read(self, step_ms: int) -> list[list[EventBatch]]:
        """Return each count replica's batches: the events of a step, spread over the partitions."""
        batches: list[list[EventBatch]] = [[] for _ in self.counting]
        for spec in self._specs:
            partitions = self._random.integers(self.setting.partitions, size=step_ms // SECOND_MS)
            for replica in np.unique(partitions % self.setting.replicas).tolist():
                held = partitions[partitions % self.setting.replicas == replica]
                batch = draw_stream_batch(
                    spec,
                    (held // self.setting.replicas).astype(np.int32),
                    self._offsets[held],
                    self._now_ms - self._random.integers(step_ms, size=len(held)),
                )
                batches[replica].append(batch)
                self._offsets[held] += 1
        return batches


def simulate(setting: Setting) -> dict[str, float]:
    """Return the figures of a replica, a second unless the name says otherwise."""
    simulation = Simulation(setting)
    count, windows = simulation.counting[0], simulation.windows
    # A window waits for partitions that are not idle yet: the first minute closes after some 150 s.
    for _ in range(16):
        simulation.step(10 * SECOND_MS)
    count.costs, windows.costs = Costs(), Costs()
    for _ in range(MEASURED_S):
        simulation.step(SECOND_MS)
    ms = {name: s / MEASURED_S * 1e3 for name, s in (count.costs.seconds | windows.costs.seconds).items()}
    tracemalloc.start()
    restored = windows.restore()
    memory = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    del restored
    return {
        "COUNT: events, ms": ms["events"],
        "COUNT: commit, ms": ms["commit"],
        "WINDOWS: decode and apply, ms": ms["decode"] + ms["apply"],
        "WINDOWS: close, write and show, ms": ms["close"] + ms["write"] + ms["show"],
        "WINDOWS: memory of the state, MiB": memory,
        "WINDOWS: series": count_series(windows.render()),
        "partials written, kB": count.costs.bytes["partials"] / MEASURED_S / 1e3,
        "changelog written, kB": windows.costs.bytes["changelog"] / MEASURED_S / 1e3,
    }


def show() -> None:
    """Print every figure and, in brackets, figures share of the first setting's."""
    found = {
        number: simulate(Setting(1_000, 1_000, DIMENSION, number, partitions=500, shards=64))
        for number in (1, 10, 50)
    }
    first, *_ = found.values()
    say_header("one replica, a second", *(f"R = {number}" for number in found))
    for name in first:
        say_row(name, *(f"{own[name]:,.1f} (1/{first[name] / own[name]:.1f})" for own in found.values()))


def compare() -> None:
    """Print the figures of real replicas on a real broker, as multiples of the simulated ones."""
    simulated = simulate(SERVED)
    with Broker() as broker:
        served = measure(SERVED, broker)
    pairs = {
        "partials written, kB": (served["partials, kB/s"], simulated["partials written, kB"]),
        "changelog written, kB": (served["changelog, kB/s"], simulated["changelog written, kB"]),
        "processor, ms": (served["ms/s"], sum(simulated[name] for name in simulated if ", ms" in name)),
    }
    say(f"\n{SERVED.streams} streams, {SERVED.partitions} partitions, {SERVED.replicas} replicas\n")
    say_header("one replica, a second", "on a broker", "simulated", "times")
    for name, (real, expected) in pairs.items():
        say_row(name, f"{real:,.1f}", f"{expected:,.1f}", f"{real / expected:.2f}")


def main() -> None:
    parts = {"simulated": show, "compared": compare}
    with threadpool_limits(1):
        for part in parse_options(__doc__, only=parts).only:
            parts[part]()


if __name__ == "__main__":
    main()
