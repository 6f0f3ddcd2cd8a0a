"""Cost of one replica by the number of replicas: `make scale`.

It simulates one replica of each role without a broker, with the service's own code, and records all its reads
and writes. There are few events, because the fixed cost is served; their cost is shown separately. Finally
real replicas on a real broker run a smaller setting, which is compared with its simulation.
"""

import argparse
import statistics
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from tests.bench.scale_broker import CHANGELOG, PARTIALS, serve
from tests.bench.scale_replica import Costs, CountReplica, WindowsReplica, build_specs, draw_stream_batch
from tests.builders.clocks import MONDAY_MS, SECOND_MS
from tests.output import say
from threadpoolctl import threadpool_limits

from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.spec import StreamSpec

# A window waits for partitions that are not idle yet: the first minute closes after some 150 s, the next
# after some 210 s.
WARM_STEPS, WARM_STEP_MS = 16, 10 * SECOND_MS
MEASURED_S = 5
CLOSING_STEPS = 6


@dataclass(frozen=True)
class ScaleSetting:
    streams: int
    partitions: int
    replicas: int
    shards: int
    rate: int = 1  # events of each stream a second


class Simulation:
    """All count replicas, and the window replica that holds the most shards."""

    def __init__(self, setting: ScaleSetting, specs: list[StreamSpec]) -> None:
        self.setting = setting
        self._random = np.random.default_rng(1)
        self._specs = specs[: setting.streams]
        replicas, shards = setting.replicas, setting.shards
        self.counting = [
            CountReplica(
                self._specs,
                range(number, setting.partitions, replicas),
                setting.partitions,
                shards,
                number,
            )
            for number in range(replicas)
        ]
        self.windows = WindowsReplica(self._specs, range(-(-shards // replicas)), shards)
        self._now_ms = MONDAY_MS
        self._offsets = np.zeros(setting.partitions, np.int64)

    def step(self, step_ms: int) -> int:
        """Count and commit the events of a step, then close; return the number of published windows."""
        self._now_ms += step_ms
        batches = self._read(step_ms)
        for number, replica in enumerate(self.counting):
            replica.count(batches[number], self._now_ms)
            # The first count replica writes to all shards, the others only to the shards read here.
            wanted = self.windows.states if number else range(self.setting.shards)
            self.windows.apply(replica.commit(self._now_ms, wanted), self._now_ms)
        return self.windows.commit(self._now_ms)

    def reset(self) -> None:
        """Reset the costs."""
        self.counting[0].costs, self.windows.costs = Costs(), Costs()

    def memory(self) -> tuple[float, float]:
        """Return the peak memory of a commit and the memory of the state, in MiB; call it last."""
        batches = self._read(SECOND_MS)[0]

        def commit() -> object:
            self.counting[0].count(batches, self._now_ms)
            return self.counting[0].commit(self._now_ms, range(self.setting.shards))

        return trace(commit)[1], trace(self.windows.restore)[0]

    def _read(self, step_ms: int) -> list[list[EventBatch]]:
        """Return each count replica's batches: the events of a step, spread over the partitions."""
        batches: list[list[EventBatch]] = [[] for _ in self.counting]
        number = self.setting.rate * step_ms // SECOND_MS
        for spec in self._specs:
            partitions = self._random.integers(self.setting.partitions, size=number)
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


def trace(make: Callable[[], object]) -> tuple[float, float]:
    """Return the memory of the returned object and the peak while it was made, in MiB."""
    tracemalloc.start()
    made = make()
    current, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del made
    return current / 2**20, peak / 2**20


def measure(setting: ScaleSetting, specs: list[StreamSpec]) -> dict[str, float]:
    """Return the figures of a replica, a second unless the name says otherwise."""
    simulation = Simulation(setting, specs)
    count, windows = simulation.counting[0], simulation.windows
    for _ in range(WARM_STEPS):
        simulation.step(WARM_STEP_MS)
    seconds = []
    for _ in range(MEASURED_S):
        simulation.reset()
        simulation.step(SECOND_MS)
        seconds.append(figures(count.costs, windows.costs))
    found = {name: statistics.median(second[name] for second in seconds) for name in seconds[0]}
    simulation.reset()
    published = sum(simulation.step(WARM_STEP_MS) for _ in range(CLOSING_STEPS))
    closing_ms = windows.costs.seconds["close"] * 1e3 - CLOSING_STEPS * found["WINDOWS: event time, ms"]
    rendered = {"COUNT": count.render(), "WINDOWS": windows.render()}
    windows.restore()
    found |= {
        "WINDOWS: closing, ms a minute": closing_ms / published * windows.streams,
        "WINDOWS: streams held": windows.streams,
        "WINDOWS: shards held": len(windows.states),
        "WINDOWS: restore, ms": windows.costs.seconds["restore"] * 1e3,
        "WINDOWS: restore, kB": windows.costs.bytes["restore"] / 1e3,
        "WINDOWS: a scrape, ms": windows.costs.seconds["scrape"] * 1e3,
    }
    found |= {f"{role}: series": count_series(text) for role, text in rendered.items()}
    found["COUNT: memory of a commit, MiB"], found["WINDOWS: memory of the state, MiB"] = simulation.memory()
    return found


def figures(count: Costs, windows: Costs) -> dict[str, float]:
    """Return the figures of one second."""
    ms = {stage: seconds * 1e3 for stage, seconds in {**count.seconds, **windows.seconds}.items()}
    return {
        "COUNT: events, ms": ms["events"],
        "COUNT: besides events, ms": ms["commit"],
        "COUNT: partials written": count.records["partials"],
        "COUNT: partials written, kB": count.bytes["partials"] / 1e3,
        "COUNT: series": 0,
        "COUNT: memory of a commit, MiB": 0,
        "WINDOWS: decode and apply, ms": ms["decode"] + ms["apply"],
        "WINDOWS: event time, ms": ms["close"],
        "WINDOWS: write and show, ms": ms["write"] + ms["show"],
        "WINDOWS: partials read": windows.records["partials"],
        "WINDOWS: partials read, kB": windows.bytes["partials"] / 1e3,
        "WINDOWS: changelog written": windows.records["changelog"],
        "WINDOWS: changelog written, kB": windows.bytes["changelog"] / 1e3,
    }


def count_series(text: bytes) -> int:
    return sum(not line.startswith(b"#") for line in text.splitlines())


STREAMS, SHARDS = 1_000, 64
PROCESSOR = (
    "COUNT: events, ms",
    "COUNT: besides events, ms",
    "WINDOWS: decode and apply, ms",
    "WINDOWS: event time, ms",
    "WINDOWS: write and show, ms",
)


def print_table(found: Mapping[ScaleSetting, Mapping[str, float]]) -> None:
    """Print every figure and, in brackets, figures share of the first setting's."""
    first, *_ = found.values()
    say(f"{'':34}" + "".join(f"{f'R={each.replicas} S={each.shards}':>20}" for each in found))
    for name in first:
        cells = [
            f"{figures[name]:,.{1 if figures[name] < 100 else 0}f} ({ratio(first[name], figures[name])})"
            for figures in found.values()
        ]
        say(f"{name:34}" + "".join(f"{cell:>20}" for cell in cells))


def ratio(first: float, other: float) -> str:
    return f"1/{first / other:.1f}" if other else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure one replica of each role.")
    parser.add_argument("--partitions", type=int, default=500, help="of the events topic (default: 500)")
    parser.add_argument("--no-broker", action="store_true", help="omit the run on a real broker")
    options = parser.parse_args()
    specs = build_specs(STREAMS)
    settings = [
        ScaleSetting(STREAMS, options.partitions, *each)
        for each in ((1, SHARDS), (10, SHARDS), (50, SHARDS), (50, 16))
    ]
    with threadpool_limits(1):
        say(f"{STREAMS:,} streams, {options.partitions} partitions, an event a stream and second")
        say("of one replica a second, unless noted; in brackets the share of R=1")
        print_table({setting: measure(setting, specs) for setting in settings})
        if not options.no_broker:
            compare(ScaleSetting(200, 24, 2, 8), specs)


def compare(setting: ScaleSetting, specs: list[StreamSpec]) -> None:
    """Print the figures of real replicas on a real broker, as multiples of the simulated ones."""
    simulated = measure(setting, specs)
    served = serve(
        specs[: setting.streams],
        partitions=setting.partitions,
        replicas=setting.replicas,
        shards=setting.shards,
        rate=setting.rate,
    )
    say(
        f"{setting.streams} streams, {setting.partitions} partitions, R={setting.replicas} S={setting.shards}"
    )
    say("of one replica; processor a second, all else a commit")
    pairs = {
        "partials written": (served.records[PARTIALS], simulated["COUNT: partials written"]),
        "partials written, kB": (served.bytes[PARTIALS] / 1e3, simulated["COUNT: partials written, kB"]),
        "changelog written": (served.records[CHANGELOG], simulated["WINDOWS: changelog written"]),
        "changelog written, kB": (served.bytes[CHANGELOG] / 1e3, simulated["WINDOWS: changelog written, kB"]),
        "processor, ms": (served.busy_ms, sum(simulated[name] for name in PROCESSOR)),
    }
    for name, (real, expected) in pairs.items():
        say(f"{name:34} on a broker {real:10,.1f}, simulated {expected:10,.1f}: times {real / expected:.2f}")
    say(f"{'commits a second':34} on a broker {served.commits:10,.2f}, simulated       1.00")
    say(f"{'processor without events, ms':34} on a broker {served.quiet_ms:10,.1f}")


if __name__ == "__main__":
    main()
