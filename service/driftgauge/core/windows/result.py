"""The result of a closed window: its counts, its score against the baseline, its verdict."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.examples import FarExample
from driftgauge.core.judging.calibration import CalibrationSummary, Measuring
from driftgauge.core.judging.number_judging import NumberResult
from driftgauge.core.judging.scoring import Score, SegmentResult
from driftgauge.core.judging.verdict import Verdict, VerdictMemory
from driftgauge.core.partition import Partition
from driftgauge.core.window import Window

__all__ = [
    "WindowResult",
]


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
        score: The comparison with the baseline; None if there were too few events.
        verdict: The verdict.
        superseded: The verdict of the revision before; None at first.
        slow_drift: The statistic of slow drift after this window; None while the window is incomplete or not
            scored.
        slow_drift_since_ms: The estimated start of that drift; None if the statistic is 0 or None.
        slow_drift_limit: The limit at which that statistic warns.
        segments: The results of its segments.
        examples: Names of some events of the clusters that moved most, by cluster.
        memory: The memory that the window is judged with once it was complete and scored; None before.
        counted_twice: Some of its events may have been counted twice.
        incomplete_reason: Why the window is incomplete, such as "partitions_missing", "panes_purged",
            "counted_twice" or "counted_otherwise"; None if it is not.
        snippets: The beginnings of the texts of `examples`, by cluster, if they are kept.
        applied_total: The number of all events of the stream that its shard had applied by this revision,
            late ones among them; None if unknown.
        late_total: The number of these that were late for windows of this size; None if unknown.
        calibration: What it was judged by; None if unknown.
        measuring: The measurement that a provisional verdict waits for; None if it waits for none.
        farthest: Its events that lie farthest beyond the radius of their cluster, the farthest first.
        numbers: What it says of the numbers beside the vectors, by name.
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
    calibration: CalibrationSummary | None = None
    measuring: Measuring | None = None
    farthest: tuple[FarExample, ...] = ()
    numbers: dict[str, NumberResult] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of the window's events."""
        return int(self.counts.sum())

    @property
    def signed_contributions(self) -> NDArray[np.float64] | None:
        """Each cluster's part of the divergence, (k,) float64, negative if its share has fallen."""
        if self.score is None:
            return None
        gain = self.counts / self.count - self.baseline_counts / self.baseline_counts.sum()
        signed: NDArray[np.float64] = np.copysign(self.score.divergence.contributions, gain)
        return signed
