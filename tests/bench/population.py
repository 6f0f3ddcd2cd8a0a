"""What `power.py` and `budget.py` share: windows, baselines and the stream's configuration."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.moments import find_cluster_means, leave_one_out_outliers, measure, moments
from driftgauge.core.counting.assignment import Centroids
from driftgauge.core.counting.hashing import HASH_BINS, hash_vectors
from driftgauge.core.counting.measurement import MeasuredEvents
from driftgauge.core.counting.projection import SPREADS
from driftgauge.core.counting.tally import tally_batch
from driftgauge.core.reference import Reference
from driftgauge.core.spec import Alarm, ScheduledBaseline, StreamSpec
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.budget import window_level
from driftgauge.core.statistics.duplicates import HASH_COUNTS
from driftgauge.core.statistics.novelty import RADIUS_LEVEL
from driftgauge.core.statistics.relations import RELATIONS
from driftgauge.core.statistics.spread import SPREAD, SPREAD_MOMENTS

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

    def reference(self, rows: NDArray[np.intp], fitted: NDArray[np.intp] | None = None) -> Reference:
        """Return the baseline of some rows.

        Args:
            rows: The rows of the reference vectors.
            fitted: The rows that the components are fitted on; None: the same rows, without moments and
                radii, so that novelty, spread and relations are not tested.
        """
        basis, others = (rows, None) if fitted is None else (fitted, rows)
        found = moments(self.vectors, basis, others)
        cluster_means = find_cluster_means(self.vectors, basis, found, self.centroids)
        radii = np.full(CLUSTERS, np.inf, dtype=np.float32)
        arrays = {HASH_COUNTS: np.bincount(hash_vectors(self.vectors[rows]), minlength=HASH_BINS)}
        arrays[SPREAD_MOMENTS] = np.zeros((5, SPREADS))
        if fitted is not None:
            own = self.clusters[rows]
            distances = self.centroids.distances(self.vectors[rows], own)
            radii = np.array(
                [np.quantile(distances[own == cluster], RADIUS_LEVEL) for cluster in range(CLUSTERS)],
                np.float32,
            )
            counted = measure(self.vectors, rows, found, self.centroids, radii, cluster_means)
            outliers = leave_one_out_outliers(distances, own)
            arrays |= SPREAD.fit(counted, outliers) | RELATIONS.fit(counted, outliers)
        return Reference(
            baseline_id="sha256:bench",
            centroids=self.centroids,
            counts=np.bincount(self.clusters[rows], minlength=CLUSTERS).astype(np.int64),
            mean_count=len(rows) if fitted is None else len(rows) + len(fitted),
            covariance_count=len(basis),
            radii=radii,
            projection=found,
            cluster_means=cluster_means,
            mean=np.zeros(len(found.variances)),
            arrays=arrays,
            overdispersion=None,
            overdispersion_ms=None,
            segments=(),
        )

    def tallies(self, reference: Reference) -> NDArray[np.int64]:
        """Return the tally of each vector by itself, (N, length) int64, which windows add."""
        events = events_of(reference, self.vectors)
        measured = [added for each in registry.counted(reference.arrays) for added in each.measure(events)]
        rows = np.arange(len(self.vectors))
        return tally_batch(rows, len(rows), registry.fields_of(reference), measured)


def events_of(reference: Reference, vectors: NDArray[np.float32]) -> MeasuredEvents:
    """Return vectors as a baseline measures them."""
    return MeasuredEvents(
        vectors,
        reference.centroids.assign(vectors),
        reference.centroids,
        reference.radii,
        reference.projection,
        reference.cluster_means,
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
        alarm=Alarm(
            window_level(budget, [size_ms]), {each.name: each.smallest for each in registry.STATISTICS}
        ),
    )
