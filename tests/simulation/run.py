"""A run of a plan: the group of replicas that carries out its steps."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from driftgauge.core import commit_limit
from driftgauge.core.partition import Partition
from driftgauge.core.windows import work_budget
from tests.builders.clocks import HOUR_MS, SECOND_MS
from tests.simulation.kafka import is_read
from tests.simulation.ledger import Ledger
from tests.simulation.plan import Plan
from tests.simulation.replicas import ALL, Member, Replica

# So many rounds without a result end a run: windows of many replicas close by silence, one after the other.
_QUIET = 12


class Run(Ledger):
    """A group of replicas that carries out a plan.

    Attributes:
        replicas: The replicas; `gone`: those that have ended.
        beheaded_s: When each changelog has lost records, in seconds.
        has_backlog: Of each shard, whether due windows wait for its next round.
        is_settled: Whether the run is over.
        changed_ms: When a replica last began with another configuration than the one before it.
    """

    def __init__(self, plan: Plan, on_look: Callable[["Run"], None] = lambda _: None) -> None:
        super().__init__(plan)
        self._on_look = on_look
        self.gone: list[Replica] = []
        self.beheaded_s: dict[int, float] = {}
        self.has_backlog: dict[int, bool] = {}
        self.is_settled = False
        self.changed_ms = 0
        self.kafka.byte_s = plan.byte_s
        internal = dict.fromkeys((self.settings.partials_topic, self.settings.changelog_topic), self.shards)
        outputs = {self.settings.topics.windows: 2, self.settings.topics.dead_letters: 1}
        for topic, number in {**self.sizes, **internal, **outputs}.items():
            self.kafka.create(topic, number)

    def carry_out(self) -> "Run":
        """Carry out the steps, and let the group settle with the last configuration."""
        with _scaled(self.plan):
            self.replicas = [
                Replica(self, index, self.deployments[0]) for index in range(len(self.plan.skews_ms))
            ]
            for _ in range(8):
                self.work()
            self.left = iter(self.plan.steps)
            for name, *arguments in self.left:
                getattr(self, name)(*arguments)
            for index, replica in enumerate(self.replicas):
                if replica.deployment is not self.last:
                    self.restart(index, -1)
            self.settle()
            self.is_settled = True
            self.look()
        return self

    # Steps

    def count(self, replica: int, number: int) -> None:
        """Let COUNT read at most this many records, and commit if it is time."""
        self._work(self.replicas[replica].count, number)

    def apply(self, replica: int, number: int) -> None:
        """Let WINDOWS apply at most this many records, in no time."""
        self.replicas[replica].windows.step(number)

    def close(self, replica: int, number: int) -> None:
        """Let WINDOWS apply at most this many records, close windows, and commit if it is time."""
        self._work(self.replicas[replica].windows, number)

    def work(self) -> None:
        """Let each role of all replicas poll once, and commit if it is time."""
        for replica in self.replicas:
            self._work(replica.count)
        for replica in self.replicas:
            self._work(replica.windows)
            replica.beat()

    def disturb(self, replica: int, role: str, outcome: str | int) -> None:
        """Let a role's next commit fail, see `SimulatedTransaction.commit`; or others work during it."""
        transaction = getattr(self.replicas[replica], role).transaction
        if isinstance(outcome, int):
            transaction.pause_after = outcome
        else:
            transaction.outcome = outcome

    def expel(self, replica: int) -> None:
        """Let the groups expel members that do not know."""
        for member in self._members(self.replicas[replica]):
            self.kafka.group(member.group).expel(member.consumer)

    def wait(self, duration_ms: int) -> None:
        """Let time pass."""
        self.kafka.advance(duration_ms / 1_000)

    def restart(self, index: int, configuration: int | None) -> None:
        """Kill a replica; a new one takes over, with this configuration or, for None, the same."""
        killed = self.replicas[index]
        for member in self._members(killed):
            member.kill()
        self.gone.append(killed)
        deployment = killed.deployment if configuration is None else self.deployments[configuration]
        if deployment is not killed.deployment:
            self.changed_ms = self.now_ms
        self.replicas[index] = Replica(self, index, deployment)

    def crash(self, replica: int) -> None:
        """Let a replica crash after each of its first commits, with what the group can give it."""
        group = self.kafka.group(self.settings.group)
        for _ in range(10):
            self.restart(replica, None)
            member = self.replicas[replica].count
            for _ in range(12):
                if not member.transaction.sizes:
                    self.count(replica, 1)
                    group.wanted |= {at: member.consumer for at in group.wanted if at not in group.owners}

    def assign_partitions(self, *holders: int) -> None:
        """Give source partition i to replica `holders[i]`."""
        self.kafka.group(self.settings.group).spread([each.count.consumer for each in self._those(holders)])

    def assign_shards(self, *holders: int) -> None:
        """Give shard i to replica `holders[i]`."""
        group = self.kafka.group(self.settings.windows_group)
        group.spread([each.windows.consumer for each in self._those(holders)])

    def move_shard(self, shard: int, replica: int) -> None:
        """Give one shard to a replica, and leave the others where they are."""
        group, (holder,) = self.kafka.group(self.settings.windows_group), self._those([replica])
        if holder.windows.consumer in group.members.values():
            group.wanted[self.settings.partials_topic, shard % self.shards] = holder.windows.consumer

    def grow(self, topic: str) -> None:
        """Add a partition to a topic."""
        self.logs[topic, self.sizes[topic]] = []
        self.sizes[topic] += 1
        self.kafka.grow(topic, self.sizes[topic])

    def delete(self, at: Partition, number: int) -> None:
        """Let retention delete this many unread records."""
        log = self.kafka.logs[at]
        first = max(self.committed.get(at, 0), log.begin)
        log.delete(min(first + number, log.end))
        if at not in self.committed:
            # A group that begins does not miss what was deleted before.
            self.lost += self.logs[at][first : log.begin]

    def stick(self, at: Partition) -> None:
        """Let a source partition become unreadable, or readable again."""
        self.kafka.unreadable ^= {at}

    def compact(self, share: float) -> None:
        """Compact a share of each changelog."""
        for shard in range(self.shards):
            log = self.kafka.logs[self.settings.changelog_topic, shard]
            log.compact(round(share * log.end), self.now_ms)

    def behead(self, shard: int, share: float) -> None:
        """Let a retention that somebody set delete a share of a changelog, but not its newest position."""
        shard %= self.shards
        self.beheaded_s[shard] = self.kafka.now_s
        log = self.kafka.logs[self.settings.changelog_topic, shard]
        kept = [each.at for each in log.stored if is_read(each)]
        log.delete(min([round(share * log.end), *kept[-1:]]))

    def slow(self, byte_s: float) -> None:
        """Let a byte of a transaction take so many seconds."""
        self.kafka.byte_s = byte_s

    def recreate(self, topic: str) -> None:
        """Delete a topic and create it again; what nobody has counted is lost, and no window says so."""
        own = [at for at in self.logs if at[0] == topic]
        if self.former:
            return
        former = self.kafka.topic_id(topic)
        self.unheard = {sent.stream for log in self.logs.values() for sent in log}
        for at in own:
            self.former[former, at] = self.logs[at], self.kafka.logs[at].begin
            self.logs[f"{topic} {former}", at[1]] = self.logs[at]
            self.lost += self.logs[at][self.committed.pop(at, 0) :]
            self.logs[at] = []
        self.kafka.create(topic, self.sizes[topic])

    def truncate(self, at: Partition, number: int) -> None:
        """Lose records that were counted; what is written from now on takes their offsets."""
        self.work()
        log = self.kafka.logs[at]
        end = max(log.end - number, log.begin)
        if not self.truncated and self.committed.get(at) == log.end > end:
            log.truncate(end)
            self.truncated += 1
            self.logs[f"{at[0]} {self.truncated}", at[1]] = self.logs[at][end:]
            del self.logs[at][end:]
            self.committed[at] = end

    def settle(self) -> None:
        """Let all replicas read everything, and time pass, until no window waits."""
        if not self.is_busy:
            self.work_off(_QUIET // 3)
            # Every partition falls silent.
            self.wait(2 * HOUR_MS)
            self.work_off(_QUIET)

    def work_off(self, rounds: int = 1) -> None:
        """Let all replicas work until everything is read, and shown, and rounds have published nothing."""
        if self.is_busy:
            return
        for member in self._members():
            member.transaction.pause_after = None
        self.kafka.unreadable.clear()
        self.slow(self.plan.byte_s)
        quiet, unread, chance = 0, 0, self.kafka.random
        shard, holder = chance.randrange(self.shards), 0
        for _ in range(20_000):
            before, ends = len(self.page.source.values), {at: log.end for at, log in self.kafka.logs.items()}
            self.wait(20 * SECOND_MS if quiet else SECOND_MS)
            self.work()
            are_read = all(
                at in group.committed and group.committed[at].offset >= ends[at]
                for group in self.kafka.groups.values()
                for at in group.wanted
                if at not in self.stopped
            )
            has_published = len(self.page.source.values) > before
            if has_published and chance.random() < 0.8:
                # A group may rebalance while many windows wait, and then not for a long time.
                holder += 1
                self.move_shard(shard, holder)
            # A round may find of the only window that it has time for that nothing has changed.
            is_quiet = are_read and not has_published and not any(self.has_backlog.values())
            quiet = quiet + 1 if is_quiet else 0
            unread = unread + 1 if not (are_read or has_published) else 0
            # So long may records wait while nothing is published.
            assert unread < 100, "records are never read"
            if quiet >= rounds and self.is_shown:
                return
        raise AssertionError("the group does not settle")

    def look(self) -> None:
        """Let somebody look at metrics and page once they show what is committed."""
        for _ in range(8):
            if self.is_shown:
                self._on_look(self)
                return
            if self.is_busy:
                return
            self.work()

    # What replicas do

    @property
    def is_busy(self) -> bool:
        """Whether a commit is under way."""
        return any(member.is_busy for member in self._members())

    @property
    def is_shown(self) -> bool:
        """Whether everybody has what is to be theirs, and shows what is committed."""
        shards = {*range(self.shards)} - {shard for _, shard in self.stopped}
        are_seen = all(self.seen[shard] == self.commits[shard] for shard in shards)
        return are_seen and all(member.is_steady for member in self._members())

    def check_restore(self, shard: int, since_s: float) -> None:
        """Note that a shard was restored from a changelog that lacked records when the restore began."""
        log = self.kafka.logs[self.settings.changelog_topic, shard]
        missing = self.changelogs[shard].keys() - {each.key() for each in log.stored if is_read(each)}
        if missing and since_s > self.beheaded_s.get(shard, since_s):
            self.chain_errors.append(f"shard {shard} was restored without {len(missing)} records")

    def meanwhile(self) -> None:
        """Carry out some more steps while a commit is under way."""
        for _ in range(self.kafka.random.randint(1, 4)):
            name, *arguments = next(self.left, ("wait", 100))
            getattr(self, name)(*arguments)
        for _ in range(self.kafka.random.choice([0, 4])):
            self.work()

    def _work(self, member: Member, number: int = ALL) -> None:
        self.kafka.advance(self.settings.commit_interval / 1_000)
        member.step(number)

    def _those(self, indices: Iterable[int]) -> list[Replica]:
        return [self.replicas[index % len(self.replicas)] for index in indices]

    def _members(self, *replicas: Replica) -> list[Member]:
        return [member for each in replicas or self.replicas for member in (each.count, each.windows)]


@contextmanager
def _scaled(plan: Plan) -> Iterator[None]:
    """Let a few hundred events be as much for the bounds of rounds and commits as millions are."""
    with (
        patch.object(commit_limit, "MAX_COMMIT_BYTES", plan.commit_bytes),
        patch.object(work_budget, "_MAX_WORK", plan.round_work),
    ):
        yield
