"""The members of a simulated group: processes of COUNT and of WINDOWS without Kafka."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from driftgauge.core.counting.interval import IntervalCounter, ShardDelta
from driftgauge.core.counting.partial import CommitId, PartitionProgress
from driftgauge.core.partition import Partition
from driftgauge.core.windows.shard import ShardState
from driftgauge.records.partials import decode_part, encode_commit
from tests.builders.batches import build_batch
from tests.core.shard import restored

if TYPE_CHECKING:
    from tests.core.group import SimulatedGroup

ALL = 10**6
"""More events or records than any log holds."""
_PART_BYTES = 900  # so that a commit has several parts for a shard


class GroupEvent(NamedTuple):
    """An event of a source partition."""

    stream: str
    time_ms: int
    cluster: int
    name: str


@dataclass(eq=False)
class SimulatedTransaction:
    """A transaction of COUNT in the shards' logs; `is_committed` is None while it is open."""

    records: list[tuple[int, bytes]]
    offsets: dict[Partition, int]
    sent: int = 0
    is_committed: bool | None = None
    shards: set[int] = field(default_factory=set)


class CountMember:
    """One process of COUNT: the counts since its last commit, and the open transaction."""

    def __init__(self, group: "SimulatedGroup", producer: str, epoch: int, skew_ms: int) -> None:
        self._group, self._producer, self._epoch, self._skew_ms = group, producer, epoch, skew_ms
        self._number = 0
        self.held: list[Partition] = []
        self.transaction: SimulatedTransaction | None = None
        self._since_ms: dict[Partition, int] = {}
        self.hold([])

    def hold(self, held: Iterable[Partition]) -> None:
        """Begin with these partitions at the group's offsets; uncommitted counts are lost."""
        group = self._group
        kept = {at: self._since_ms[at] for at in held if at in self.held}
        self.held = sorted(held)
        self._since_ms = {at: kept.get(at, self._now_ms) for at in self.held}
        self._counter = IntervalCounter(group.configured)
        self._caught_up_ms: dict[Partition, int | None] = dict.fromkeys(self.held)
        self.positions: dict[Partition, int] = {}
        self._lost: dict[Partition, int] = {}
        for at in self.held:
            committed = group.committed.get(at, 0)
            self.positions[at] = max(committed, group.begins[at])
            self._lost[at] = self.positions[at] - committed

    @property
    def _now_ms(self) -> int:
        return self._group.now_ms + self._skew_ms

    def count(self, number: int) -> None:
        """Read at most this many events of each partition, unless a transaction is open."""
        if self.transaction is not None:
            return
        rows: dict[str, tuple[list[tuple[int, int, int, int]], list[str]]] = {}
        for code, at in enumerate(self.held):
            if at in self._group.unreadable:
                continue
            log, first = self._group.logs[at], self.positions[at]
            for offset, event in enumerate(log[first : first + number], first):
                events, names = rows.setdefault(event.stream, ([], []))
                events.append((code, offset, event.time_ms, event.cluster))
                names.append(event.name)
            self.positions[at] = min(first + number, len(log))
            if self.positions[at] == len(log):
                self._caught_up_ms[at] = self._now_ms
        for stream, (events, names) in rows.items():
            assert not self._counter.count([build_batch(events, stream, event_ids=names)], self._now_ms)

    def begin(self) -> None:
        """Begin the transaction that commits the counts."""
        group = self._group
        deltas = self._counter.take(dict(enumerate(self.held)), group.shards)
        commit = CommitId(self._producer, self._epoch, self._number)
        self._number += 1
        records: list[tuple[int, bytes]] = []
        for shard in range(group.shards):
            delta = deltas.get(shard, ShardDelta())
            progress = [
                PartitionProgress(
                    partition=at,
                    topic_id=at[0],
                    partitions=group.sizes[at[0]],
                    start=group.committed.get(at, 0),
                    end=self.positions[at],
                    begins=at not in group.committed,
                    lost=self._lost[at],
                    since_ms=self._since_ms[at],
                    caught_up_ms=self._caught_up_ms[at],
                    streams=delta.times.get(code, {}),
                )
                for code, at in enumerate(self.held)
            ]
            parts = encode_commit(
                commit,
                group.shards,
                delta.panes,
                progress,
                _PART_BYTES,
                written_ms=group.now_ms,
            )
            records += [(shard, part) for part in parts]
        self.transaction = SimulatedTransaction(records, dict(self.positions))

    def send(self, number: int) -> None:
        """Append at most this many of the transaction's records to their logs."""
        if self.held and self.transaction is None:
            self.begin()
        transaction = self.transaction
        if transaction is not None:
            for shard, part in transaction.records[transaction.sent :][:number]:
                self._group.partials[shard].append((self._group.now_ms, part, transaction))
                transaction.shards.add(shard)
                transaction.sent += 1

    def end(self, *, is_committed: bool) -> None:
        """End the open transaction; send the rest of its records before a commit."""
        transaction, self.transaction = self.transaction, None
        if transaction is None:
            return
        if is_committed:
            self.transaction = transaction
            self.send(ALL)
            self.transaction = None
            self._group.committed.update(transaction.offsets)
            self._lost = dict.fromkeys(self.held, 0)
        transaction.is_committed = is_committed
        for shard in transaction.shards:
            self._group.partials[shard].append((self._group.now_ms, None, transaction))
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


class WindowsMember:
    """One process of WINDOWS: the states of its shards."""

    def __init__(self, group: "SimulatedGroup") -> None:
        self._group = group
        self.states: dict[int, ShardState] = {}
        self._next: dict[int, int] = {}

    def hold(self, shards: Collection[int]) -> None:
        """Hold these shards; only new ones are restored."""
        for shard in set(self.states) - set(shards):
            del self.states[shard]
        for shard in set(shards) - set(self.states):
            self._restore(shard)

    def restore(self) -> None:
        """Lose the state that is not committed."""
        for shard in self.states:
            self._restore(shard)

    def apply(self, number: int) -> None:
        """Apply at most this many records of each shard, up to the first open transaction."""
        for shard, state in self.states.items():
            for append_ms, part, transaction in self._group.partials[shard][self._next[shard] :][:number]:
                if transaction.is_committed is None:
                    break
                if part is not None and transaction.is_committed:
                    state.apply(self._next[shard], append_ms, decode_part(part))
                else:
                    state.skip_to(self._next[shard] + 1)
                self._next[shard] += 1

    def close(self) -> None:
        """Close windows in every shard, and commit."""
        for shard, state in self.states.items():
            done = state.close_windows()
            self._group.keep(shard, state, done)

    def _restore(self, shard: int) -> None:
        group = self._group
        state = restored(group.configured, group.sizes, group.changelogs[shard], shards=group.shards)
        assert state.position.offset == group.offsets[shard], "the changelog has another offset"
        self.states[shard], self._next[shard] = state, state.position.offset
