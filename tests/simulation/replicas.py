"""The replicas of a run: COUNT and WINDOWS as their workers do it, without Kafka.

A commit is whole or does not exist; a reader stops at the first open transaction; the owner of a partition
alone commits for it; a new owner has read everything that was committed.
"""

import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from driftgauge.clock import Clock
from driftgauge.config import Settings, load_settings
from driftgauge.core.counting.interval import IntervalCounter, ShardDelta
from driftgauge.core.counting.partial import CommitId, PartitionProgress
from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.shard import ShardState
from driftgauge.core.windows.window import Window
from driftgauge.core.windows.work_budget import WorkBudget
from driftgauge.events.decoder import Decoder
from driftgauge.events.rejection import overflow
from driftgauge.kafka.dead_letters import DeadLetters
from driftgauge.kafka.intake import to_records
from driftgauge.kafka.interval_counts import IntervalCounts
from driftgauge.records.descriptions import BaselineDescription
from driftgauge.records.partials import decode_part, encode_commit
from driftgauge.streams import ConfiguredStream, build_decoder, describe_baselines, load_streams, watch
from driftgauge.telemetry.health import Health, Role
from driftgauge.telemetry.metrics import Telemetry
from driftgauge.telemetry.roles import RoleTelemetry
from tests.builders.baselines import SEGMENTS, save_baseline
from tests.builders.references import build_reference
from tests.core.shard import restored
from tests.simulation.producers import SCHEMAS, VERSION, Sent, inputs

if TYPE_CHECKING:
    from tests.simulation.run import Run

_FIRST_OF = {"images": "images", "texts": "texts", "shop": "shop/a"}


@cache
def baselines_folder() -> Path:
    """Return a folder with three baselines of each kind of stream, which the process keeps.

    The second assigns every vector to another cluster than the first; the third was fitted on more vectors.
    """
    folder = Path(tempfile.mkdtemp(prefix="driftgauge-simulation-"))
    for family, stream in _FIRST_OF.items():
        for number, (shift, count) in enumerate(((0, 1_000), (1, 1_000), (0, 100_000))):
            save_baseline(
                folder,
                stream,
                file=f"{family}-{number}.safetensors",
                reference=build_reference(f"{family}-{number}", shift=shift, count=count),
                segments=SEGMENTS,
                model_version=VERSION,
            )
    return folder


@dataclass(frozen=True)
class Deployment:
    """A configuration, and what the service makes of it."""

    settings: Settings
    streams: list[ConfiguredStream]
    specs: list[StreamSpec]
    descriptions: Mapping[str, BaselineDescription]

    @classmethod
    def load(cls, tree: dict[str, Any], encodings: Mapping[str, str]) -> "Deployment":
        """Return the deployment of a configuration file with these contents."""
        registry = {"schema_registry": {"url": "http://simulated"}, "inputs": inputs(encodings)}
        path = baselines_folder() / "driftgauge.yaml"
        path.write_text(yaml.safe_dump({**tree, **registry}), "utf-8")
        settings = load_settings(path, {})
        streams = load_streams(settings)
        return cls(settings, streams, [each.spec for each in streams], describe_baselines(streams))

    def decoder(self) -> Decoder:
        """Return a decoder of the events topics."""
        settings = self.settings
        return build_decoder(
            self.streams,
            settings.allowed_lead,
            settings.largest_record,
            settings.inputs,
            SCHEMAS,
            age_ms=settings.allowed_age,
        )


ALL = 10**6
"""More records than any log holds."""
_TRANSACTION_MS = 60_000


class Replica:
    """One process: a configuration, its telemetry, and both stages."""

    def __init__(self, run: "Run", index: int, name: str, epoch: int, deployment: Deployment) -> None:
        self.deployment = deployment
        skew_ms = run.plan.skews_ms[index]
        self.clock = Clock(lambda: run.now_ms + skew_ms, lambda: run.now_ms / 1_000)
        settings = deployment.settings
        self.telemetry = Telemetry(
            "simulated",
            [watch(stream) for stream in deployment.streams],
            settings.topics.events,
            settings.partials_topic,
            Health(tuple(Role), self.clock),
            tuple(Role),
            self.clock,
        )
        self._run, self._name = run, name
        self.count = CountMember(run, self, name, epoch)
        self.windows = WindowsMember(run, self)

    def beat(self) -> None:
        """Send a heartbeat."""
        self._run.page.hear(self.telemetry.activity.take(self._name), self._run.now_ms)

    def observer(self, role: Role) -> RoleTelemetry:
        """Return the observer of a role."""
        return RoleTelemetry(self.telemetry, role, self.deployment.settings.shards)


@dataclass(eq=False)
class SimulatedTransaction:
    """A transaction of COUNT; `is_committed` is None while it is open.

    Attributes:
        records: Its partials, each with its shard.
        deployment: The configuration that its events were counted with.
        begun_ms: When it began.
        offsets: The offsets that it commits.
        events: The sound records that it counts.
        letters: Its dead letters.
    """

    commit: CommitId
    deployment: Deployment
    begun_ms: int
    records: list[tuple[int, bytes]]
    offsets: dict[Partition, int]
    events: list[Sent]
    letters: list[tuple[bytes | None, bytes | None, Any]] = field(default_factory=list)
    sent: int = 0
    is_committed: bool | None = None
    shards: set[int] = field(default_factory=set)

    def produce(self, topic: str, partition: int, key: Any, value: Any, headers: Any) -> bool:
        """Take a dead letter, as `Transaction.produce` does."""
        self.letters.append((key, value, headers))
        return True


class CountMember:
    """COUNT of one replica: the counts since its last commit, and the open transaction."""

    def __init__(self, run: "Run", replica: Replica, producer: str, epoch: int) -> None:
        self._run, self._replica, self._producer, self._epoch = run, replica, producer, epoch
        self._number = 0
        self._decoder = replica.deployment.decoder()
        self._observer = replica.observer(Role.COUNT)
        self.held: list[Partition] = []
        self.transaction: SimulatedTransaction | None = None
        self._since_ms: dict[Partition, int] = {}
        self.hold([])

    def hold(self, held: Iterable[Partition]) -> None:
        """Begin with these partitions at the group's offsets; uncommitted counts are lost."""
        run, now_ms = self._run, self._replica.clock.wall_ms()
        kept = {at: self._since_ms[at] for at in held if at in self.held}
        self.held = sorted(held)
        self._since_ms = {at: kept.get(at, now_ms) for at in self.held}
        self._counter = IntervalCounter(self._replica.deployment.specs)
        self._counts = IntervalCounts()
        self._letters = DeadLetters(None, "", 10**6)
        self._caught_up_ms: dict[Partition, int | None] = dict.fromkeys(self.held)
        self.positions: dict[Partition, int] = {}
        self._lost: dict[Partition, int] = {}
        for at in self.held:
            committed = run.committed.get(at, 0)
            self.positions[at] = max(committed, run.begins[at])
            self._lost[at] = self.positions[at] - committed
        self._observer.assigned(self.held, self.held)

    def count(self, number: int) -> None:
        """Read at most this many records of each partition, unless a transaction is open."""
        if self.transaction is not None:
            return
        run, now_ms = self._run, self._replica.clock.wall_ms()
        fetched = []
        for at in self.held:
            if at in run.unreadable:
                continue
            log, first = run.logs[at], self.positions[at]
            fetched += [record for record, _ in log[first : first + number]]
            self.positions[at] = min(first + number, len(log))
            if self.positions[at] == len(log):
                self._caught_up_ms[at] = now_ms
        names = dict(enumerate(self.held))
        codes = {at: code for code, at in names.items()}
        for start in range(0, len(fetched), run.plan.batch):
            polled = fetched[start : start + run.plan.batch]
            messages, records = to_records(polled, codes, now_ms=now_ms)
            decoded = self._decoder.decode(records)
            refused = self._counter.count(decoded.batches, now_ms)
            rejections = [*decoded.rejections, *map(overflow, refused, refused.values())]
            self._letters.add(messages, rejections)
            self._counts.add(records, decoded, rejections, names)

    def begin(self) -> None:
        """Begin the transaction that commits the counts."""
        run = self._run
        deltas = self._counter.take(dict(enumerate(self.held)), run.shards)
        commit = CommitId(self._producer, self._epoch, self._number)
        self._number += 1
        progress = {
            code: PartitionProgress(
                partition=at,
                topic_id=at[0],
                partitions=run.sizes[at[0]],
                start=run.committed.get(at, 0),
                end=self.positions[at],
                begins=at not in run.committed,
                lost=self._lost[at],
                since_ms=self._since_ms[at],
                caught_up_ms=self._caught_up_ms[at],
            )
            for code, at in enumerate(self.held)
        }
        records: list[tuple[int, bytes]] = []
        for shard in range(run.shards):
            delta = deltas.get(shard, ShardDelta())
            parts = encode_commit(
                commit,
                run.shards,
                delta.panes,
                delta.progress(progress),
                run.plan.part_bytes,
                written_ms=self._replica.clock.wall_ms(),
            )
            records += [(shard, part) for part in parts]
        starts = {at: max(run.committed.get(at, 0), run.begins[at]) for at in self.held}
        read = [sent for at in self.held for _, sent in run.logs[at][starts[at] : self.positions[at]]]
        self.transaction = SimulatedTransaction(
            *(commit, self._replica.deployment, run.now_ms, records, dict(self.positions)),
            [sent for sent in read if not sent.fault],
        )

    def expire(self) -> None:
        """Lose the open transaction once the brokers abort it."""
        if self.transaction is not None and self._run.now_ms - self.transaction.begun_ms > _TRANSACTION_MS:
            self.discard()

    def send(self, number: int) -> None:
        """Append at most this many of the transaction's records to their logs."""
        if self.held and self.transaction is None:
            self.begin()
        transaction = self.transaction
        if transaction is not None:
            for shard, part in transaction.records[transaction.sent :][:number]:
                self._run.partials[shard].append((self._run.now_ms, part, transaction))
                transaction.shards.add(shard)
                transaction.sent += 1

    def end(self, *, is_committed: bool) -> None:
        """End the open transaction; send the rest of its records before a commit."""
        transaction = self.transaction
        if transaction is None:
            return
        if is_committed:
            self.send(ALL)
            self._letters._transaction = transaction
            self._letters.write()
            self._letters.clear()
            self._run.committed.update(transaction.offsets)
            self._run.bury(transaction.letters)
            self._lost = dict.fromkeys(self.held, 0)
            counts, self._counts = self._counts, IntervalCounts()
            self._observer.committed()
            self._observer.counted(counts.accepted, counts.with_events, counts.rejected, counts.lost)
            self._observer.records_read(counts.records)
            self._replica.beat()
        self.transaction = None
        transaction.is_committed = is_committed
        for shard in transaction.shards:
            self._run.partials[shard].append((self._run.now_ms, None, transaction))
        if not is_committed:
            self.hold(self.held)

    def commit(self) -> None:
        """Commit the counts."""
        if self.held and self.transaction is None:
            self.begin()
        self.end(is_committed=True)

    def discard(self) -> None:
        """Discard the counts that are not committed."""
        self.end(is_committed=False)
        self.hold(self.held)


@dataclass
class Fate:
    """What became of the events of one commit in one shard, by the documents.

    Attributes:
        applied: The events of admitted streams; `surplus`: of others, by their entry.
        late: By stream, size and start, those whose window was final.
        otherwise: The windows with events under another scheme than that of the last configuration.
    """

    applied: Counter[str] = field(default_factory=Counter)
    surplus: Counter[str] = field(default_factory=Counter)
    late: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    otherwise: set[tuple[str, int, int]] = field(default_factory=set)


class WindowsMember:
    """WINDOWS of one replica: the states of its shards."""

    def __init__(self, run: "Run", replica: Replica) -> None:
        self._run, self._replica = run, replica
        self._observer = replica.observer(Role.WINDOWS)
        self.states: dict[int, ShardState] = {}
        self._next: dict[int, int] = {}
        self.fates: dict[int, dict[CommitId, Fate]] = {}

    def hold(self, shards: Collection[int]) -> None:
        """Hold these shards; only new ones are restored."""
        for shard in set(self.states) - set(shards):
            del self.states[shard]
        self._observer.shards_held(shards)
        for shard in sorted(set(shards) - set(self.states)):
            self._restore(shard)

    def restore(self) -> None:
        """Lose the state that is not committed."""
        for shard in self.states:
            self._restore(shard)

    def apply(self, number: int) -> None:
        """Apply at most this many records of each shard, up to the first open transaction."""
        for shard, state in self.states.items():
            for append_ms, part, transaction in self._run.partials[shard][self._next[shard] :][:number]:
                if transaction.is_committed is None:
                    break
                if part is not None and transaction.is_committed:
                    self._apply(shard, state, append_ms, part, transaction)
                else:
                    state.skip_to(self._next[shard] + 1)
                self._next[shard] += 1

    def _apply(
        self, shard: int, state: ShardState, append_ms: int, part: bytes, transaction: SimulatedTransaction
    ) -> None:
        final_ms = {stream: each.status.final_ms for stream, each in state.streams.items()}
        producer = transaction.commit.producer, transaction.commit.epoch
        known = state.position.producers.get(producer)
        state.apply(self._next[shard], append_ms, decode_part(part))
        if state.position.producers.get(producer) == known:
            return
        fate = self.fates[shard][transaction.commit] = Fate()
        for sent in transaction.events:
            if self._run.shard_of(sent.stream) != shard:
                continue
            spec = self._run.spec_of(self._replica.deployment, sent.stream)
            by, last = (
                self._run.spec_of(each, sent.stream) for each in (transaction.deployment, self._run.last)
            )
            if by.scheme(by.baseline_at(sent.time_ms)) != last.scheme(last.baseline_at(sent.time_ms)):
                fate.otherwise |= {
                    (sent.stream, size_ms, Window.around(sent.time_ms, size_ms).start_ms)
                    for size_ms in last.sizes_ms
                }
            if sent.stream not in state.streams or state.streams[sent.stream].is_retired:
                fate.surplus[spec.name] += len(sent.vectors)
                continue
            fate.applied[sent.stream] += len(sent.vectors)
            ended_ms = final_ms.get(sent.stream)
            for size_ms in spec.sizes_ms:
                window = Window.around(sent.time_ms, size_ms)
                if ended_ms is not None and window.end_ms <= ended_ms:
                    fate.late[sent.stream, size_ms, window.start_ms] += len(sent.vectors)

    def close(self) -> None:
        """Close windows in every shard, and commit."""
        for shard, state in self.states.items():
            done = state.close_windows(WorkBudget(self._run.plan.round_bytes))
            self._run.keep(shard, state, done, self._replica.deployment, self.fates[shard], self._next[shard])
            self._observer.committed()
            self._observer.closed(shard, done)
            self._observer.show(shard, state)
        self._replica.beat()

    def _restore(self, shard: int) -> None:
        run, deployment = self._run, self._replica.deployment
        topics = deployment.settings.topics.events
        state = restored(deployment.specs, topics, run.changelogs[shard], shards=run.shards)
        assert state.position.offset == run.offsets[shard], "the changelog has another offset"
        self.states[shard], self._next[shard] = state, state.position.offset
        self.fates[shard] = {}
        self._observer.show(shard, state)
