"""The chain of progress in the partials, verified by a reader that shares only the records' decoder.

What it reads is committed, so it must find whole commits only, each continuing the one before it on
every source partition, and all together every sound event once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from deploy.demo.scrape import Scrape

from driftgauge.core.counting.partial import CommitId, PaneDelta, Part, PartitionProgress, Progress
from driftgauge.core.counting.scheme import CLUSTER_COUNTS, Statistic
from driftgauge.core.durations import format_duration
from tests.chaos.truth import Counts, WindowKey
from tests.chaos.verdict import Check

COUNTERS = ("gap", "overlap", "orphans")

Source = tuple[str, str, int]
"""A topic's id, its name, and a partition."""


@dataclass
class _Shard:
    """What one partition of the partials says."""

    ends: dict[Source, int] = field(default_factory=dict)
    unfinished: dict[CommitId, list[Part]] = field(default_factory=dict)


class Chain:
    """Reads the parts of commits in the order of each shard.

    Attributes:
        check: That each commit is whole and continues the one before.
    """

    def __init__(self, topic: str) -> None:
        """Begin; nothing is asked of other events topics."""
        self._topic = topic
        self.check = Check("chain of progress in the partials: no gap, no overlap, no orphan")
        self._shards: dict[int, _Shard] = {}
        self._counts: dict[WindowKey, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}

    def take(self, shard: int, offset: int, part: Part) -> None:
        """Read the part that stands at an offset of a shard."""
        place = f"shard {shard} offset {offset}, {part.commit}"
        state = self._shards.setdefault(shard, _Shard())
        parts = state.unfinished.setdefault(part.commit, [])
        self.check.compare(f"place of the part at {place}", part.index, len(parts))
        parts.append(part)
        if len(parts) == part.parts:
            del state.unfinished[part.commit]
            self.check.compare(f"progress comes last at {place}", isinstance(part, Progress), expected=True)
            self._apply(state, parts, place)

    def finish(self, ends: Mapping[int, int], shards: int) -> Check:
        """Return the check, when all is read: every shard must have come to the ends of the sources."""
        self.check.compare("shards", sorted(self._shards), list(range(shards)))
        for shard, state in sorted(self._shards.items()):
            for commit in state.unfinished:
                self.check.mismatches.append(f"shard {shard}: parts of {commit} are missing")
            found = {
                partition: end for (_, topic, partition), end in state.ends.items() if topic == self._topic
            }
            self.check.compare(f"shard {shard} was told of all partitions, up to", found, dict(ends))
        return self.check

    def counts(self) -> dict[WindowKey, Counts]:
        """The events of each pane by cluster; a pane is a window of its stream's smallest size."""
        return {key: tuple(each.tolist()) for key, each in self._counts.items()}

    def _apply(self, state: _Shard, parts: list[Part], place: str) -> None:
        for part in parts:
            if isinstance(part, Progress):
                for progress in part.partitions:
                    self._continue(state, progress, place)
            else:
                for delta in part.panes:
                    self._add(delta, place)

    def _continue(self, state: _Shard, progress: PartitionProgress, place: str) -> None:
        topic, partition = progress.partition
        if topic != self._topic:
            return
        source = progress.topic_id, topic, partition
        known = state.ends.get(source)
        said = (progress.begins, None if progress.begins else progress.start)
        self.check.compare(f"{topic}[{partition}] begins, from, at {place}", said, (known is None, known))
        self.check.compare(f"records lost of {topic}[{partition}] at {place}", progress.lost, 0)
        state.ends[source] = progress.end

    def _add(self, delta: PaneDelta, place: str) -> None:
        if delta.segment is not None or delta.first[0][0] != self._topic:
            return
        counts = delta.values[cluster_slice(delta.scheme.statistics)]
        key = delta.stream, format_duration(delta.scheme.pane_ms), delta.start_ms
        self.check.compare(f"events of {key} at {place}", int(counts.sum()), delta.events)
        self._counts[key] = self._counts[key] + counts if key in self._counts else counts


def cluster_slice(statistics: Iterable[Statistic]) -> slice:
    """Where in a tally the events of each cluster stand."""
    start = 0
    for name, length in statistics:
        if name == CLUSTER_COUNTS:
            return slice(start, start + length)
        start += length
    raise AssertionError("a tally does not count the events of each cluster")


def check_partials(found: Mapping[WindowKey, Counts], truth: Mapping[WindowKey, Counts]) -> Check:
    """The partials hold every sound event once, late or not.

    Args:
        found: The events of each pane by cluster.
        truth: Those of every window, late ones among them.
    """
    check = Check("partials hold every sound event once")
    expected = {key: counts for key, counts in truth.items() if key[:2] in {each[:2] for each in found}}
    check.compare("streams", {key[0] for key in found}, {key[0] for key in truth})
    for key in sorted(expected.keys() | found.keys()):
        check.compare(key, found.get(key), expected.get(key))
    return check


def check_chain_counters(scrapes: Mapping[str, Scrape], shards: int) -> Check:
    """Each shard's owner, and no other replica, shows that the chain was never broken."""
    check = Check("owners' counters of gaps, overlaps and orphans")
    for counter in COUNTERS:
        name = f"driftgauge_partials_{counter}_total"
        for shard in range(shards):
            values = [scrape.value(name, shard=str(shard)) for scrape in scrapes.values()]
            found = [value for value in values if value is not None]
            check.compare(f"{name} of shard {shard}", found, [0.0])
    return check
