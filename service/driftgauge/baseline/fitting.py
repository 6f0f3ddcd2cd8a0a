"""Fitting a baseline: centroids on one part of the vectors, everything counted on the other."""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.checks import check_vectors, named, or_fewer
from driftgauge.baseline.clustering import find_centroids, measure_stability
from driftgauge.baseline.metadata import BaselineMetadata, faults
from driftgauge.baseline.moments import blocks, moments, project
from driftgauge.baseline.quality import stability_reading
from driftgauge.baseline.segments import Members, check_members, reference_segments
from driftgauge.baseline.windows import (
    Traffic,
    measure_dependence,
    measure_segments,
    observe,
    split_windows,
    tell_ratio,
)
from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.counting.projection import MAX_COMPONENTS
from driftgauge.errors import BaselineError

__all__ = ["Provenance", "fit_baseline", "split_indices"]

# Half is held out. The noise floor of every window to come has the term 1/m in the number m of
# vectors counted, so many belong there; centroids are means of thousands and settle long before
# 100,000 vectors, so all above that are counted as well.
FIT_SHARE = 0.5
MAX_FIT = 100_000

QUANTILE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True, eq=False)
class Provenance:
    """What is known of n vectors beside their values.

    Attributes:
        traffic: When they came; None where that is not known.
        members: Which of them belong to which segment.
        training_set: Whether the model was trained on the very data behind them.
    """

    traffic: Traffic | None = None
    members: tuple[Members, ...] = ()
    training_set: bool = False


_UNKNOWN = Provenance()


def fit_baseline(
    vectors: NDArray[np.float32],
    *,
    stream: str,
    model_version: str | None,
    clusters: int = 20,
    metric: DistanceMetric = DistanceMetric.EUCLIDEAN,
    seed: int = 0,
    created_ms: int,
    progress: Callable[[str], None],
    provenance: Provenance = _UNKNOWN,
) -> Baseline:
    """Fit a baseline on (n, d) float32 vectors; the same input and seed give the same baseline.

    Args:
        vectors: What the stream looks like when all is well, in any order.
        stream: The stream whose events it will judge.
        model_version: The version of the embedding model, where known.
        clusters: k, the number of clusters.
        metric: What "nearest" means.
        seed: The seed of the split and of k-means, 0 or more.
        created_ms: Now, milliseconds since the epoch.
        progress: Is told in a line what is being done, and what to be warned of.
        provenance: What else is known of the vectors.

    Raises:
        BaselineError: No sound baseline can be fitted; the message says what would help.
    """
    check_vectors(vectors, clusters, metric)
    traffic = provenance.traffic
    target = min(int(len(vectors) * FIT_SHARE), MAX_FIT)
    by_windows = None if traffic is None else split_windows(traffic, target, seed)
    fit_rows, reference_rows = by_windows or split_indices(len(vectors), seed)
    members = tuple(member.of(reference_rows) for member in provenance.members)
    members = check_members(members, clusters, min(MAX_COMPONENTS, vectors.shape[1]), progress)
    try:
        metadata = BaselineMetadata(
            stream=stream,
            model_version=model_version,
            dimension=vectors.shape[1],
            clusters=clusters,
            metric=metric,
            fitted_count=len(fit_rows),
            reference_count=len(reference_rows),
            window_ms=None,
            training_set=provenance.training_set,
            stability=None,
            seed=seed,
            created_ms=created_ms,
            versions={
                "numpy": np.__version__,
                "python": platform.python_version(),
                "scikit-learn": version("scikit-learn"),
            },
        )
    except ValidationError as error:
        msg = f"the baseline cannot be named so: {faults(error)}"
        raise BaselineError(msg) from error
    progress(
        f"fitting {clusters} clusters on {len(fit_rows):,} vectors of {vectors.shape[1]} floats; "
        f"{len(reference_rows):,} others are held out to be counted"
    )
    # Threads add up their parts in another order than one would, which changes the last bits of
    # the centroids, and with them the counts and the identity.
    with threadpool_limits(limits=1):
        centroids = find_centroids(vectors[fit_rows], clusters, metric, seed, progress)
        progress("counting the vectors held out")
        ids, distances = _measure(centroids, vectors, reference_rows)
        counts = _count(ids, clusters)
        reference = moments(vectors, reference_rows)
        along = project(vectors, reference_rows, reference)
        numbers = windows = None
        if traffic is not None:
            tell_ratio(traffic, len(reference_rows), progress)
            if by_windows is not None:
                numbers = traffic.numbers[reference_rows]
                windows = observe(numbers, ids, along / np.sqrt(reference.variances), clusters)
        overdispersion = measure_dependence(traffic, windows, clusters, progress)
        segments = reference_segments(members, ids, along, clusters, progress)
        # Where the whole has too few windows of enough events, so has each part of it.
        if numbers is not None and overdispersion is not None:
            segments = measure_segments(segments, members, numbers, ids, along, clusters, progress)
        progress("trying other seeds")
        stability = measure_stability(centroids, vectors, fit_rows, reference_rows, seed)
        progress(f"stability {stability_reading(stability)}")
    window_ms = None if traffic is None or overdispersion is None else traffic.window_ms
    return Baseline(
        metadata=metadata.model_copy(update={"stability": stability, "window_ms": window_ms}),
        centroids=centroids,
        counts=counts,
        quantile_levels=np.array(QUANTILE_LEVELS),
        distance_quantiles=np.stack(
            [np.quantile(distances[ids == cluster], QUANTILE_LEVELS) for cluster in range(clusters)]
        ).astype(np.float32),
        mean=reference.mean,
        components=reference.components,
        variances=reference.variances,
        overdispersion=overdispersion,
        segments=segments,
    )


def split_indices(count: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split the row numbers 0 to count - 1 at random: the rows to fit on, the rows to count.

    Both are sorted: which rows they are is random, and the order says nothing.
    """
    shuffled = np.random.default_rng(seed).permutation(count)
    fitted = min(int(count * FIT_SHARE), MAX_FIT)
    return np.sort(shuffled[:fitted]), np.sort(shuffled[fitted:])


def _count(ids: NDArray[np.intp], clusters: int) -> NDArray[np.int64]:
    """Return the histogram of cluster ids, (k,) int64.

    Raises:
        BaselineError: A cluster is empty.
    """
    counts = np.bincount(ids, minlength=clusters).astype(np.int64)
    if (counts == 0).any():
        msg = (
            f"{named(np.flatnonzero(counts == 0), 'cluster')} of {clusters} hold none of the {len(ids):,} "
            f"vectors held out; give more vectors{or_fewer(int(np.count_nonzero(counts)))}"
        )
        raise BaselineError(msg)
    return counts


def _measure(
    centroids: Centroids, vectors: NDArray[np.float32], rows: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the cluster of each of some rows, as the service would find it, and the distance to it."""
    ids, distances = [], []
    for block in blocks(rows):
        found = vectors[block]
        nearest = centroids.assign(found)
        ids.append(nearest)
        distances.append(centroids.distances(found, nearest))
    return np.concatenate(ids), np.concatenate(distances)
