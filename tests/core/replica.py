"""One replica without Kafka: a table that follows the state, and a pipeline over what it holds."""

from collections import Counter
from dataclasses import dataclass, field

from driftgauge.core.pipeline import Pipeline
from driftgauge.core.reference import MissingBaselineError
from driftgauge.core.table import Table
from tests.core.builders import build_batch


class Tide:
    """Holds a table to it that no stream's watermark, purge horizon or finality ever goes back."""

    def __init__(self, table, specs):
        self._table = table
        self._specs = specs
        self._highest = {}

    def check(self):
        for spec in self._specs:
            self._rises(spec.name, "final", self._table.final_ms(spec.name))
            self._rises(spec.name, "horizon", self._table.horizon_ms(spec.name))
            self._rises(spec.name, "watermark", self._table.watermark_ms(spec.name, spec.disorder_ms))

    def partition_added(self):
        """Let go of what waits for the new partition as for all others."""
        self._highest = {key: value for key, value in self._highest.items() if key[1] == "final"}

    def _rises(self, stream, name, value):
        highest = self._highest.get((stream, name))
        assert highest is None or (value is not None and value >= highest), f"{name} of {stream} went back"
        if value is not None:
            self._highest[stream, name] = value


class Replica:
    """One process: a table that follows the state, and a pipeline over what it holds."""

    def __init__(self, group, specs):
        self.group = group
        self.specs = specs
        self.table = Table()
        self.table.expect(group.partitions)
        self.tide = Tide(self.table, specs)
        self.followed = Counter()
        self.established = set()
        self.held = []
        self.pipeline = None

    def follow(self, behind=0):
        """Read the state of every partition, but for so many of its last changes."""
        self._read({partition: len(changes) - behind for partition, changes in self.group.state.items()})
        for spec in self.specs if behind == 0 else ():
            if self.table.eras(spec.name).is_established(spec.reference.key):
                self.established.add(spec.name)

    def _read(self, ends):
        for partition, changes in self.group.state.items():
            end = max(self.followed[partition], ends[partition])
            for change in changes[self.followed[partition] : end]:
                self.table.apply(change)
            self.followed[partition] = end
        self.tide.check()

    def hold(self, held):
        """Begin anew with these partitions, from what was committed."""
        self.held = sorted(held)
        self.pipeline = None
        if not held:
            return
        self._read(
            {partition: self.group.visible(partition, self.held) for partition in self.group.partitions}
        )
        self.positions, self.ends = {}, {}
        self.late, self.refused = Counter(), Counter()
        try:
            self.pipeline = self._make_pipeline()
        except MissingBaselineError:
            self.follow()  # its file was on its way
            self.pipeline = self._make_pipeline()
        for code, partition in enumerate(self.held):
            kept, committed = self.table.progress(partition), self.group.committed[partition]
            assert committed == (0 if kept is None else kept.position)
            self.positions[code] = max(committed, self.group.begins[partition])
            if self.positions[code] > committed:
                self.pipeline.lose(code)

    def work(self, number):
        """Count up to so many events of each partition, close windows; return what is to be committed."""
        self._count(number)
        moved = self.pipeline.advance(self.group.now_ms, self.positions, self.ends)
        asked = self.pipeline.ask(self.group.now_ms)
        self.ends = {code: len(self.group.logs[self.held[code]]) for code in asked}
        return moved

    def _make_pipeline(self):
        return Pipeline(
            self.specs,
            held=dict(enumerate(self.held)),
            every=self.group.partitions,
            table=self.table,
            find_reference=self._find_reference,
            established=self.established,
            now_ms=self.group.now_ms,
        )

    def _count(self, number):
        rows = {}
        for code, partition in enumerate(self.held):
            first = self.positions[code]
            read = self.group.logs[partition][first : first + number]
            self.positions[code] += len(read)
            for stream, its in rows_of(code, first, read).items():
                rows.setdefault(stream, Rows()).extend(its)
        for stream, its in rows.items():
            counted = self.pipeline.count(its.batch(stream), self.group.now_ms)
            assert not counted.overflown.any()
            self.refused[stream] += int(counted.late.sum())
            for size_ms, late in counted.late_by_size.items():
                self.late[stream, size_ms] += int(late.sum())

    def _find_reference(self, spec, key):
        if key == spec.reference.key:
            return spec.reference
        return self.group.references.get(self.table.baseline(key))


@dataclass
class Rows:
    """Events of one stream, on their way into a batch."""

    events: list = field(default_factory=list)
    names: list = field(default_factory=list)

    def extend(self, others):
        self.events += others.events
        self.names += others.names

    def batch(self, stream):
        return build_batch(self.events, stream, event_ids=self.names)


def rows_of(code, first, events):
    """Stream -> its events, of those that stand from an offset on in a partition."""
    rows = {}
    for offset, (stream, time_ms, cluster, name) in enumerate(events, first):
        rows.setdefault(stream, Rows()).extend(Rows([(code, offset, time_ms, cluster)], [name]))
    return rows
