"""Verifies the chain of progress in the partials topic; it shares only the record decoder with the service.

A reader of committed records must find complete commits only. Each commit must continue its predecessor on
every source partition, and together the commits must hold every valid event once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from driftgauge.core.counting.partial import CommitId, CommitPart, PaneDelta, PartitionProgress
from driftgauge.core.counting.tally import Tally
from driftgauge.core.durations import format_duration
from tests.chaos.checks import Check
from tests.chaos.expected_counts import Counts, WindowKey
from tests.harness.scrape import Scrape

COUNTERS = ("gap", "overlap", "orphans")

Source = tuple[str, str, int]
"""A topic's id, its name, and a partition."""


@dataclass
class _ShardProgress:
    """The progress read from one partition of the partials topic."""

    ends: dict[Source, int] = field(default_factory=dict)
    unfinished: dict[CommitId, list[CommitPart]] = field(default_factory=dict)


class ProgressChain:
    """Reads the parts of commits, in offset order within each shard.

    Attributes:
        check: Each commit is complete and continues its predecessor.
        most_panes: The most panes of one commit in one shard.
    """

    def __init__(self, topic: str) -> None:
        """Start an empty chain of one events topic; other events topics are ignored."""
        self._topic = topic
        self.check = Check("chain of progress in the partials: no gap, no overlap, no orphan")
        self._shards: dict[int, _ShardProgress] = {}
        self.most_panes = 0
        self._counts: dict[WindowKey, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}

    def take(self, shard: int, offset: int, part: CommitPart) -> None:
        """Read the part at an offset of a shard."""
        position = f"shard {shard} offset {offset}, {part.commit}"
        state = self._shards.setdefault(shard, _ShardProgress())
        parts = state.unfinished.setdefault(part.commit, [])
        self.check.compare(f"index of the part at {position}", part.index, len(parts))
        parts.append(part)
        if len(parts) == part.parts:
            del state.unfinished[part.commit]
            self._apply(state, parts, position)

    def finish(self, ends: Mapping[int, int], shards: int) -> Check:
        """Return the check after the last part: every shard must have reached the source partitions' ends."""
        self.check.compare("shards", sorted(self._shards), list(range(shards)))
        for shard, state in sorted(self._shards.items()):
            for commit in state.unfinished:
                self.check.mismatches.append(f"shard {shard}: parts of {commit} are missing")
            found = {
                partition: end for (_, topic, partition), end in state.ends.items() if topic == self._topic
            }
            self.check.compare(f"progress of all partitions in shard {shard}, up to", found, dict(ends))
        self.check.name += f" (at most {self.most_panes:,} panes in a commit)"
        return self.check

    def counts(self) -> dict[WindowKey, Counts]:
        """Return each pane's events by cluster; a pane is a window of its stream's smallest size."""
        return {key: tuple(each.tolist()) for key, each in self._counts.items()}

    def _apply(self, state: _ShardProgress, parts: list[CommitPart], position: str) -> None:
        self.most_panes = max(self.most_panes, sum(len(part.panes) for part in parts))
        for part in parts:
            for progress in part.partitions:
                self._continue(state, progress, position)
            for delta in part.panes:
                self._add(delta, position)

    def _continue(self, state: _ShardProgress, progress: PartitionProgress, position: str) -> None:
        topic, partition = progress.partition
        if topic != self._topic:
            return
        source = progress.topic_id, topic, partition
        known = state.ends.get(source)
        actual = (progress.begins, None if progress.begins else progress.start)
        self.check.compare(
            f"{topic}[{partition}] begins, start, at {position}", actual, (known is None, known)
        )
        self.check.compare(f"records lost of {topic}[{partition}] at {position}", progress.lost, 0)
        self.check.compare(f"offsets skipped of {topic}[{partition}] at {position}", progress.skipped, 0)
        state.ends[source] = progress.end

    def _add(self, delta: PaneDelta, position: str) -> None:
        if delta.segment is not None or delta.first[0][0] != self._topic:
            return
        counts = Tally(delta.values, delta.scheme.fields).counts
        key = delta.stream, format_duration(delta.scheme.pane_ms), delta.start_ms
        self.check.compare(f"events of {key} at {position}", int(counts.sum()), delta.events)
        self._counts[key] = self._counts[key] + counts if key in self._counts else counts


def check_partials(found: Mapping[WindowKey, Counts], all_counts: Mapping[WindowKey, Counts]) -> Check:
    """Check that the partials hold every valid event once, late or not.

    Args:
        found: The events of each pane by cluster.
        all_counts: The events of every window by cluster, late events included.
    """
    check = Check("partials hold every valid event once")
    sizes = {key[:2] for key in found}
    expected = {key: counts for key, counts in all_counts.items() if key[:2] in sizes}
    check.compare("streams", {key[0] for key in found}, {key[0] for key in all_counts})
    for key in sorted(expected.keys() | found.keys()):
        check.compare(key, found.get(key), expected.get(key))
    return check


def check_chain_counters(scrapes: Mapping[str, Scrape], shards: int) -> Check:
    """Check that each shard's owner, and no other replica, shows its chain counters, all zero."""
    check = Check("owners' counters of gaps, overlaps and orphans")
    for counter in COUNTERS:
        name = "driftgauge_partials_faults_total"
        for shard in range(shards):
            values = [scrape.value(name, shard=str(shard), reason=counter) for scrape in scrapes.values()]
            found = [value for value in values if value is not None]
            check.compare(f"{counter} of shard {shard}", found, [0.0])
    return check
