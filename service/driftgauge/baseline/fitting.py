"""Fitting a baseline: centroids on one part of the vectors, everything counted on the other."""

import platform
import warnings
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from driftgauge.baseline.artifact import Baseline, BaselineMetadata, faults
from driftgauge.baseline.moments import blocks, moments
from driftgauge.core.assignment import Centroids, Metric
from driftgauge.errors import BaselineError

__all__ = ["fit_baseline", "split_indices"]

# Half is held out. The noise floor of every window to come has the term 1/m in the number m of
# vectors counted, so many belong there; centroids are means of thousands and settle long before
# 100,000 vectors, so all above that are counted as well.
FIT_SHARE = 0.5
MAX_FIT = 100_000

# Five vectors a cluster in each half, the usual least expectation for a chi-squared statistic.
VECTORS_PER_CLUSTER = 10

# k-means ends in a local optimum; the best of three starts is kept.
RUNS = 3

# Multiplications in one pass of full k-means, about 0.15 s of one core; mini-batches above it.
MAX_PASS = 2_000_000_000
MINI_BATCH = 4_096

# Rounds in which centroids scaled to unit length settle; they start at a fixed point but for the scaling.
MAX_SPHERICAL_ROUNDS = 50

QUANTILE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

# Products and squares of larger values may not fit into float32.
MAX_VALUE = 1e15

# How many rows or clusters an error names.
MAX_NAMED = 5


def fit_baseline(
    vectors: NDArray[np.float32],
    *,
    stream: str,
    model_version: str | None,
    clusters: int = 20,
    metric: Metric = Metric.EUCLIDEAN,
    seed: int = 0,
    created_ms: int,
    progress: Callable[[str], None],
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
        progress: Is told in a line what is being done.

    Raises:
        BaselineError: No sound baseline can be fitted; the message says what would help.
    """
    _check_vectors(vectors, clusters, metric)
    fit_rows, reference_rows = split_indices(len(vectors), seed)
    try:
        metadata = BaselineMetadata(
            stream=stream,
            model_version=model_version,
            dimension=vectors.shape[1],
            clusters=clusters,
            metric=metric,
            fitted_count=len(fit_rows),
            reference_count=len(reference_rows),
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
        centroids = _fit_centroids(vectors[fit_rows], clusters, metric, seed, progress)
        progress("counting the vectors held out")
        ids, distances = _measure(centroids, vectors, reference_rows)
        counts = np.bincount(ids, minlength=clusters)
        if (counts == 0).any():
            remedy = f"give more vectors{_or_fewer(int(np.count_nonzero(counts)))}"
            msg = (
                f"{_named(np.flatnonzero(counts == 0), 'cluster')} of {clusters} hold none of the "
                f"{len(reference_rows):,} vectors held out; {remedy}"
            )
            raise BaselineError(msg)
        reference = moments(vectors, reference_rows)
    return Baseline(
        metadata=metadata,
        centroids=centroids,
        counts=counts.astype(np.int64),
        quantile_levels=np.array(QUANTILE_LEVELS),
        distance_quantiles=np.stack(
            [np.quantile(distances[ids == cluster], QUANTILE_LEVELS) for cluster in range(clusters)]
        ).astype(np.float32),
        mean=reference.mean,
        components=reference.components,
        variances=reference.variances,
    )


def split_indices(count: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split the row numbers 0 to count - 1 at random: the rows to fit on, the rows to count.

    Both are sorted: which rows they are is random, and the order says nothing.
    """
    shuffled = np.random.default_rng(seed).permutation(count)
    fitted = min(int(count * FIT_SHARE), MAX_FIT)
    return np.sort(shuffled[:fitted]), np.sort(shuffled[fitted:])


def _check_vectors(vectors: NDArray[np.float32], clusters: int, metric: Metric) -> None:
    """Refuse vectors that no baseline can be fitted on.

    Raises:
        BaselineError: With what would help.
    """
    if clusters < 2:  # noqa: PLR2004
        msg = f"{clusters} clusters are too few to compare histograms; use --clusters 2 or more"
        raise BaselineError(msg)
    needed = clusters * VECTORS_PER_CLUSTER
    if len(vectors) < needed:
        most = len(vectors) // VECTORS_PER_CLUSTER
        remedy = f"give more vectors, or use --clusters {most} or fewer" if most > 1 else "give more vectors"
        msg = f"{len(vectors):,} vectors are too few for {clusters} clusters, which need {needed:,}; {remedy}"
        raise BaselineError(msg)
    for rows in blocks(np.arange(len(vectors))):
        block = vectors[rows]
        # A comparison with NaN is false, so this finds what is not finite as well.
        unusable = ~(np.abs(block) <= MAX_VALUE).all(axis=1)
        if unusable.any():
            msg = (
                f"{_named(rows[unusable], 'row')} hold NaN, infinity or values beyond {MAX_VALUE:g}; "
                f"remove these vectors or scale all of them"
            )
            raise BaselineError(msg)
        zero = np.linalg.norm(block, axis=1) == 0
        if metric is Metric.COSINE and zero.any():
            msg = (
                f"{_named(rows[zero], 'row')} are of length zero in float32 and have no direction, which "
                f"the cosine metric compares; remove these vectors or use --metric euclidean"
            )
            raise BaselineError(msg)
    if (vectors.max(axis=0) == vectors.min(axis=0)).all():
        msg = f"all {len(vectors):,} vectors are the same; give the model's vectors of varied inputs"
        raise BaselineError(msg)


def _fit_centroids(
    vectors: NDArray[np.float32], clusters: int, metric: Metric, seed: int, progress: Callable[[str], None]
) -> Centroids:
    """Return the centroids of the best of several runs of k-means on (n, d) vectors.

    Under the cosine metric this is spherical k-means (Dhillon and Modha, 2001), begun where plain
    k-means on vectors of unit length ends.
    """
    if metric is Metric.COSINE:
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    models = []
    for run, state in enumerate(np.random.SeedSequence(seed).generate_state(RUNS), start=1):
        if vectors.size * clusters > MAX_PASS:
            model = MiniBatchKMeans(clusters, n_init=1, batch_size=MINI_BATCH, random_state=int(state))
        else:
            model = KMeans(clusters, n_init=1, random_state=int(state))
        with warnings.catch_warnings():
            # Fewer distinct vectors than clusters: found and explained by _check_distinct.
            warnings.simplefilter("ignore", ConvergenceWarning)
            models.append(model.fit(vectors))
        progress(
            f"{type(model).__name__}, run {run} of {RUNS}: mean squared distance "
            f"{model.inertia_ / len(vectors):.6g} after {model.n_iter_} iterations"
        )
    best = min(models, key=lambda model: model.inertia_)
    centroids = Centroids(best.cluster_centers_, metric)
    if metric is Metric.COSINE:
        centroids = _settle_on_sphere(centroids, vectors)
    _check_distinct(centroids, vectors)
    return centroids


def _settle_on_sphere(centroids: Centroids, vectors: NDArray[np.float32]) -> Centroids:
    """Return unit centroids, each the direction of the sum of its unit vectors, once they settle."""
    values, ids = centroids.values, None
    for _ in range(MAX_SPHERICAL_ROUNDS):
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
        # An empty cluster sums to zero; left so, it stays empty and is reported.
        values = (values / np.where(lengths > 0, lengths, 1)).astype(np.float32)
        centroids = Centroids(values, Metric.COSINE)
        previous, ids = ids, centroids.assign(vectors)
        if previous is not None and (ids == previous).all():
            break
        values = np.stack(
            [vectors[ids == cluster].sum(axis=0, dtype=np.float64) for cluster in range(len(values))]
        )
    return centroids


def _check_distinct(centroids: Centroids, vectors: NDArray[np.float32]) -> None:
    """Refuse centroids that leave a cluster empty on the very vectors they were fitted on.

    Raises:
        BaselineError: With the number of clusters that the vectors allow.
    """
    used = len(np.unique(centroids.assign(vectors)))
    if used < centroids.clusters:
        msg = (
            f"k-means could fill only {used} of {centroids.clusters} clusters: too few of the "
            f"{len(vectors):,} vectors to fit on are distinct, or their squares are too small for float32; "
            f"give more varied vectors, scale them up{_or_fewer(used)}"
        )
        raise BaselineError(msg)


def _measure(
    centroids: Centroids, vectors: NDArray[np.float32], rows: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the cluster of each of some rows, as the service would find it, and the distance to it."""
    ids, distances = [], []
    for block in blocks(rows):
        found = vectors[block]
        nearest = centroids.assign(found)
        own = centroids.values[nearest]
        if centroids.metric is Metric.COSINE:
            cosine = np.einsum("nd,nd->n", found, own) / np.linalg.norm(found, axis=1)
            # Rounding can put a cosine a little above 1.
            distance = np.maximum(1 - cosine, 0)
        else:
            distance = np.linalg.norm(found - own, axis=1)
        ids.append(nearest)
        distances.append(distance)
    return np.concatenate(ids), np.concatenate(distances)


def _or_fewer(clusters: int) -> str:
    """Return the remedy of asking for so many clusters, where two are left at least."""
    return f", or use --clusters {clusters} or fewer" if clusters > 1 else ""


def _named(numbers: NDArray[np.intp], noun: str) -> str:
    """Return e.g. "rows 3, 7, 9 and 12 more"."""
    first = ", ".join(str(number) for number in numbers[:MAX_NAMED])
    more = f" and {len(numbers) - MAX_NAMED:,} more" if len(numbers) > MAX_NAMED else ""
    return f"{noun}s {first}{more}"
