"""A simulation of both stages without Kafka: logs, changelogs, and the members that hold them.

Kafka's guarantees are assumed: a transaction is committed whole or not at all; a reader stops at the first
open transaction; only the owner of a partition commits for it; a new owner has read everything that was
committed. All else is random: assignments, the interleaving of transactions, failures, replacements and clock
errors.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from driftgauge.core.counting.partial import shard_of
from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.result import WindowResult
from driftgauge.core.windows.shard import RoundResult, ShardState
from driftgauge.core.windows.window import Window
from tests.builders.batches import partitions_of
from tests.builders.clocks import DAY_MS, MONDAY_MS
from tests.core.group_members import ALL, CountMember, GroupEvent, SimulatedTransaction, WindowsMember
from tests.core.shard import restored, written

STEP_MS = 100  # of wall time

_Member = TypeVar("_Member")


class SimulatedGroup:
    """The logs, the committed offsets, the published results, and the members of both stages.

    Attributes:
        logs: The events of each source partition; `begins`: the first offset of each.
        committed: The offsets that COUNT committed; `offsets`: those that WINDOWS committed.
        partials: The records of each shard; `changelogs`: its compacted changelog.
        results: (stream, window, revision) -> result.
        late: (stream, window size) -> number of late events.
        lost: The events that retention deleted before they were read; `missed`: those of streams that had
            events counted on the topic before.
        unreadable: The source partitions that no member can read.
    """

    def __init__(
        self,
        specs: Sequence[StreamSpec],
        *,
        partitions: int,
        members: int,
        shards: int,
        skews_ms: Sequence[int],
        has_own_topics: bool = False,
        most: int = 0,
    ) -> None:
        """Begin with empty logs.

        Args:
            specs: The streams.
            partitions: The number of partitions of each topic.
            members: The number of processes of each stage.
            shards: The number of shards.
            skews_ms: The clock error of each COUNT member.
            has_own_topics: Each stream has a topic of its own.
            most: One entry of the configuration is for this many streams; 0: each stream has its own.
        """
        self.specs, self.shards = specs, shards
        self.configured = [replace(specs[0], name="*", most=most)] if most else specs
        self.now_ms = MONDAY_MS + DAY_MS  # long after all events: silence may close any window
        topics = [spec.name for spec in specs] if has_own_topics else ["embeddings"]
        self.sizes = dict.fromkeys(topics, partitions)
        self.logs: dict[Partition, list[GroupEvent]] = {at: [] for at in partitions_of(self.sizes)}
        self.begins: Counter[Partition] = Counter()
        self.unreadable: set[Partition] = set()
        self.committed: dict[Partition, int] = {}
        self.newest_ms = {spec.name: MONDAY_MS for spec in specs}
        self.partials: list[list[tuple[int, bytes | None, SimulatedTransaction]]] = [
            [] for _ in range(shards)
        ]
        self.changelogs: list[dict[bytes, bytes]] = [{} for _ in range(shards)]
        self.offsets = [0] * shards
        self.results: dict[tuple[str, Window, int], WindowResult] = {}
        self.late: Counter[tuple[str, int]] = Counter()
        self.lost: list[GroupEvent] = []
        self.missed: list[GroupEvent] = []
        self.written: list[GroupEvent] = []
        self._watermarks: dict[tuple[str, str], int | None] = {}
        self._skews_ms = skews_ms
        self._epochs: Counter[str] = Counter()
        self.counting = [self._make_count(f"count-{index}", index) for index in range(members)]
        self.closing = [WindowsMember(self) for _ in range(members)]
        self.rebalance_count(range(members * partitions), True)
        self.rebalance_windows(range(members * partitions), True)
        for member in range(members):
            self.work(member, 0)

    # Steps of a plan

    def write(self, events: Iterable[tuple[int, int, int, int, int]]) -> None:
        """Write (partition, stream, ms after the stream's newest, ms behind that, cluster) events."""
        for number, stream, ahead_ms, behind_ms, cluster in events:
            spec = self.specs[stream % len(self.specs)]
            topic = spec.name if spec.name in self.sizes else "embeddings"
            index = number % self.sizes[topic]
            log = self.logs[topic, index]
            self.newest_ms[spec.name] += ahead_ms
            event = GroupEvent(
                spec.name, self.newest_ms[spec.name] - behind_ms, cluster, f"{topic}-{index}-{len(log)}"
            )
            log.append(event)
            self.written.append(event)

    def work(self, member: int, number: int) -> None:
        """Let a COUNT member read at most this many events of each partition, and commit."""
        worker = self._of(self.counting, member)
        worker.count(number)
        worker.commit()

    def send(self, member: int, number: int) -> None:
        """Let a COUNT member begin or continue a transaction, record by record."""
        worker = self._of(self.counting, member)
        worker.count(number)
        worker.send(number)

    def fail(self, member: int) -> None:
        """Let a COUNT member discard its uncommitted counts."""
        self._of(self.counting, member).discard()

    def apply(self, member: int, number: int) -> None:
        """Let a WINDOWS member apply this many records without a commit."""
        self._of(self.closing, member).apply(number)

    def close(self, member: int, number: int) -> None:
        """Let a WINDOWS member apply this many records of each shard, close windows, and commit."""
        worker = self._of(self.closing, member)
        worker.apply(number)
        worker.close()

    def restore(self, member: int) -> None:
        """Let a WINDOWS member discard its uncommitted state."""
        self._of(self.closing, member).restore()

    def wait(self, steps: int) -> None:
        """Let wall time pass."""
        self.now_ms += steps * STEP_MS

    def replace(self, member: int, is_named: bool) -> None:
        """Kill a COUNT member; a new one takes over its partitions, with the same name or another."""
        index = member % len(self.counting)
        killed = self.counting[index]
        killed.end(is_committed=False)
        name = f"count-{index}" if is_named else f"count-{index}-{self._epochs.total()}"
        self.counting[index] = self._make_count(name, index)
        self.counting[index].hold(killed.held)

    def rebalance_count(self, holders: Sequence[int], is_handed_over: bool) -> None:
        """Give source partition i to member `holders[i]`; counts are committed first, or lost."""
        held: list[list[Partition]] = [[] for _ in self.counting]
        for index, at in enumerate(partitions_of(self.sizes)):
            held[holders[index % len(holders)] % len(held)].append(at)
        for member in self.counting:
            if is_handed_over:
                member.commit()
            else:
                member.discard()
        for member, partitions in zip(self.counting, held, strict=True):
            member.hold(partitions)

    def rebalance_windows(self, holders: Sequence[int], is_handed_over: bool) -> None:
        """Give shard i to member `holders[i]`."""
        held: list[list[int]] = [[] for _ in self.closing]
        for shard in range(self.shards):
            held[holders[shard % len(holders)] % len(held)].append(shard)
        for member in self.closing:
            if is_handed_over:
                member.close()
        for member, shards in zip(self.closing, held, strict=True):
            member.hold(shards)

    def grow(self, holders: Sequence[int]) -> None:
        """Add a partition to every topic; a rebalance assigns it."""
        for topic, size in self.sizes.items():
            self.sizes[topic] = size + 1
            self.logs[topic, size] = []
        self.rebalance_count(holders, True)

    def delete(self, partition: int, number: int) -> None:
        """Let retention delete this many uncommitted events; the partition's owner notices at once."""
        at = self._at(partition)
        first = max(self.committed.get(at, 0), self.begins[at])
        for member in self.counting:
            if at in member.held:
                member.discard()
        deleted = self.logs[at][first : first + number]
        self.lost += deleted
        # A loss does not mark a stream without a counted event on the topic.
        counted = [
            event
            for other in partitions_of(self.sizes)
            for event in self.logs[other][: self.committed.get(other, 0)]
            if other[0] == at[0] and event not in self.lost
        ]
        known = {event.stream for event in counted}
        self.missed += [event for event in deleted if event.stream in known]
        self.begins[at] = first + len(deleted)
        for member in self.counting:
            if at in member.held:
                member.hold(member.held)

    def stick(self, partition: int) -> None:
        """Let a source partition become unreadable, or readable again."""
        self.unreadable ^= {self._at(partition)}

    # Results of a plan

    def settle(self) -> None:
        """Let all members read everything, and time pass, until no result comes any more."""
        self.unreadable.clear()
        quiet = 0
        for _ in range(60):
            before = len(self.results)
            self.wait(20)
            for member in range(len(self.counting)):
                self.work(member, ALL)
            for member in range(len(self.closing)):
                self.close(member, ALL)
            quiet = quiet + 1 if len(self.results) == before else 0
            if quiet == 3:
                return
        raise AssertionError("the group does not settle")

    def keep(self, shard: int, state: ShardState, done: RoundResult) -> None:
        """Commit the changelog entries and the results of a shard."""
        for key, value in written(state):
            if value is None:
                self.changelogs[shard].pop(key, None)
            else:
                self.changelogs[shard][key] = value
        assert state.position.offset >= self.offsets[shard], "the covered offset went back"
        self.offsets[shard] = state.position.offset
        for result in done.results:
            key = result.stream, result.window, result.revision
            assert key not in self.results, "a revision was published twice"
            assert shard_of(result.stream, self.shards) == shard
            self.results[key] = result
        for late in done.late:
            self.late[late.stream, late.size_ms] += late.number
        assert done.chain_errors == []
        for stream, stream_state in state.streams.items():
            for name in ("watermark_ms", "final_ms"):
                value, before = getattr(stream_state.status, name), self._watermarks.get((stream, name))
                assert before is None or value >= before, f"the {name} of {stream} went back"
                self._watermarks[stream, name] = value

    @property
    def states(self) -> list[ShardState]:
        """The shards' states, restored from their changelogs."""
        return [
            restored(self.configured, self.sizes, changelog, shards=self.shards)
            for changelog in self.changelogs
        ]

    @property
    def events(self) -> list[GroupEvent]:
        """All events that were written and not lost."""
        return list((Counter(self.written) - Counter(self.lost)).elements())

    @property
    def final(self) -> dict[tuple[str, Window], WindowResult]:
        """(stream, window) -> its last revision; revisions are published in order."""
        return {(stream, window): result for (stream, window, _), result in self.results.items()}

    def _make_count(self, producer: str, index: int) -> CountMember:
        self._epochs[producer] += 1
        skew_ms = self._skews_ms[index % len(self._skews_ms)]
        return CountMember(self, producer, self._epochs[producer], skew_ms)

    def _at(self, number: int) -> Partition:
        partitions = partitions_of(self.sizes)
        return partitions[number % len(partitions)]

    @staticmethod
    def _of(members: Sequence[_Member], number: int) -> _Member:
        return members[number % len(members)]
