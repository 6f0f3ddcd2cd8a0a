"""The result of a closed window: its counts, its score against the baseline, its verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.partition import Partition
from driftgauge.core.reference import Segment
from driftgauge.core.statistics.divergence import DIVERGENCE, Divergence
from driftgauge.core.statistics.statistic import Findings
from driftgauge.core.windows.window import Window

__all__ = [
    "Block",
    "Score",
    "SegmentResult",
    "SlowDrift",
    "Verdict",
    "VerdictMemory",
    "WindowResult",
]


class Verdict(StrEnum):
    """The verdict of a window.

    Attributes:
        OK: No drift was found; `Score.detectable` says how small a drift would have been.
        WARNING: Drift in this window alone so far, or small evidence accumulated over many windows.
        DRIFT: Significant and large drift in two of the last three windows, overwhelming drift in a
            calibrated window, or in the windows of slow drift together. A window that was empty or not
            scored counts as one without drift; so does one in which the segment was empty or not scored.
        INSUFFICIENT: Too few events to be scored.
        INCOMPLETE: Partitions are missing, or `incomplete_reason` names another fault of the counts.
        MISFIT: No drift since the warm-up, but the warm-up differs from the baseline: the baseline does not
            fit the stream, or the stream had drifted before the warm-up ended.
    """

    OK = "ok"
    WARNING = "warning"
    DRIFT = "drift"
    INSUFFICIENT = "insufficient"
    INCOMPLETE = "incomplete"
    MISFIT = "misfit"

    @property
    def is_conclusive(self) -> bool:
        """Whether the verdict says whether there is drift; any other ends no alarm."""
        return self not in {Verdict.INSUFFICIENT, Verdict.INCOMPLETE}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Score:
    """A comparison of a window's events with the baseline.

    Attributes:
        findings: The findings of the statistics.
        p_value: The combined p-value of all tests.
        calibrated: The p-values use a measured overdispersion; otherwise the overdispersion is a guess, or
            the p-values assume independent events.
        evidence: The share of each kind of drift in the evidence, 0 to 1; the shares sum to 1.
        kind: The kind with the largest share; None where the window is not significant.
        detectable: The least drift from the baseline by each statistic's name that is found with the target
            power, by a window of this count or, where it began before the end of a warm-up, as a misfit;
            infinity where none is found.
    """

    findings: Findings
    p_value: float
    calibrated: bool
    evidence: Mapping[str, float]
    kind: str | None
    detectable: Mapping[str, float]

    @property
    def divergence(self) -> Divergence:
        """The finding of the divergence, which every window has."""
        return self.findings.of(DIVERGENCE)

    @property
    def movers(self) -> tuple[int, ...]:
        """The clusters that contribute most to the divergence, the largest first."""
        return self.divergence.movers


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """The result of one segment of a window; the scores are None where the segment was not scored.

    Attributes:
        segment: The segment's key and value.
        count: The number of its events.
        js_divergence: As in `Divergence`.
        excess: The excess of each finding, by the statistic's name.
        p_value: As in `Score`.
        adjusted_p_value: The p-value adjusted for the number of segments (Benjamini-Hochberg).
        calibrated: As in `Score`; False where the overdispersion is that of the whole stream.
        verdict: As for a window.
    """

    segment: Segment
    count: int
    js_divergence: float | None
    excess: Mapping[str, float] | None
    p_value: float | None
    adjusted_p_value: float | None
    calibrated: bool | None
    verdict: Verdict


Block = tuple[int, NDArray[np.int64]]
"""The start of some windows, ms, and the sum of their tallies, (length,) int64."""


@dataclass(frozen=True, slots=True, eq=False)
class SlowDrift:
    """The evidence of slow drift, and the latest windows that it comes from.

    Attributes:
        statistic: The CUSUM statistic; see `driftgauge.core.statistics.cusum`.
        since_ms: The estimated start of the drift, event time in ms: that of the first window since the
            statistic was last 0; None where it is 0.
        blocks: The latest windows since then in one block or two, the oldest first.
    """

    statistic: float = 0.0
    since_ms: int | None = None
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class VerdictMemory:
    """The memory of the windows before, with which the next window is judged.

    Attributes:
        recent: Whether each of the last windows was significant and large, oldest first.
        slow_drift: The slow drift.
        segments: As `recent`, for each segment that was significant and large in one of them; a window in
            which the segment was not scored counts as False.
    """

    recent: tuple[bool, ...] = ()
    slow_drift: SlowDrift = SlowDrift()
    segments: dict[Segment, tuple[bool, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class WindowResult:
    """The published result of a closed window.

    Attributes:
        stream: The stream's name.
        window: The window.
        revision: 0 at the first publication; 1 more each time that later events changed the window.
        counts: (k,) int64, the window's events per cluster.
        baseline_counts: (k,) int64, the histogram that the window is compared with: that of the baseline,
            or of the warm-up.
        baseline_id: The baseline's identity.
        missing: The partitions that had not reached the window's end.
        events_lost: Some of its events may have been lost before they were read.
        published_ms: The shard's log time of this revision.
        score: The comparison with the baseline; None where there were too few events.
        verdict: The verdict.
        superseded: The verdict of the revision before; None at first.
        slow_drift: The statistic of slow drift after this window; None while the window is incomplete or not
            scored.
        slow_drift_since_ms: The estimated start of that drift; None where the statistic is 0 or None.
        slow_drift_limit: The limit at which that statistic warns.
        segments: The results of its segments.
        examples: Names of some events of the clusters that moved most, by cluster.
        memory: The memory that the window is judged with once it was complete and scored; None before.
        counted_twice: Some of its events may have been counted twice.
        incomplete_reason: Why the window is incomplete, such as "partitions_missing", "panes_purged",
            "counted_twice" or "counted_otherwise"; None where it is not.
        snippets: The beginnings of the texts of `examples`, by cluster, where they are kept.
        applied_total: The number of all events of the stream that its shard had applied by this revision,
            late ones among them; None where unknown.
        late_total: The number of these that were late for windows of this size; None where unknown.
    """

    stream: str
    window: Window
    revision: int
    counts: NDArray[np.int64]
    baseline_counts: NDArray[np.int64]
    baseline_id: str
    missing: tuple[Partition, ...]
    events_lost: bool
    published_ms: int
    score: Score | None
    verdict: Verdict
    superseded: Verdict | None
    slow_drift: float | None
    slow_drift_since_ms: int | None
    slow_drift_limit: float
    segments: tuple[SegmentResult, ...]
    examples: dict[int, tuple[str, ...]]
    memory: VerdictMemory | None
    counted_twice: bool = False
    incomplete_reason: str | None = None
    snippets: dict[int, tuple[str, ...]] = field(default_factory=dict)
    applied_total: int | None = None
    late_total: int | None = None

    @property
    def count(self) -> int:
        """The number of the window's events."""
        return int(self.counts.sum())

    @property
    def signed_contributions(self) -> NDArray[np.float64] | None:
        """Each cluster's part of the divergence, (k,) float64, negative where its share has fallen."""
        if self.score is None:
            return None
        gain = self.counts / self.count - self.baseline_counts / self.baseline_counts.sum()
        signed: NDArray[np.float64] = np.copysign(self.score.divergence.contributions, gain)
        return signed
