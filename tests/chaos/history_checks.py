"""Checks that follow a history: the chain of progress in the partials, and verdicts.

They share only the decoder of partials with the service. A reader of committed records must find complete
commits only. Each commit must continue its predecessor on every source partition, and together the commits
must hold every valid event once.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np

from driftgauge.core.counting.partial import CommitId, CommitPart, PaneDelta, PartitionProgress
from driftgauge.core.counting.tally import Tally
from driftgauge.core.durations import format_duration
from tests.chaos.checks import Check
from tests.chaos.windows import WINDOWS_MS, Counts, PublishedRevision, WindowKey
from tests.harness.scrape import Scrape

COUNTERS = ("gap", "overlap", "orphans")

Source = tuple[str, str, int]
"""A topic's id, its name, and a partition."""


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
        self._ends: dict[int, dict[Source, int]] = {}
        self._unfinished: dict[tuple[int, CommitId], list[CommitPart]] = {}
        self.most_panes = 0
        self._counts: dict[WindowKey, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}

    def take(self, shard: int, offset: int, part: CommitPart) -> None:
        """Read the part at an offset of a shard."""
        position = f"shard {shard} offset {offset}, {part.commit}"
        parts = self._unfinished.setdefault((shard, part.commit), [])
        self.check.compare(f"index of the part at {position}", part.index, len(parts))
        parts.append(part)
        if len(parts) == part.parts:
            del self._unfinished[shard, part.commit]
            self._apply(shard, parts, position)

    def finish(self, ends: Mapping[int, int], shards: int) -> Check:
        """Return the check after the last part: every shard must have reached the source partitions' ends."""
        for shard, commit in self._unfinished:
            self.check.mismatches.append(f"shard {shard}: parts of {commit} are missing")
        for shard in range(shards):
            found = {partition: end for (*_, partition), end in self._ends.get(shard, {}).items()}
            self.check.compare(f"progress of all partitions in shard {shard}, up to", found, dict(ends))
        self.check.name += f" (at most {self.most_panes:,} panes in a commit)"
        return self.check

    def counts(self) -> dict[WindowKey, Counts]:
        """Return each pane's events by cluster; a pane is a window of its stream's smallest size."""
        return {key: tuple(each.tolist()) for key, each in self._counts.items()}

    def _apply(self, shard: int, parts: list[CommitPart], position: str) -> None:
        self.most_panes = max(self.most_panes, sum(len(part.panes) for part in parts))
        for part in parts:
            for progress in part.partitions:
                self._continue(shard, progress, position)
            for delta in part.panes:
                self._add(delta, position)

    def _continue(self, shard: int, progress: PartitionProgress, position: str) -> None:
        topic, partition = progress.partition
        if topic != self._topic:
            return
        ends, source = self._ends.setdefault(shard, {}), (progress.topic_id, topic, partition)
        start = None if progress.begins else progress.start
        self.check.compare(f"start of {topic}[{partition}] at {position}", start, ends.get(source))
        self.check.compare(f"records lost of {topic}[{partition}] at {position}", progress.lost, 0)
        self.check.compare(f"offsets skipped of {topic}[{partition}] at {position}", progress.skipped, 0)
        ends[source] = progress.end

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


def level_of(streams: Iterable[str]) -> float:
    """Return the level for one false page a year over the windows of all streams and sizes."""
    year_ms = 365.25 * 86_400_000
    return 1 / sum(year_ms / size_ms for stream in streams for size_ms in WINDOWS_MS[stream].values())


History = tuple[tuple[bool, ...], float]
"""Whether each of the two previous windows was significant and large, and the slow drift statistic."""

EMPTY: History = ((), 0.0)


@dataclass
class _Series:
    """The history of one stream and window size."""

    end_ms: int = 0
    history: History = EMPTY
    judged_with: dict[WindowKey, History] = field(default_factory=dict)

    def history_before(self, result: PublishedRevision) -> History:
        """Return a window's history; a window without a result or score counts as not significant."""
        recent, slow = self.history
        start_ms = result.key[2]
        missing = min((start_ms - self.end_ms) // (result.end_ms - start_ms), 2)
        return (*recent, *[False] * missing)[-2:], slow


def check_verdicts(results: Iterable[PublishedRevision], level: float) -> Check:
    """Check that every verdict follows from the windows complete before it, whichever replica closed them.

    No window is calibrated, because those of the baseline are shorter: so none is drift by itself.
    """
    check = Check("verdicts follow from the previous windows")
    series: defaultdict[tuple[str, str], _Series] = defaultdict(_Series)
    for result in sorted(results, key=lambda result: (result.written_ms, result.end_ms, result.revision)):
        document = result.document
        what = f"revision {result.revision} of {result.key}"
        is_incomplete = bool(document["incomplete"]) or document["incomplete_reason"] is not None
        if is_incomplete or document["p_value"] is None:
            verdict = "incomplete" if is_incomplete else "insufficient"
            actual = document["verdict"], document["slow_drift"]
            check.compare(f"verdict and slow drift of {what}", actual, (verdict, None))
            continue
        of_stream = series[result.key[:2]]
        is_first = result.key not in of_stream.judged_with and result.end_ms > of_stream.end_ms
        history = of_stream.history_before(result) if is_first else EMPTY
        recent, slow = of_stream.judged_with.setdefault(result.key, history)
        is_significant = document["p_value"] < level and _size(document["findings"], level) >= 1
        limit, actual_slow = (document["slow_drift"][name] for name in ("limit", "statistic"))
        slow = min(max(0.0, slow + _evidence(document["p_value"]) - 0.5), limit + 1)
        check.compare(f"slow drift of {what}", round(actual_slow, 9), round(slow, 9))
        verdict = _verdict((*recent, is_significant), has_slow_drift=actual_slow >= limit)
        check.compare(f"verdict of {what}", document["verdict"], verdict)
        if is_first:
            of_stream.end_ms = result.end_ms
            of_stream.history = (*recent, is_significant)[-2:], slow
    return check


def _size(findings: Mapping[str, Any], level: float) -> float:
    """Return the largest excess over half of the default `smallest_drift`.

    All but the divergence and the mean must be significant alone.
    """
    spread = findings["spread"]["numbers"]
    spreads = [
        excess
        for part, excess in spread["spread_excess_ratio"].items()
        if excess is not None and spread["spread_p_value"][part] < level
    ]
    novelty, duplicates = (
        findings[name]["excess"] if findings[name]["p_value"] < level else 0.0
        for name in ("novelty", "duplicates")
    )
    relations = 0.0
    if found := findings.get("relations"):
        is_significant = min(found["numbers"]["relations_p_value"].values()) < level
        relations = found["excess"] if is_significant else 0.0
    return max(
        findings["js_divergence"]["excess"] / 0.005,
        findings["mean_shift"]["excess"] / 0.025,
        novelty / 0.01,
        max(spreads, default=0.0) / 0.05,
        duplicates / 0.025,
        relations / 0.1,
    )


def _evidence(p_value: float) -> float:
    """Return the normal quantile of 1 - p, clipped to 4 either side."""
    far = NormalDist().cdf(-4)
    return -NormalDist().inv_cdf(min(max(p_value, far), 1 - far))


def _verdict(significant: tuple[bool, ...], *, has_slow_drift: bool) -> str:
    if sum(significant) > 1:
        return "drift"
    return "warning" if significant[-1] or has_slow_drift else "ok"
