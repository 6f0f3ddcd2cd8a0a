"""The two stages without Kafka: logs of events and of partials, changelogs, and whoever holds them.

What Kafka promises is taken as kept: a transaction is committed whole or not at all, a reader sees nothing
from the first open transaction on, nobody commits for a partition that was taken from it, and whoever is
given partitions has read all that was committed of them. Everything else is left to chance: who holds what,
how transactions lie between each other, which of them fail, who is replaced when, whose clock is off.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from driftgauge.core.counting.interval import IntervalCounter, ShardDelta
from driftgauge.core.counting.partial import CommitId, PartitionProgress, shard_of
from driftgauge.core.local import LocalDriver
from driftgauge.core.windows.window import Window
from driftgauge.records.partials import decode_part, encode_commit
from tests.core.builders import CLUSTERS, DAY_MS, MONDAY_MS, build_batch
from tests.core.shard import restored, written

STEP_MS = 100  # of wall time
_ALL = 10**6
_PART_BYTES = 1_000  # so that a commit has several parts for a shard


class Event(NamedTuple):
    """An event, and when it was written."""

    stream: str
    time_ms: int
    cluster: int
    name: str


@dataclass(eq=False)
class Transaction:
    """Records that stand in the shards' logs; `is_committed` is None while it is open."""

    records: list[tuple[int, bytes]]
    offsets: dict[tuple[str, int], int]
    sent: int = 0
    is_committed: bool | None = None
    marks: set[int] = field(default_factory=set)


class CountMember:
    """One process of COUNT: what it has read since its last commit, and the commit under way."""

    def __init__(self, group, producer, epoch, skew_ms):
        self._group, self._producer, self._epoch, self._skew_ms = group, producer, epoch, skew_ms
        self._number = 0
        self.held, self.transaction, self._since_ms = [], None, {}
        self.hold([])

    def hold(self, held):
        """Begin with these partitions where the group's offsets stand; what was read since is lost."""
        group = self._group
        kept = {at: self._since_ms[at] for at in held if at in self.held}
        self.held = sorted(held)
        self._since_ms = {at: kept.get(at, self._now_ms) for at in self.held}
        self._counter = IntervalCounter(group.specs)
        self._caught_up_ms = dict.fromkeys(self.held)
        self.positions, self._lost = {}, {}
        for at in self.held:
            committed = group.committed.get(at, 0)
            self.positions[at] = max(committed, group.begins[at])
            self._lost[at] = self.positions[at] - committed

    @property
    def _now_ms(self):
        return self._group.now_ms + self._skew_ms

    def count(self, number):
        """Read up to so many events of each partition, unless a commit is under way."""
        if self.transaction is not None:
            return
        rows = {}
        for code, at in enumerate(self.held):
            if at in self._group.stuck:
                continue
            log, first = self._group.logs[at], self.positions[at]
            for offset, event in enumerate(log[first : first + number], first):
                its, names = rows.setdefault(event.stream, ([], []))
                its.append((code, offset, event.time_ms, event.cluster))
                names.append(event.name)
            self.positions[at] = min(first + number, len(log))
            if self.positions[at] == len(log):
                self._caught_up_ms[at] = self._now_ms
        for stream, (its, names) in rows.items():
            assert not self._counter.count(build_batch(its, stream, event_ids=names), self._now_ms).any()

    def begin(self):
        """Begin to commit what was read."""
        group = self._group
        deltas = self._counter.take(dict(enumerate(self.held)), group.shards)
        commit = CommitId(self._producer, self._epoch, self._number)
        self._number += 1
        records = []
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
            parts = encode_commit(commit, group.shards, delta.panes, delta.examples, progress, _PART_BYTES)
            records += [(shard, part) for part in parts]
        self.transaction = Transaction(records, dict(self.positions))

    def send(self, number):
        """Let so many of the commit's records reach their logs."""
        if self.held and self.transaction is None:
            self.begin()
        transaction = self.transaction
        if transaction is not None:
            for shard, part in transaction.records[transaction.sent :][:number]:
                self._group.partials[shard].append((self._group.now_ms, part, transaction))
                transaction.marks.add(shard)
                transaction.sent += 1

    def end(self, *, is_committed):
        """End the commit under way, and send what is left of it if it is to stand."""
        transaction, self.transaction = self.transaction, None
        if transaction is None:
            return
        if is_committed:
            self.transaction = transaction
            self.send(_ALL)
            self.transaction = None
            self._group.committed.update(transaction.offsets)
            self._lost = dict.fromkeys(self.held, 0)
        transaction.is_committed = is_committed
        for shard in transaction.marks:
            self._group.partials[shard].append((self._group.now_ms, None, transaction))
        if not is_committed:
            self.hold(self.held)

    def commit(self):
        """Commit what was read."""
        if self.held and self.transaction is None:
            self.begin()
        self.end(is_committed=True)

    def lose(self):
        """Lose what was read and not committed."""
        self.end(is_committed=False)
        self.hold(self.held)


class WindowsMember:
    """One process of WINDOWS: the states of its shards as they were restored, and what was applied since."""

    def __init__(self, group, name):
        self._group, self._name = group, name
        self.states, self._next = {}, {}

    def hold(self, shards):
        """Hold these shards; those that are new are restored, for the others nothing changes."""
        for shard in set(self.states) - set(shards):
            del self.states[shard]
        for shard in set(shards) - set(self.states):
            self._restore(shard)

    def restore(self):
        """Lose what was not committed."""
        for shard in self.states:
            self._restore(shard)

    def apply(self, number):
        """Read up to so many records of each shard, as far as no open transaction stands in the way."""
        for shard, state in self.states.items():
            for append_ms, part, transaction in self._group.partials[shard][self._next[shard] :][:number]:
                if transaction.is_committed is None:
                    break
                if part is not None and transaction.is_committed:
                    state.apply(self._next[shard], append_ms, decode_part(part))
                else:
                    state.skip_to(self._next[shard] + 1)
                self._next[shard] += 1

    def close(self):
        """Do a round in every shard and commit it."""
        for shard, state in self.states.items():
            done = state.close_windows()
            self._group.keep(shard, state, done)

    def _restore(self, shard):
        group = self._group
        state = restored(group.specs, group.sizes, group.kept[shard], shards=group.shards)
        assert state.position.offset == group.offsets[shard], "the changelog is not of the committed offset"
        self.states[shard], self._next[shard] = state, state.position.offset


class Group:
    """The logs, what was committed and published, and the members of both stages.

    Attributes:
        logs: The events of each source partition; `begins`: where they begin by now.
        committed: The offsets that COUNT committed; `offsets`: those that WINDOWS committed.
        partials: The records of each shard; `kept`: its changelog, compacted.
        results: (stream, window, revision) -> result.
        late: (stream, window size) -> events that were too late.
        lost: The events that retention took before they were read; `missed`: those of streams that had been
            counted on their topic by then.
        stuck: The source partitions that nobody can read for now.
    """

    def __init__(self, specs, *, partitions, members, shards, skews_ms, has_own_topics=False):
        """Begin with nothing read.

        Args:
            specs: The streams.
            partitions: How many partitions each topic has.
            members: How many processes each stage has.
            shards: How many shards there are.
            skews_ms: By how much each COUNT member's clock is off.
            has_own_topics: Each stream has a topic of its own.
        """
        self.specs, self.shards = specs, shards
        self.now_ms = MONDAY_MS + DAY_MS  # long after all events: silence may close any window
        topics = [spec.name for spec in specs] if has_own_topics else ["embeddings"]
        self.sizes = dict.fromkeys(topics, partitions)
        self.logs = {at: [] for at in self.partitions}
        self.begins, self.stuck, self.committed = Counter(), set(), {}
        self.newest_ms = {spec.name: MONDAY_MS for spec in specs}
        self.partials = [[] for _ in range(shards)]
        self.kept, self.offsets = [{} for _ in range(shards)], [0] * shards
        self.results, self.late, self.lost, self.missed, self.written = {}, Counter(), [], [], []
        self._watermarks, self._skews_ms, self._made = {}, skews_ms, Counter()
        self.counting = [self._make_count(f"count-{place}", place) for place in range(members)]
        self.closing = [WindowsMember(self, f"windows-{place}") for place in range(members)]
        self.rebalance_count(range(members * partitions), True)
        self.rebalance_windows(range(members * partitions), True)
        for member in range(members):
            self.work(member, 0)

    # What a plan is made of

    def write(self, events):
        """Write (partition, stream, ms after the stream's newest, ms behind that, cluster) events."""
        for number, stream, ahead_ms, behind_ms, cluster in events:
            spec = self.specs[stream % len(self.specs)]
            topic = spec.name if spec.name in self.sizes else "embeddings"
            index = number % self.sizes[topic]
            log = self.logs[topic, index]
            self.newest_ms[spec.name] += ahead_ms
            event = Event(
                spec.name, self.newest_ms[spec.name] - behind_ms, cluster, f"{topic}-{index}-{len(log)}"
            )
            log.append(event)
            self.written.append(event)

    def work(self, member, number):
        """Let a COUNT member read up to so many events of each partition, and commit."""
        worker = self._of(self.counting, member)
        worker.count(number)
        worker.commit()

    def send(self, member, number):
        """Let a COUNT member begin a commit or go on with it, record by record."""
        worker = self._of(self.counting, member)
        worker.count(number)
        worker.send(number)

    def fail(self, member):
        """Let a COUNT member lose what it read."""
        self._of(self.counting, member).lose()

    def apply(self, member, number):
        """Let a WINDOWS member apply so many records, and not commit yet."""
        self._of(self.closing, member).apply(number)

    def close(self, member, number):
        """Let a WINDOWS member apply so many records of each shard, close windows, and commit."""
        worker = self._of(self.closing, member)
        worker.apply(number)
        worker.close()

    def restore(self, member):
        """Let a WINDOWS member lose what it applied since its last commit."""
        self._of(self.closing, member).restore()

    def wait(self, steps):
        """Let wall time pass."""
        self.now_ms += steps * STEP_MS

    def replace(self, member, is_named):
        """Kill a COUNT member; another takes over what it held, with its name or without."""
        place = member % len(self.counting)
        gone = self.counting[place]
        gone.end(is_committed=False)
        name = f"count-{place}" if is_named else f"count-{place}-{self._made.total()}"
        self.counting[place] = self._make_count(name, place)
        self.counting[place].hold(gone.held)

    def rebalance_count(self, holders, is_handed_over):
        """Give source partition i to the member in place i; what was read is committed, or lost."""
        held = [[] for _ in self.counting]
        for place, at in enumerate(self.partitions):
            held[holders[place % len(holders)] % len(held)].append(at)
        for member in self.counting:
            if is_handed_over:
                member.commit()
            else:
                member.lose()
        for member, its in zip(self.counting, held, strict=True):
            member.hold(its)

    def rebalance_windows(self, holders, is_handed_over):
        """Give shard i to the member that is named in place i."""
        held = [[] for _ in self.closing]
        for shard in range(self.shards):
            held[holders[shard % len(holders)] % len(held)].append(shard)
        for member in self.closing:
            if is_handed_over:
                member.close()
        for member, its in zip(self.closing, held, strict=True):
            member.hold(its)

    def grow(self, holders):
        """Add a partition to every topic, of which the group learns by a rebalance."""
        for topic, size in self.sizes.items():
            self.sizes[topic] = size + 1
            self.logs[topic, size] = []
        self.rebalance_count(holders, True)

    def lose(self, partition, number):
        """Let retention take so many events that nobody has read; the owner finds out at once."""
        at = self._at(partition)
        first = max(self.committed.get(at, 0), self.begins[at])
        for member in self.counting:
            if at in member.held:
                member.lose()
        gone = self.logs[at][first : first + number]
        self.lost += gone
        # Of a stream that has never been counted on a topic nothing is known.
        counted = [
            event
            for place in self.partitions
            for event in self.logs[place][: self.committed.get(place, 0)]
            if place[0] == at[0] and event not in self.lost
        ]
        known = {event.stream for event in counted}
        self.missed += [event for event in gone if event.stream in known]
        self.begins[at] = first + len(gone)
        for member in self.counting:
            if at in member.held:
                member.hold(member.held)

    def stick(self, partition):
        """Let a source partition become unreadable, or readable again."""
        self.stuck ^= {self._at(partition)}

    # What is looked at afterwards

    def settle(self):
        """Let everything be read, and time pass, until nothing changes any more."""
        self.stuck.clear()
        quiet = 0
        for _ in range(60):
            before = len(self.results)
            self.wait(20)
            for member in range(len(self.counting)):
                self.work(member, _ALL)
            for member in range(len(self.closing)):
                self.close(member, _ALL)
            quiet = quiet + 1 if len(self.results) == before else 0
            if quiet == 3:
                return
        raise AssertionError("the group does not come to rest")

    def keep(self, shard, state, done):
        """Commit what a shard has to say."""
        for key, value in written(state):
            if value is None:
                self.kept[shard].pop(key, None)
            else:
                self.kept[shard][key] = value
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
        for stream, its in state.streams.items():
            for name in ("watermark_ms", "final_ms"):
                value, before = getattr(its.status, name), self._watermarks.get((stream, name))
                assert before is None or value >= before, f"the {name} of {stream} went back"
                self._watermarks[stream, name] = value

    @property
    def partitions(self):
        """All source partitions."""
        return [(topic, index) for topic, size in self.sizes.items() for index in range(size)]

    @property
    def states(self):
        """The shards' states, restored from what was committed."""
        return [restored(self.specs, self.sizes, kept, shards=self.shards) for kept in self.kept]

    @property
    def events(self):
        """All that was written and not lost."""
        return list((Counter(self.written) - Counter(self.lost)).elements())

    @property
    def final(self):
        """(stream, window) -> its last revision; they are published in order."""
        return {(stream, window): result for (stream, window, _), result in self.results.items()}

    def _make_count(self, producer, place):
        self._made[producer] += 1
        skew_ms = self._skews_ms[place % len(self._skews_ms)]
        return CountMember(self, producer, self._made[producer], skew_ms)

    def _at(self, number):
        return self.partitions[number % len(self.partitions)]

    @staticmethod
    def _of(members, number):
        return members[number % len(members)]


def replay(specs, events):
    """The last revision of every window, by both stages in one process that reads one partition."""
    driver = LocalDriver(specs, "embeddings", 1)
    final = {}
    for first in range(0, len(events), 5):
        for offset, event in enumerate(events[first : first + 5], first):
            row = [(0, offset, event.time_ms, event.cluster)]
            driver.count(build_batch(row, event.stream, event_ids=[event.name]), MONDAY_MS)
        is_last = first + 5 >= len(events)
        done = driver.commit(MONDAY_MS, {0: min(first + 5, len(events))}, has_source_ended=is_last)
        assert done.late == []
        final.update({(result.stream, result.window): result for result in done.results})
    return final


def histograms(events, sizes_ms):
    """(stream, window) -> its counts, event by event."""
    counts = {}
    for stream, time_ms, cluster, _ in events:
        for size_ms in sizes_ms:
            window = Window.around(time_ms, size_ms)
            counts.setdefault((stream, window), np.zeros(CLUSTERS, dtype=np.int64))[cluster] += 1
    return {key: tuple(histogram.tolist()) for key, histogram in counts.items()}


def names(events, sizes_ms):
    """(stream, window) -> cluster -> the names of its events."""
    named = {}
    for stream, time_ms, cluster, name in events:
        for size_ms in sizes_ms:
            clusters = named.setdefault((stream, Window.around(time_ms, size_ms)), {})
            clusters.setdefault(cluster, []).append(name)
    return named
