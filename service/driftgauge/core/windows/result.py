"""The result of a closed window: its counts, its score against the baseline, its verdict."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.partition import Partition
from driftgauge.core.reference import Segment
from driftgauge.core.statistics.duplicates import Duplicates
from driftgauge.core.statistics.mean_shift import MeanShift
from driftgauge.core.statistics.novelty import Novelty
from driftgauge.core.statistics.power import Detectable
from driftgauge.core.statistics.spread import Spread
from driftgauge.core.windows.evidence import Evidence, Kind
from driftgauge.core.windows.window import Window

__all__ = [
    "MAX_MOVERS",
    "HistogramScore",
    "Score",
    "SegmentResult",
    "Verdict",
    "VerdictMemory",
    "WindowResult",
]

MAX_MOVERS = 3
"""The number of clusters that are named as movers."""


class Verdict(StrEnum):
    """The verdict of a window.

    Attributes:
        OK: No drift was found; `Score.detectable` says how small a drift would have been.
        WARNING: Drift in this window alone so far, or small evidence accumulated over many windows.
        DRIFT: Significant and large drift in two of the last three windows, or overwhelming drift in a
            calibrated window. A window that was empty or not
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


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class HistogramScore:
    """A comparison of a histogram with the baseline's.

    Attributes:
        js_divergence: Jensen-Shannon divergence, base 2, 0 to 1.
        js_distance: Its square root.
        contributions: (k,) float64, each cluster's part; the parts sum to the divergence.
        noise_floor: The expected divergence without drift, given the pooled counts of window and baseline.
        js_excess: The divergence less the noise floor; below 0 where the divergence is below the floor.
        js_p_value: The probability without drift of a divergence at least as large.
        calibrated: The p-values use a measured overdispersion; otherwise the overdispersion is a guess, or
            the p-values assume independent events.
    """

    js_divergence: float
    js_distance: float
    contributions: NDArray[np.float64]
    noise_floor: float
    js_excess: float
    js_p_value: float
    calibrated: bool

    @property
    def movers(self) -> tuple[int, ...]:
        """The clusters that contribute most to the divergence, the largest first."""
        order = np.argsort(-self.contributions, kind="stable")[:MAX_MOVERS]
        return tuple(cluster for cluster in order.tolist() if self.contributions[cluster] > 0)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Score(HistogramScore):
    """A comparison of events with the baseline: of their histogram, and of their vectors.

    Attributes:
        mean_shift: The shift of the mean.
        novelty: The share of the events beyond the radius of their cluster.
        spread: The changes of the mean squared distance from the baseline's mean.
        duplicates: The share of one repeated item.
        p_value: The combined p-value of all tests.
        evidence: The share of each kind of drift in the evidence.
        kind: The kind of the drift; None where the window is not significant.
        detectable: The least drift that a window of this count finds with the target power.
    """

    mean_shift: MeanShift
    novelty: Novelty
    spread: Spread
    duplicates: Duplicates
    p_value: float
    evidence: Evidence
    kind: Kind | None
    detectable: Detectable


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """The result of one segment of a window; the scores are None where the segment was not scored.

    Attributes:
        segment: The segment's key and value.
        count: The number of its events.
        js_divergence, js_excess, p_value: As in `Score`.
        mean_shift_excess, novelty_excess, spread_excess: As `excess` in `MeanShift`, `Novelty` and `Spread`.
        adjusted_p_value: The p-value adjusted for the number of segments (Benjamini-Hochberg).
        calibrated: As in `Score`; False where the overdispersion is that of the whole stream.
        verdict: As for a window.
    """

    segment: Segment
    count: int
    js_divergence: float | None
    js_excess: float | None
    mean_shift_excess: float | None
    novelty_excess: float | None
    spread_excess: float | None
    p_value: float | None
    adjusted_p_value: float | None
    calibrated: bool | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class VerdictMemory:
    """The memory of the windows before, with which the next window is judged.

    Attributes:
        recent: Whether each of the last windows was significant and large, oldest first.
        slow_drift: The statistic of slow drift; see `driftgauge.core.statistics.cusum`.
        segments: As `recent`, for each segment that was significant and large in one of them; a window in
            which the segment was not scored counts as False.
    """

    recent: tuple[bool, ...] = ()
    slow_drift: float = 0.0
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
        slow_drift_limit: The limit at which that statistic warns.
        segments: The results of its segments.
        examples: Names of some events of the clusters that moved most, by cluster.
        memory: The memory that the window is judged with once it was complete and scored; None before.
        counted_twice: Some of its events may have been counted twice.
        incomplete_reason: Why the window is incomplete, such as "partitions_missing", "counted_twice" or
            "counted_otherwise"; None where it is not.
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
    slow_drift_limit: float
    segments: tuple[SegmentResult, ...]
    examples: dict[int, tuple[str, ...]]
    memory: VerdictMemory | None
    counted_twice: bool = False
    incomplete_reason: str | None = None

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
        signed: NDArray[np.float64] = np.copysign(self.score.contributions, gain)
        return signed
