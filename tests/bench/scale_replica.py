"""Replicas of both roles without Kafka, for `scale.py`: the service's own code, each stage timed."""

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from prometheus_client import generate_latest
from tests.builders.batches import build_columns
from tests.builders.clocks import HOUR_MS, MINUTE_MS, MONDAY_MS, SECOND_MS, ManualClock
from tests.builders.references import build_random_reference
from tests.builders.specs import ALARM, DEFAULTS, build_spec

from driftgauge.config import StreamLabels
from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.counting.interval import IntervalCounter, ShardDelta
from driftgauge.core.counting.partial import CommitId
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.shard import ShardState
from driftgauge.engine.count.source_partition import SourcePartition
from driftgauge.records.changelog_records import decode, encode_key, encode_value
from driftgauge.records.partials import decode_part, encode_commit
from driftgauge.telemetry.health import Health, Role
from driftgauge.telemetry.metrics import Telemetry
from driftgauge.telemetry.roles import RoleTelemetry
from driftgauge.telemetry.snapshot import WatchedStream

TOPIC = "events"

_RANDOM = np.random.default_rng(1)


@dataclass(slots=True)
class Costs:
    """The costs of a replica: processor seconds by stage, and bytes by topic."""

    seconds: defaultdict[str, float] = field(default_factory=partial(defaultdict, float))
    bytes: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        started = time.process_time()
        yield
        self.seconds[stage] += time.process_time() - started


def build_specs(streams: int, dimension: int) -> list[StreamSpec]:
    """Return streams with windows of a minute and an hour, and the default configuration otherwise."""
    changes = {**DEFAULTS, "sizes_ms": (MINUTE_MS, HOUR_MS), "alarm": replace(ALARM, level=1e-5)}
    return [
        build_spec(
            f"stream-{number:04}",
            reference=build_random_reference(f"{number:016}", np.random.default_rng(0), dimension=dimension),
            **changes,
        )
        for number in range(streams)
    ]


def draw_stream_batch(
    spec: StreamSpec, partition: NDArray[np.int32], offset: NDArray[np.int64], time_ms: NDArray[np.int64]
) -> EventBatch:
    """Return events of a stream with random vectors."""
    reference = spec.baselines[0].reference
    vectors = _RANDOM.standard_normal((len(time_ms), reference.centroids.dimension), np.float32)
    return build_columns(spec.name, partition, offset, time_ms, vectors, baseline=reference.key)


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
        self.costs.bytes["partials"] += sum(len(part) for each in parts.values() for part in each)
        return parts


class WindowsReplica:
    """Closes the windows of its shards, and keeps a compacted copy of its changelog."""

    def __init__(self, specs: Sequence[StreamSpec], held: Collection[int], shards: int) -> None:
        self.costs = Costs()
        self._time = ManualClock()
        self._specs, self._shards = specs, shards
        self._telemetry = self._build_telemetry()
        self._shown = RoleTelemetry(self._telemetry, Role.WINDOWS, shards)
        self.states = {shard: self._begin() for shard in held}
        self._offsets = Counter(dict.fromkeys(held, 0))
        self._kept: dict[int, dict[bytes, bytes]] = {shard: {} for shard in held}

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
                written = [
                    (encode_key(key), None if value is None else encode_value(value))
                    for key, value in state.drain_changes()
                ]
            self.costs.bytes["changelog"] += sum(len(key) + len(value or b"") for key, value in written)
            kept = self._kept[shard]
            kept.update((key, value) for key, value in written if value is not None)
            for key in (key for key, value in written if value is None):
                kept.pop(key, None)
            with self.costs.timed("show"):
                self._shown.show(shard, state)

    def restore(self) -> list[ShardState]:
        """Restore all shards from the changelog, as another replica does; return their states."""
        states = [self._begin() for _ in self._kept]
        for state, kept in zip(states, self._kept.values(), strict=True):
            for record in kept.items():
                state.restore(*decode(*record))
        return states

    def render(self) -> str:
        """Return the text of a scrape."""
        return generate_latest(self._telemetry.registry).decode()

    def _build_telemetry(self) -> Telemetry:
        streams = [
            WatchedStream(spec, {}, StreamLabels(), lambda size_ms: 2 * size_ms) for spec in self._specs
        ]
        clock, roles = self._time.clock, [Role.WINDOWS]
        return Telemetry("0", streams, [TOPIC], "partials", Health(roles, clock), roles, clock)

    def _begin(self) -> ShardState:
        return ShardState(self._specs, [TOPIC], self._shards)
