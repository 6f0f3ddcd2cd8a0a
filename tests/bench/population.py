"""The population of the verdict measurements: windows, baselines and the stream's configuration."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.moments import moments
from driftgauge.core.counting.assignment import Centroids
from driftgauge.core.counting.projection import Projection
from driftgauge.core.counting.tally import Tally, tally_batch
from driftgauge.core.reference import Reference
from driftgauge.core.spec import Alarm, ScheduledBaseline, StreamSpec
from driftgauge.core.statistics.budget import window_level
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.windows.result import Score, Verdict, VerdictMemory
from driftgauge.core.windows.scoring import WindowScorer
from driftgauge.core.windows.verdict import decide, update_memory

EMBEDDINGS = Path(__file__).parents[3] / "shared" / "data" / "cifar10-resnet18-fc1.npz"
CLUSTERS = 20
CLASSES = 10
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


@dataclass(frozen=True)
class Population:
    """Vectors to draw from, and their centroids.

    Attributes:
        vectors: (N, d) float32, sorted by class.
        clusters: (N,), the cluster of each vector.
        centroids: The centroids.
    """

    vectors: NDArray[np.float32]
    clusters: NDArray[np.intp]
    centroids: Centroids

    def reference(self, rows: NDArray[np.intp], overdispersion: Overdispersion | None = None) -> Reference:
        """Return the baseline of some rows."""
        found = moments(self.vectors, rows)
        return Reference(
            baseline_id="sha256:bench",
            centroids=self.centroids,
            counts=np.bincount(self.clusters[rows], minlength=CLUSTERS).astype(np.int64),
            radii=np.full(CLUSTERS, np.inf, dtype=np.float32),
            projection=Projection(found.mean, found.components, found.variances),
            overdispersion=overdispersion,
            overdispersion_ms=None,
            segments=(),
        )


def spec(reference: Reference, size_ms: int, budget: float = 1.0) -> StreamSpec:
    """Return a stream with the default configuration and windows of one size."""
    return StreamSpec(
        name="bench",
        baselines=(ScheduledBaseline(reference),),
        sizes_ms=(size_ms,),
        disorder_ms=0,
        lateness_ms=0,
        idle_ms=0,
        incomplete_ms=0,
        give_up_ms=0,
        min_events=5 * CLUSTERS,
        alarm=Alarm(level=window_level(budget, [size_ms]), js_divergence=0.01, mean_shift=0.05),
    )


def tallies(clusters: NDArray[np.intp], coordinates: NDArray[np.int64]) -> list[Tally]:
    """Return the tally of each window; the columns are (windows, n) and (windows, n, r)."""
    windows, count = clusters.shape
    values = tally_batch(
        np.repeat(np.arange(windows), count),
        windows,
        CLUSTERS,
        cluster=clusters.ravel(),
        outliers=np.zeros(windows * count, dtype=np.bool_),
        coordinates=coordinates.reshape(windows * count, -1),
    )
    return [Tally(row, CLUSTERS) for row in values]


def judge(scorer: WindowScorer, tally: Tally, memory: VerdictMemory) -> tuple[Score, Verdict, VerdictMemory]:
    """Return a window's score and verdict, and the memory after it."""
    score = scorer.score(tally)
    assert score is not None
    is_significant_and_large = scorer.is_significant_and_large(score)
    after = update_memory(
        memory,
        is_significant_and_large=is_significant_and_large,
        p_value=score.p_value,
        slow_drift_limit=scorer.slow_drift_limit,
        segments={},
    )
    verdict = decide(
        memory.recent,
        is_significant_and_large=is_significant_and_large,
        has_slow_drift=after.slow_drift >= scorer.slow_drift_limit,
    )
    return score, verdict, after
