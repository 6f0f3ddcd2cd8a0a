"""A run of a plan: the logs, the changelogs, the replicas that hold them, and what they published."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from driftgauge.core.by_stream import ByStream
from driftgauge.core.counting.partial import CommitId, shard_of
from driftgauge.core.durations import parse_duration
from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.shard import RoundResult, ShardState
from driftgauge.events.records import StoredRecord
from driftgauge.events.timestamps import parse_timestamp
from driftgauge.records.results import result_record
from tests.builders.batches import partitions_of
from tests.builders.clocks import HOUR_MS, SECOND_MS
from tests.core.shard import written
from tests.simulation.page import Page
from tests.simulation.plan import START_MS, Plan
from tests.simulation.producers import Sent, encode
from tests.simulation.replicas import ALL, Deployment, Fate, Replica, SimulatedTransaction

WindowKey = tuple[str, int, int]
"""Stream, size in ms, start in ms."""
_ROUNDS = 3_000
CONCLUSIVE = ("ok", "warning", "misfit", "drift")
"""The verdicts that say whether there is drift."""


class Run:
    """A group of replicas that carries out a plan.

    Attributes:
        logs: The records of each source partition, with what they say; `begins`: the first offset of each.
        committed: The offsets that COUNT committed; `offsets`: those that WINDOWS committed.
        partials: The records of each shard; `changelogs`: its compacted changelog.
        rounds: The committed rounds of each shard: the deployment, the next offset, and the results.
        results: The published results as JSON, the last of each window.
        closed: How many results were published by stream, size and verdict; a verdict that stays counts once.
        passed: How many drifts have passed by stream and size.
        letters: The dead letters.
        page: The page, which reads results and heartbeats.
        fates: What became of the events of each applied commit, by shard.
        lost: The records that retention deleted before they were read; `doubtful`: those whose windows must
            be marked.
        gone: The replicas that have ended.
    """

    def __init__(self, plan: Plan, on_look: Callable[["Run"], None] = lambda _: None) -> None:
        self.plan, self._on_look = plan, on_look
        self.deployments = [Deployment.load(each, plan.encodings) for each in plan.configurations]
        self.shards = self.deployments[0].settings.shards
        self.now_ms = START_MS
        self.sizes = dict(plan.partitions)
        self.logs: dict[Partition, list[tuple[StoredRecord, Sent]]] = {
            at: [] for at in partitions_of(self.sizes)
        }
        self.begins: Counter[Partition] = Counter()
        self.unreadable: set[Partition] = set()
        self.committed: dict[Partition, int] = {}
        self.partials: list[list[tuple[int, bytes | None, SimulatedTransaction]]] = [
            [] for _ in range(self.shards)
        ]
        self.changelogs: list[dict[bytes, bytes]] = [{} for _ in range(self.shards)]
        self.offsets = [0] * self.shards
        self.rounds: list[list[tuple[Deployment, int, list[bytes]]]] = [[] for _ in range(self.shards)]
        self.results: dict[WindowKey, dict[str, Any]] = {}
        self.letters: list[StoredRecord] = []
        self.fates: list[dict[CommitId, Fate]] = [{} for _ in range(self.shards)]
        self.closed: Counter[tuple[str, int, str]] = Counter()
        self.passed: Counter[tuple[str, int]] = Counter()
        self.page = Page(lambda: self.now_ms)
        self.is_settled = False
        self.lost: list[Sent] = []
        self.doubtful: list[Sent] = []
        self.gone: list[Replica] = []
        self._epochs: Counter[str] = Counter()
        self._watermarks: dict[str, int | None] = {}
        self.chain_errors: list[str] = []
        self.replicas = [
            self._make(f"replica-{index}", index, self.deployments[0]) for index in range(len(plan.skews_ms))
        ]
        everybody = range(len(self.replicas))
        self.assign_partitions(everybody, True)
        self.assign_shards(everybody, True)
        for replica in self.replicas:
            replica.count.commit()

    def carry_out(self) -> "Run":
        """Carry out the steps, and let the group settle with the last configuration."""
        for name, *arguments in self.plan.steps:
            getattr(self, name)(*arguments)
        for index, replica in enumerate(self.replicas):
            if replica.deployment is not self.deployments[-1]:
                self.restart(index, -1)
        self.settle()
        self.is_settled = True
        self.look()
        return self

    # Steps

    def publish(self, *records: Sent) -> None:
        """Write records; one that the topic does not have a partition for goes to another one."""
        for sent in records:
            at = sent.topic, sent.partition % self.sizes[sent.topic]
            for (value, headers), each in encode(self.plan.encodings[sent.topic], sent):
                record = StoredRecord(value, *at, len(self.logs[at]), None, headers, self.now_ms)
                self.logs[at].append((record, each))

    def count(self, replica: int, number: int) -> None:
        """Let COUNT read at most this many records of each partition, and commit."""
        self.replicas[replica].count.count(number)
        self.replicas[replica].count.commit()

    def send(self, replica: int, number: int) -> None:
        """Let COUNT begin or continue a transaction, record by record."""
        self.replicas[replica].count.count(number)
        self.replicas[replica].count.send(number)

    def fail(self, replica: int) -> None:
        """Let COUNT lose what it has not committed."""
        self.replicas[replica].count.discard()

    def apply(self, replica: int, number: int) -> None:
        """Let WINDOWS apply this many records of each shard without a commit."""
        self.replicas[replica].windows.apply(number)

    def close(self, replica: int, number: int) -> None:
        """Let WINDOWS apply this many records of each shard, close windows, and commit."""
        self.replicas[replica].windows.apply(number)
        self.replicas[replica].windows.close()

    def restore(self, replica: int) -> None:
        """Let WINDOWS lose what it has not committed."""
        self.replicas[replica].windows.restore()

    def wait(self, duration_ms: int) -> None:
        """Let wall time pass."""
        self.now_ms += duration_ms
        for replica in self.replicas:
            replica.count.expire()

    def restart(self, index: int, configuration: int | None) -> None:
        """Kill a replica; a new one takes over, with this configuration or, for None, the same."""
        killed = self.replicas[index]
        killed.count.end(is_committed=False)
        self.gone.append(killed)
        deployment = killed.deployment if configuration is None else self.deployments[configuration]
        self.replicas[index] = self._make(f"replica-{index}", index, deployment)
        self.replicas[index].count.hold(killed.count.held)
        self.replicas[index].windows.hold(killed.windows.states)

    def assign_partitions(self, holders: Sequence[int], is_handed_over: bool) -> None:
        """Give source partition i to replica `holders[i]`; counts are committed first, or lost."""
        held: list[list[Partition]] = [[] for _ in self.replicas]
        for index, at in enumerate(partitions_of(self.sizes)):
            held[holders[index % len(holders)] % len(held)].append(at)
        for replica in self.replicas:
            if is_handed_over:
                replica.count.commit()
            else:
                replica.count.discard()
        for replica, partitions in zip(self.replicas, held, strict=True):
            replica.count.hold(partitions)

    def assign_shards(self, holders: Sequence[int], is_handed_over: bool) -> None:
        """Give shard i to replica `holders[i]`."""
        held: list[list[int]] = [[] for _ in self.replicas]
        for shard in range(self.shards):
            held[holders[shard % len(holders)] % len(held)].append(shard)
        for replica in self.replicas:
            if is_handed_over:
                replica.windows.close()
        for replica, shards in zip(self.replicas, held, strict=True):
            replica.windows.hold(shards)

    def grow(self, topic: str, holders: Sequence[int]) -> None:
        """Add a partition to a topic; a rebalance assigns it."""
        self.logs[topic, self.sizes[topic]] = []
        self.sizes[topic] += 1
        self.assign_partitions(holders, True)

    def delete(self, at: Partition, number: int) -> None:
        """Let retention delete this many unread records; the partition's owner notices at once."""
        first = max(self.committed.get(at, 0), self.begins[at])
        for replica in self.replicas:
            if at in replica.count.held:
                replica.count.discard()
        deleted = self.logs[at][first : first + number]
        self.lost += [sent for _, sent in deleted]
        # A loss marks windows from the partition's newest counted event on, less the allowed disorder, up to
        # the clock. It does not mark a stream that is retired, or without a counted event on the topic.
        states = [each for replica in self.replicas for each in replica.windows.states.values()]
        retired = {stream for each in states for stream, own in each.streams.items() if own.is_retired}
        newest_ms: dict[str, int] = {}
        for other, log in self.logs.items():
            for _, sent in log[: self.committed.get(other, 0)]:
                if other[0] == at[0] and not sent.fault and not any(sent is each for each in self.lost):
                    known_ms = newest_ms.setdefault(sent.stream, 0)
                    newest_ms[sent.stream] = max(known_ms, sent.time_ms if other == at else 0)
        self.doubtful += [
            sent
            for _, sent in deleted
            if not sent.fault
            and sent.stream in newest_ms.keys() - retired
            and newest_ms[sent.stream] - self.spec_of(self.last, sent.stream).disorder_ms
            <= sent.time_ms
            <= self.now_ms
        ]
        self.begins[at] = first + len(deleted)
        for replica in self.replicas:
            if at in replica.count.held:
                replica.count.hold(replica.count.held)

    def stick(self, at: Partition) -> None:
        """Let a source partition become unreadable, or readable again."""
        self.unreadable ^= {at}

    def settle(self) -> None:
        """Let all replicas read everything, and time pass, until no window waits."""
        self.unreadable.clear()
        quiet = 0
        for number in range(_ROUNDS):
            before = len(self.page.source.values)
            # Once everything is read, every partition falls silent.
            self.wait({2: 2 * HOUR_MS}.get(number, 20 * SECOND_MS if quiet else SECOND_MS))
            for replica in range(len(self.replicas)):
                self.count(replica, ALL)
            for replica in range(len(self.replicas)):
                self.close(replica, ALL)
            waits = any(state.has_backlog for each in self.replicas for state in each.windows.states.values())
            quiet = 0 if waits or len(self.page.source.values) > before else quiet + 1
            if quiet == 4:
                return
        raise AssertionError("the group does not settle")

    def look(self) -> None:
        """Let somebody look at metrics and page."""
        self._on_look(self)

    # What replicas do

    def keep(
        self,
        shard: int,
        state: ShardState,
        done: RoundResult,
        deployment: Deployment,
        fates: dict[CommitId, Fate],
        next_offset: int,
    ) -> None:
        """Commit a round: the changelog entries, the results, and the fates of the events applied."""
        for key, value in written(state):
            if value is None:
                self.changelogs[shard].pop(key, None)
            else:
                self.changelogs[shard][key] = value
        assert state.position.offset >= self.offsets[shard], "the covered offset went back"
        self.offsets[shard] = state.position.offset
        for stream, each in state.streams.items():
            before_ms, watermark_ms = self._watermarks.get(stream), each.status.watermark_ms
            assert before_ms is None or watermark_ms >= before_ms, f"the watermark of {stream} went back"
            self._watermarks[stream] = watermark_ms
        for commit, fate in fates.items():
            assert commit not in self.fates[shard], "a commit was applied twice"
            self.fates[shard][commit] = fate
        fates.clear()
        self.chain_errors += done.chain_errors
        records = [
            result_record(each, deployment.descriptions.get(each.baseline_id)) for each in done.results
        ]
        self.rounds[shard].append((deployment, next_offset, records))
        for value in records:
            self.page.publish(value, self.now_ms)
            found = orjson.loads(value)
            key = found["stream"], parse_duration(found["window"]), parse_timestamp(found["start"])
            before = self.results.get(key)
            expected = 0 if before is None else before["revision"] + 1
            assert found["revision"] == expected, f"revisions: not {expected} but {found}"
            self._publish(key, found)

    def bury(self, letters: Sequence[Any]) -> None:
        """Take committed dead letters."""
        for key, value, headers in letters:
            letter = StoredRecord(value, "letters", 0, len(self.letters), key, headers, self.now_ms)
            self.letters.append(letter)

    def newest(self, stream: str, size_ms: int, *verdicts: str) -> dict[str, Any] | None:
        """Return the last published result of the newest window of a size, of those with some verdicts."""
        starts_ms = [
            key[2]
            for key, found in self.results.items()
            if key[:2] == (stream, size_ms) and (not verdicts or found["verdict"] in verdicts)
        ]
        return self.results[stream, size_ms, max(starts_ms)] if starts_ms else None

    def has_alarm(self, stream: str, size_ms: int) -> bool:
        """Return whether the last conclusive window of a size says drift."""
        found = self.newest(stream, size_ms, *CONCLUSIVE)
        return found is not None and found["verdict"] == "drift"

    def _publish(self, key: WindowKey, found: dict[str, Any]) -> None:
        """Publish the result of a window, and count it: by verdict, and the drifts that have passed."""
        series, before = key[:2], self.results.get(key)
        had_alarm, is_new = self.has_alarm(*series), before is None or before["verdict"] != found["verdict"]
        self.results[key] = found | {"published": self.now_ms}
        self.closed[*series, found["verdict"]] += is_new
        may_pass = had_alarm or (is_new and found["verdict"] == "drift")
        self.passed[series] += may_pass and not self.has_alarm(*series)

    def shard_of(self, stream: str) -> int:
        """Return the shard of a stream."""
        return shard_of(stream, self.shards)

    def spec_of(self, deployment: Deployment, stream: str) -> StreamSpec:
        """Return the specification of a stream."""
        return ByStream({spec.name: spec for spec in deployment.specs})[stream]

    @property
    def late(self) -> Counter[tuple[str, int]]:
        """The late events by stream and size."""
        found: Counter[tuple[str, int]] = Counter()
        for fate in self._every_fate():
            for (stream, size_ms, _), number in fate.late.items():
                found[stream, size_ms] += number
        return found

    @property
    def applied(self) -> Counter[str]:
        """The events of admitted streams by stream."""
        return sum((fate.applied for fate in self._every_fate()), Counter())

    def _every_fate(self) -> list[Fate]:
        return [fate for of_shard in self.fates for fate in of_shard.values()]

    @property
    def last(self) -> Deployment:
        """The last configuration, with which the group settles."""
        return self.deployments[-1]

    def _make(self, name: str, index: int, deployment: Deployment) -> Replica:
        self._epochs[name] += 1
        return Replica(self, index, name, self._epochs[name], deployment)
