"""What is known of a closed window: its counts, its score against the baseline, the verdict."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.partition import Partition
from driftgauge.core.reference import Segment
from driftgauge.core.statistics.mean_shift import MeanShift
from driftgauge.core.windows.window import Window

__all__ = ["MAX_MOVERS", "Score", "SegmentResult", "Verdict", "VerdictMemory", "WindowResult"]

MAX_MOVERS = 3
"""So many clusters are named of those that moved."""


class Verdict(StrEnum):
    """What a window says of its stream.

    Attributes:
        OK: No drift, and drift worth finding would have been found.
        WARNING: Drift in this window alone so far, or small evidence that has built up over many.
        DRIFT: Drift that is significant and large, in two of the last three windows; one that was empty or
            not scored counts as one without, and so for a segment does one in which it was not.
        INSUFFICIENT: Too few events to say that there is no drift.
        INCOMPLETE: Partitions are missing, or `incomplete_reason` says what else is wrong with its counts.
    """

    OK = "ok"
    WARNING = "warning"
    DRIFT = "drift"
    INSUFFICIENT = "insufficient"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """A comparison of events with the baseline.

    Attributes:
        js_divergence: Jensen-Shannon divergence, base 2, 0 to 1.
        js_distance: Its square root.
        contributions: (k,) float64, each cluster's part; they sum to the divergence.
        noise_floor: The divergence to expect at this count without any drift.
        js_excess: The divergence less that; below 0 where there is less than noise.
        js_p_value: How often, without drift, the divergence is as large.
        mean_shift: How far the mean has moved.
        p_value: How often, without drift, all statistics together are as extreme.
        novelty: The share of the events beyond the distance from their centroid within which 99 % of the
            baseline's are.
        calibrated: The p-values know how related the events are; otherwise it is guessed, or they suppose
            independent ones.
    """

    js_divergence: float
    js_distance: float
    contributions: NDArray[np.float64]
    noise_floor: float
    js_excess: float
    js_p_value: float
    mean_shift: MeanShift
    p_value: float
    novelty: float
    calibrated: bool

    @property
    def movers(self) -> tuple[int, ...]:
        """The clusters that contribute most to the divergence, the foremost first."""
        order = np.argsort(-self.contributions, kind="stable")[:MAX_MOVERS]
        return tuple(cluster for cluster in order.tolist() if self.contributions[cluster] > 0)


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """What is known of a window's events of one segment; the scores are None where it was not scored.

    Attributes:
        segment: The segment's key and value.
        count: Its events.
        js_divergence, js_excess, mean_shift_excess, p_value: As in `Score` and `MeanShift`.
        adjusted_p_value: The p-value adjusted for the number of segments (Benjamini-Hochberg).
        calibrated: As in `Score`; it is not where the overdispersion is that of the whole stream.
        verdict: As of a window.
    """

    segment: Segment
    count: int
    js_divergence: float | None
    js_excess: float | None
    mean_shift_excess: float | None
    p_value: float | None
    adjusted_p_value: float | None
    calibrated: bool | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class VerdictMemory:
    """What the windows before leave for the next one to be judged with.

    Attributes:
        recent: Of the last windows, oldest first: whether each was significant and large.
        slow_drift: The statistic of slow drift; see `slow`.
        segments: As `recent`, of each segment that was found in one of them; one in which it was not scored
            counts as one without.
    """

    recent: tuple[bool, ...] = ()
    slow_drift: float = 0.0
    segments: dict[Segment, tuple[bool, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class WindowResult:
    """A closed window, as it is published, kept and shown.

    Attributes:
        stream: The stream's name.
        window: Which window.
        revision: 0 at the first publication; one more each time that later events changed it.
        counts: (k,) int64, the window's events per cluster.
        baseline_counts: (k,) int64, the baseline's histogram.
        baseline_id: The baseline's identity.
        missing: The partitions that had not passed the window's end.
        events_lost: Some of its events may have been lost before they were read.
        published_ms: Wall time of this revision.
        score: The comparison; None where there were too few events for any.
        verdict: What it says.
        superseded: The verdict of the revision before; None at first.
        slow_drift: The statistic of slow drift after this window; None while it is incomplete or not scored.
        slow_drift_limit: What that must reach to warn.
        segments: What is known of each segment.
        examples: Names of some events of the clusters that moved most, by cluster.
        memory: What it is judged with since it was first complete and scored; None before.
        counted_twice: Some of its events may have been counted twice.
        incomplete_reason: Why a window that lacks no partition is incomplete nevertheless, such as
            "counted_twice" or "counted_otherwise"; None otherwise.
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
        """The window's events."""
        return int(self.counts.sum())

    @property
    def signed_contributions(self) -> NDArray[np.float64] | None:
        """Each cluster's part of the divergence, (k,) float64, negative where its share has fallen."""
        if self.score is None:
            return None
        gain = self.counts / self.count - self.baseline_counts / self.baseline_counts.sum()
        signed: NDArray[np.float64] = np.copysign(self.score.contributions, gain)
        return signed
