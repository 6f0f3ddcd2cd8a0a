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
from tests.chaos.checks import Check, field_at
from tests.chaos.windows import WINDOWS_MS, Counts, PublishedRevision, WindowKey
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


YEAR_MS = 365.25 * 86_400_000
# Half of the default smallest drift.
MIN_EXCESS = 0.005
MIN_SHIFT = 0.025
MIN_NOVELTY = 0.01
MIN_SPREAD = 0.05
MIN_DUPLICATES = 0.025
MIN_RELATIONS = 0.1
MEAN_WEIGHTS = 0.75, 0.75, 3.0


def level_of(streams: Iterable[str]) -> float:
    """Return the level for one false page a year over the windows of all streams and sizes."""
    return 1 / sum(YEAR_MS / size_ms for stream in streams for size_ms in WINDOWS_MS[stream].values())


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
    """Check that every verdict follows from the windows complete before it, whichever replica closed them."""
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
        is_significant = document["p_value"] < level and _size(document, level) >= 1
        limit = field_at(document, "slow_drift.limit")
        slow = min(max(0.0, slow + _evidence(document["p_value"]) - 0.5), limit + 1)
        actual_slow = field_at(document, "slow_drift.statistic")
        check.compare(f"slow drift of {what}", round(actual_slow, 9), round(slow, 9))
        verdict = _verdict((*recent, is_significant), has_slow_drift=actual_slow >= limit)
        if document["calibrated"] and _is_overwhelming(document, level):
            verdict = "drift"
        check.compare(f"verdict of {what}", document["verdict"], verdict)
        if is_first:
            of_stream.end_ms = result.end_ms
            of_stream.history = (*recent, is_significant)[-2:], slow
    return check


def _size(document: Mapping[str, Any], level: float) -> float:
    """Return the largest excess over what is large; all but the first two must be significant alone."""
    found = document["findings"]
    spread = found["spread"]["numbers"]
    p_values = spread["spread_p_value"]
    spreads = [
        excess
        for part, excess in spread["spread_excess_ratio"].items()
        if excess is not None and p_values[part] < level
    ]
    novelty, duplicates = (
        found[name]["excess"] if found[name]["p_value"] < level else 0.0 for name in ("novelty", "duplicates")
    )
    return max(
        _first_size(document),
        novelty / MIN_NOVELTY,
        max(spreads, default=0.0) / MIN_SPREAD,
        duplicates / MIN_DUPLICATES,
        _relations(found, level) / MIN_RELATIONS,
    )


def _relations(found: Mapping[str, Any], level: float) -> float:
    """Return the larger excess of both tests of relations, if one of them is significant."""
    relations = found.get("relations")
    if relations is None or min(relations["numbers"]["relations_p_value"].values()) >= level:
        return 0.0
    return float(relations["excess"])


def _first_size(document: Mapping[str, Any]) -> float:
    divergence, shift = (
        field_at(document, f"findings.{name}.excess") for name in ("js_divergence", "mean_shift")
    )
    return max(divergence / MIN_EXCESS, shift / MIN_SHIFT)


def _is_overwhelming(document: Mapping[str, Any], level: float) -> bool:
    shift = document["findings"]["mean_shift"]["numbers"]
    p_values = [shift[name] for name in ("mean_shift_p_value", "centroid_p_value")]
    js_p_value = field_at(document, "findings.js_divergence.p_value")
    weighted = [(js_p_value, 1.0), *zip(p_values, MEAN_WEIGHTS, strict=True)]
    # For small p-values the Cauchy combination is the weighted harmonic mean.
    total = sum(weight for _, weight in weighted)
    combined = total / sum(weight / max(p_value, 1e-300) for p_value, weight in weighted)
    return max(combined, document["p_value"]) < level / 100 and _first_size(document) >= 2


def _evidence(p_value: float) -> float:
    """Return the normal quantile of 1 - p, clipped to 4 either side."""
    far = NormalDist().cdf(-4)
    return -NormalDist().inv_cdf(min(max(p_value, far), 1 - far))


def _verdict(significant: tuple[bool, ...], *, has_slow_drift: bool) -> str:
    if sum(significant) > 1:
        return "drift"
    return "warning" if significant[-1] or has_slow_drift else "ok"
