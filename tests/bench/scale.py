"""Cost of one replica by the number of replicas: `make scale`.

It simulates one replica of each role without a broker, with the service's own code, over a minute in which
each stream closes a window. There are few events, because the fixed cost is served; their cost is shown
separately. Finally real replicas on a real broker run a smaller setting, which is compared with its
simulation.
"""

import time
import tracemalloc
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from prometheus_client import generate_latest
from tests.bench.live import Setting, count_series, measure
from tests.bench.tables import say_header, say_row
from tests.builders.batches import build_columns
from tests.builders.clocks import HOUR_MS, MINUTE_MS, MONDAY_MS, SECOND_MS, ManualClock
from tests.builders.references import build_random_reference
from tests.builders.specs import ALARM, DEFAULTS, build_spec
from tests.core.shard import restored, written
from tests.harness.broker import Broker
from tests.options import parse_options
from tests.output import say
from threadpoolctl import threadpool_limits

from driftgauge.config import StreamLabels
from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.counting.interval import IntervalCounter, ShardDelta
from driftgauge.core.counting.partial import CommitId
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.shard import ShardState
from driftgauge.engine.count.source_partition import SourcePartition
from driftgauge.records.partials import decode_part, encode_commit
from driftgauge.telemetry.health import Health, Role
from driftgauge.telemetry.metrics import Telemetry
from driftgauge.telemetry.roles import RoleTelemetry
from driftgauge.telemetry.snapshot import WatchedStream

MEASURED_S = 60
DIMENSION = 32
SERVED = Setting(200, 200, DIMENSION, 2, partitions=24, shards=8)


TOPIC = "events"


class Costs(Counter[str]):
    """The costs of a replica: processor milliseconds by stage, and bytes by topic."""

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        started = time.process_time()
        yield
        self[stage] += (time.process_time() - started) * 1e3


class CountReplica:
    """Counts its partitions, each of which is always read up to its end."""

    def __init__(
        self, specs: Sequence[StreamSpec], held: Collection[int], partitions: int, shards: int, number: int
    ) -> None:
        self.costs = Costs()
        self._partitions, self._shards = partitions, shards
        self._name, self._commits = f"driftgauge.scale.{number}.count", 0
        self._counter = IntervalCounter(specs)
        self._sources = [
            SourcePartition((TOPIC, index), "0f" * 16, 0, 0, since_ms=MONDAY_MS, begins=True)
            for index in held
        ]
        self._names = {code: source.partition for code, source in enumerate(self._sources)}

    def count(self, batches: Sequence[EventBatch], now_ms: int) -> None:
        """Count batches, whose partitions are indices into the assigned ones."""
        with self.costs.timed("events"):
            self._counter.count(batches, now_ms)
        for batch in batches:
            for code in batch.partition.tolist():
                self._sources[code].position += 1

    def commit(self, now_ms: int, wanted: Collection[int]) -> dict[int, list[bytes]]:
        """Return the parts for the wanted shards, and record their cost."""
        parts = {}
        with self.costs.timed("commit"):
            for source in self._sources:
                source.caught_up_ms = now_ms
            deltas = self._counter.take(self._names, self._shards)
            commit = CommitId(self._name, 1, self._commits)
            progress = {code: each.progress(self._partitions) for code, each in enumerate(self._sources)}
            for shard in wanted:
                delta = deltas.get(shard, ShardDelta())
                parts[shard] = encode_commit(
                    commit,
                    self._shards,
                    delta.panes,
                    delta.progress(progress),
                    500_000,  # the service's limit
                    written_ms=now_ms,
                )
            for source in self._sources:
                source.commit()
        self._commits += 1
        self.costs["partials"] += sum(len(part) for each in parts.values() for part in each)
        return parts


class WindowsReplica:
    """Closes the windows of its shards, and keeps a compacted copy of its changelog."""

    def __init__(self, specs: Sequence[StreamSpec], held: Collection[int], shards: int) -> None:
        self.costs = Costs()
        self._time = ManualClock()
        self._specs, self._shards = specs, shards
        watched = [WatchedStream(spec, {}, StreamLabels(), lambda size_ms: 2 * size_ms) for spec in specs]
        clock, roles = self._time.clock, [Role.WINDOWS]
        self.telemetry = Telemetry("0", watched, [TOPIC], "partials", Health(roles, clock), roles, clock)
        self._shown = RoleTelemetry(self.telemetry, Role.WINDOWS, shards)
        self.states = {shard: ShardState(specs, [TOPIC], shards) for shard in held}
        self._offsets = Counter(dict.fromkeys(held, 0))
        self._kept: dict[int, dict[bytes, bytes | None]] = {shard: {} for shard in held}

    def apply(self, parts: Mapping[int, Sequence[bytes]], now_ms: int) -> None:
        """Apply the parts of a count replica's commit, by shard."""
        for shard, state in self.states.items():
            for part in parts[shard]:
                with self.costs.timed("decode"):
                    decoded = decode_part(part)
                with self.costs.timed("apply"):
                    state.apply(self._offsets[shard], now_ms, decoded)
                self._offsets[shard] += 1

    def commit(self, now_ms: int) -> None:
        """Close due windows and write the changelog."""
        self._time.advance((now_ms - self._time.wall_ms) / SECOND_MS)
        with self.costs.timed("close"):
            for state in self.states.values():
                state.close_windows()
        for shard, state in self.states.items():
            with self.costs.timed("write"):
                changes = written(state)
            self.costs["changelog"] += sum(len(key) + len(value or b"") for key, value in changes)
            self._kept[shard] |= dict(changes)
            with self.costs.timed("show"):
                self._shown.show(shard, state)

    def restore(self) -> list[ShardState]:
        """Restore all shards from the changelog, as another replica does; return their states."""
        return [
            restored(
                self._specs,
                [TOPIC],
                {key: value for key, value in kept.items() if value is not None},
                shards=self._shards,
            )
            for kept in self._kept.values()
        ]


class Simulation:
    """All count replicas, and the window replica that holds the most shards; an event a stream and second."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._random, self._vectors = np.random.default_rng(1), np.random.default_rng(1)
        changes = {**DEFAULTS, "sizes_ms": (MINUTE_MS, HOUR_MS), "alarm": replace(ALARM, level=1e-5)}
        references = (
            build_random_reference(f"{number:016}", np.random.default_rng(0), dimension=DIMENSION)
            for number in range(setting.streams)
        )
        self._specs = [
            build_spec(f"stream-{number:04}", reference=reference, **changes)
            for number, reference in enumerate(references)
        ]
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
                batch = build_columns(
                    spec.name,
                    (held // self.setting.replicas).astype(np.int32),
                    self._offsets[held],
                    self._now_ms - self._random.integers(step_ms, size=len(held)),
                    self._vectors.standard_normal((len(held), DIMENSION), np.float32),
                    baseline=spec.baselines[0].reference.key,
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
    costs = Counter({name: each / MEASURED_S for name, each in (count.costs | windows.costs).items()})
    tracemalloc.start()
    restored = windows.restore()
    memory = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    del restored
    return {
        "COUNT: events, ms": costs["events"],
        "COUNT: commit, ms": costs["commit"],
        "WINDOWS: decode and apply, ms": costs["decode"] + costs["apply"],
        "WINDOWS: close, write and show, ms": costs["close"] + costs["write"] + costs["show"],
        "WINDOWS: memory of the state, MiB": memory,
        "WINDOWS: series": count_series(generate_latest(windows.telemetry.registry).decode()),
        "partials written, kB": costs["partials"] / 1e3,
        "changelog written, kB": costs["changelog"] / 1e3,
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
