"""A group of replicas without Kafka: logs of events, and a log of committed changes for each partition.

What Kafka promises is taken as kept: what is committed is committed whole, each partition's changes
are read in the order in which they were written, nobody commits for a partition that was taken from
it, and whoever is given partitions has read all that was committed of their state, and of that of the
others all that was not committed just now. Everything else is left to chance: who holds what, how far
each table lags behind, which commits fail, who is replaced when.
"""

from bisect import bisect_right
from collections import Counter
from typing import NamedTuple

import numpy as np
from driftgauge.core.pipeline import Pipeline
from driftgauge.core.state import ProgressKey
from driftgauge.core.table import Table

from driftgauge.core.windows.window import Window
from tests.core.builders import CLUSTERS, DAY_MS, MONDAY_MS, build_partitions
from tests.core.replica import Replica, Tide, rows_of

STEP_MS = 100  # of wall time
_ALL = 10**6
_BATCH = 5  # events that a replay counts at a time


class Event(NamedTuple):
    stream: str
    time_ms: int
    cluster: int
    name: str


class Group:
    """The logs, what was committed, what was published, and the replicas.

    Attributes:
        results: (stream, window, revision) -> result.
        truth: A table of all that was committed.
        late: (stream, window size) -> events refused for that size; `refused`: by stream, for all sizes.
        lost: The events that retention took before they were read.
    """

    def __init__(self, configurations, *, partition_count, replica_count, lag, first=(0,)):
        """Begin with nothing read.

        Args:
            configurations: Lists of specs that a replica may run with, alike but for their baselines.
            partition_count: How many partitions there are.
            replica_count: How many replicas.
            lag: For how many steps of a plan what was committed may still be on its way to those who
                hold other partitions.
            first: Which configuration each replica begins with; the last one holds for those that follow.
        """
        self.now_ms = MONDAY_MS + DAY_MS  # long after all events: silence may close any window
        self.steps = 0
        self._lag = lag
        self.configurations = configurations
        self.references = {
            spec.reference.content: spec.reference for specs in configurations for spec in specs
        }
        self.streams = [spec.name for spec in configurations[0]]
        self.partitions = build_partitions(partition_count)
        self.logs = {partition: [] for partition in self.partitions}
        self.begins = Counter()
        self.newest_ms = dict.fromkeys(self.streams, MONDAY_MS)
        self.state = {partition: [] for partition in self.partitions}
        self._committed_at = {partition: [] for partition in self.partitions}  # the step of each change
        self.committed = Counter()
        self.results = {}
        self.late, self.refused, self.lost = Counter(), Counter(), []
        self.truth = Table()
        self.truth.expect(self.partitions)
        self.tide = Tide(self.truth, configurations[0])
        self.replicas = [
            Replica(self, configurations[first[min(place, len(first) - 1)]]) for place in range(replica_count)
        ]
        self.rebalance(range(partition_count))
        for replica in range(replica_count):
            self.work(replica, 0, 0)

    def write(self, events):
        """Write (partition, stream, ms after the stream's newest, ms behind that, cluster) events."""
        for partition, stream, ahead_ms, behind_ms, cluster in events:
            name = self.streams[stream % len(self.streams)]
            self.newest_ms[name] += ahead_ms
            log = self.logs[at := self._partition(partition)]
            time_ms = self.newest_ms[name] - behind_ms
            log.append(Event(name, time_ms, cluster, f"{at[1]}-{len(log)}"))

    def work(self, replica, number, behind):
        """Let a replica read the state, but for so many changes, count up to so many events, and commit."""
        worker = self._replica(replica)
        worker.follow(behind)
        if worker.pipeline is not None:
            self._commit(worker, worker.work(number))

    def fail(self, replica, number):
        """Let a replica count, and fail to commit it."""
        worker = self._replica(replica)
        if worker.pipeline is not None:
            worker.work(number)
            worker.hold(worker.held)

    def wait(self, steps):
        """Let wall time pass."""
        self.now_ms += steps * STEP_MS

    def rebalance(self, holders):
        """Give partition i to the replica that is named in place i, or to the first."""
        held = [[] for _ in self.replicas]
        for index, partition in enumerate(self.partitions):
            holder = holders[index] if index < len(holders) else 0
            held[holder % len(held)].append(partition)
        for replica, its in zip(self.replicas, held, strict=True):
            replica.hold(its)

    def replace(self, replica, configuration):
        """Kill a replica; another, of this configuration, takes over what it held."""
        place = replica % len(self.replicas)
        held = self.replicas[place].held
        self.replicas[place] = Replica(self, self.configurations[configuration])
        self.replicas[place].hold(held)

    def upgrade(self, replica):
        """Replace a replica by one of the last configuration."""
        self.replace(replica, -1)

    def grow(self, holders):
        """Add a partition, of which the group learns by a rebalance."""
        self.partitions = build_partitions(len(self.partitions) + 1)
        self.logs[self.partitions[-1]] = []
        self.state[self.partitions[-1]] = []
        self._committed_at[self.partitions[-1]] = []
        for knowing in (self, *self.replicas):
            knowing.tide.partition_added()
        self.truth.expect(self.partitions)
        for replica in self.replicas:
            replica.table.expect(self.partitions)
        self.rebalance(holders)

    def lose(self, partition, number):
        """Let retention take so many events that nobody has read; the owner finds out at once."""
        at = self._partition(partition)
        first = max(self.committed[at], self.begins[at])
        gone = self.logs[at][first : first + number]
        self.lost += gone
        self.begins[at] = first + len(gone)
        for replica in self.replicas:
            if at in replica.held:
                replica.hold(replica.held)

    def settle(self):
        """Let everything be read, and time pass, until nothing changes any more."""
        quiet = 0
        for _ in range(30):
            before = self._changes()
            self.wait(100)
            for replica in range(len(self.replicas)):
                self.work(replica, _ALL, 0)
            # The end offsets are asked for in one round, answered in the next, and shown by the one after.
            quiet = quiet + 1 if self._changes() == before else 0
            if quiet == 3:
                break
        else:
            raise AssertionError("the group does not come to rest")
        for replica in self.replicas:
            replica.follow()

    def move_on(self, times, step_ms):
        """Let so many events come on every partition, each time so much later, and be read."""
        for _ in range(times):
            for stream in range(len(self.streams)):
                self.write([(index, stream, step_ms, 0, 0) for index in range(len(self.partitions))])
            self.settle()

    def visible(self, partition, held):
        """Return how many changes of a partition whoever is given these partitions is sure to know."""
        if partition in held:
            return len(self.state[partition])
        return bisect_right(self._committed_at[partition], self.steps - self._lag)

    @property
    def events(self):
        """All that was written and not lost."""
        kept = Counter(event for log in self.logs.values() for event in log)
        return list((kept - Counter(self.lost)).elements())

    @property
    def final(self):
        """(stream, window) -> its last revision; they are published in order."""
        return {(stream, window): result for (stream, window, _), result in self.results.items()}

    def _commit(self, replica, moved):
        last = {change.partition: change.key for change in moved.changes}
        assert last.keys() <= set(replica.held), "the state of another's partition was written"
        assert set(last.values()) <= {ProgressKey()}, "a transaction's changes do not end with the progress"
        for change in moved.changes:
            self.state[change.partition].append(change)
            self._committed_at[change.partition].append(self.steps)
            self.truth.apply(change)
        for code, partition in enumerate(replica.held):
            if partition in last:
                self.committed[partition] = replica.positions[code]
            assert self.committed[partition] == replica.positions[code], "events were read and not committed"
        for result in moved.results:
            key = result.stream, result.window, result.revision
            assert key not in self.results, "a revision was published twice"
            self.results[key] = result
        for done, whole in ((replica.late, self.late), (replica.refused, self.refused)):
            whole.update(done)
            done.clear()
        self.tide.check()

    def _partition(self, number):
        return self.partitions[number % len(self.partitions)]

    def _replica(self, number):
        return self.replicas[number % len(self.replicas)]

    def _changes(self):
        return sum(len(changes) for changes in self.state.values())


def replay(specs, logs):
    """The last revision of every window, by one pipeline that reads the logs one after the other."""
    table = Table()
    table.expect(logs.keys())
    held = dict(enumerate(sorted(logs)))
    pipeline = Pipeline(
        specs,
        held=held,
        every=held.values(),
        table=table,
        find_reference=lambda spec, _: spec.reference,
        established=set(),
        now_ms=MONDAY_MS,
    )
    positions = dict.fromkeys(held, 0)
    final = {}

    def advance(*, ended):
        moved = pipeline.advance(MONDAY_MS, positions, {}, ended=ended)
        for change in moved.changes:
            table.apply(change)
        final.update({(result.stream, result.window): result for result in moved.results})

    for code, partition in held.items():
        for first in range(0, len(logs[partition]), _BATCH):
            for stream, its in rows_of(code, first, logs[partition][first : first + _BATCH]).items():
                pipeline.count(its.batch(stream), MONDAY_MS)
                positions[code] += len(its.names)
            advance(ended=False)
    advance(ended=True)
    return final


def histograms(events, sizes_ms, *, shift=0):
    """(stream, window) -> its counts, event by event, where event i is of cluster i + `shift`."""
    counts = {}
    for stream, time_ms, cluster, _ in events:
        for size_ms in sizes_ms:
            window = Window.around(time_ms, size_ms)
            counts.setdefault((stream, window), np.zeros(CLUSTERS, dtype=np.int64))[
                (cluster + shift) % CLUSTERS
            ] += 1
    return {key: tuple(histogram.tolist()) for key, histogram in counts.items()}


def names(events, sizes_ms, *, shift=0):
    """(stream, window) -> cluster -> the names of its events."""
    named = {}
    for stream, time_ms, cluster, name in events:
        for size_ms in sizes_ms:
            clusters = named.setdefault((stream, Window.around(time_ms, size_ms)), {})
            clusters.setdefault((cluster + shift) % CLUSTERS, []).append(name)
    return named
