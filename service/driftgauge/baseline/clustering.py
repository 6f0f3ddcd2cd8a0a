"""k-means under either metric: the vectors it takes, their centroids, and their stability across seeds."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from driftgauge.baseline.moments import blocks, shrink
from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.errors import BaselineError
from driftgauge.progress import Track, WorkProgress, ignore_progress

__all__ = ["TooManyClustersError", "check_vectors", "find_centroids", "measure_stability", "named"]

# k-means ends in a local optimum, so the best of three runs is kept.
RUNS = 3

# Multiplications in one pass of full k-means, about 0.15 s of one core; mini-batches are used above it.
MAX_PASS = 2_000_000_000
MINI_BATCH = 4_096

# Centroids start near a fixed point, because only the scaling to unit length moves them.
MAX_SPHERICAL_ROUNDS = 50

# The stability is measured on as many trials as the fit has runs, each on a sample of this size at most.
TRIALS = RUNS
TRIAL_VECTORS = 5_000
TRIAL_VECTORS_PER_CLUSTER = 50

# Five vectors per cluster in each half, the usual minimum expectation for a chi-squared statistic.
VECTORS_PER_CLUSTER = 10

# Products and squares of larger values may not fit into float32.
MAX_VALUE = 1e15

# The most rows or clusters that a message names.
MAX_NAMED = 5


class TooManyClustersError(BaselineError):
    """The vectors do not fill as many clusters; `filled` of them is the most that may be possible."""

    def __init__(self, message: str, filled: int) -> None:
        super().__init__(message)
        self.filled = filled


def find_centroids(
    vectors: NDArray[np.float32],
    clusters: int,
    metric: DistanceMetric,
    seed: int,
    progress: Callable[[str], None],
    track: Track = ignore_progress,
) -> Centroids:
    """Return the centroids of the best of several runs of k-means on (n, d) vectors.

    Under the cosine metric this is spherical k-means (Dhillon and Modha, 2001), started from
    the result of plain k-means on vectors of unit length.

    Raises:
        TooManyClustersError: Too few of the vectors are distinct.
    """
    vectors = _scaled(vectors, metric)
    models = []
    track(WorkProgress("runs of k-means", 0, RUNS))
    for run, state in enumerate(np.random.SeedSequence(seed).generate_state(RUNS), start=1):
        model = _run(vectors, clusters, int(state))
        models.append(model)
        track(WorkProgress("runs of k-means", run, RUNS))
        progress(
            f"{type(model).__name__}, run {run} of {RUNS}: mean squared distance "
            f"{model.inertia_ / len(vectors):.6g} after {model.n_iter_} iterations"
        )
    best = min(models, key=lambda model: model.inertia_)
    centroids = _as_centroids(best, metric, vectors)
    _check_distinct(centroids, vectors)
    return centroids


def measure_stability(
    centroids: Centroids,
    vectors: NDArray[np.float32],
    fit_rows: NDArray[np.intp],
    reference_rows: NDArray[np.intp],
    seed: int,
    track: Track = ignore_progress,
) -> float:
    """Return the agreement of other seeds on the clusters: 1 for the same clusters, 0 for chance agreement.

    The stability is the mean adjusted Rand index (L. Hubert and P. Arabie, Comparing partitions, Journal
    of Classification 2, 1985) between the assignments by the centroids and by each trial. A trial is one
    run of k-means from another seed, on a random sample of the vectors that the centroids were fitted on.
    The trials take no more work than the fit and underestimate the agreement of complete fits a little:
    on 25,000 CIFAR-10 embeddings and 20 clusters, 0.71 to 0.82 against 0.77 to 0.99.

    Args:
        centroids: k centroids.
        vectors: (n, d) float32.
        fit_rows: The rows that the centroids were fitted on.
        reference_rows: The held-out rows, on which the assignments are compared.
        seed: The seed of the fit; the trials' are derived from it.
        track: Receives how many trials are done.
    """
    source = np.random.SeedSequence(seed).spawn(1)[0]
    random = np.random.default_rng(source)
    most = max(TRIAL_VECTORS, TRIAL_VECTORS_PER_CLUSTER * centroids.clusters)
    compared = vectors[_sample(reference_rows, most, random)]
    ids = centroids.assign(compared)
    agreements = []
    for number, state in enumerate(source.generate_state(TRIALS)):
        track(WorkProgress("trials of other seeds", number, TRIALS))
        part = _scaled(vectors[_sample(fit_rows, most, random)], centroids.metric)
        trial = _as_centroids(_run(part, centroids.clusters, int(state)), centroids.metric, part)
        agreements.append(adjusted_rand_score(ids, trial.assign(compared)))
    return float(np.mean(agreements))


def _scaled(vectors: NDArray[np.float32], metric: DistanceMetric) -> NDArray[np.float32]:
    """Return the vectors scaled to unit length under cosine, and unchanged otherwise."""
    if metric is DistanceMetric.COSINE:
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _sample(rows: NDArray[np.intp], most: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Return a random sample of at most `most` rows, sorted."""
    return rows if len(rows) <= most else np.sort(random.choice(rows, most, replace=False))


def _run(vectors: NDArray[np.float32], clusters: int, state: int) -> KMeans | MiniBatchKMeans:
    """Return the model of one run of k-means; of vectors with heavy tails, on vectors that are shrunk.

    Squares rule k-means, so each of the furthest vectors of a heavy tail becomes a cluster of its own.
    """
    if vectors.size * clusters > MAX_PASS:
        model = MiniBatchKMeans(clusters, n_init=1, batch_size=MINI_BATCH, random_state=state)
    else:
        model = KMeans(clusters, n_init=1, random_state=state)
    with warnings.catch_warnings():
        # _check_distinct reports fewer distinct vectors than clusters.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(vectors)
        if np.bincount(model.labels_, minlength=clusters).min() < VECTORS_PER_CLUSTER // 2:
            model.fit(shrink(vectors))
    return model


def _as_centroids(
    model: KMeans | MiniBatchKMeans, metric: DistanceMetric, vectors: NDArray[np.float32]
) -> Centroids:
    """Return the centroids of a run on these vectors."""
    centroids = Centroids(model.cluster_centers_, metric)
    return _settle_on_sphere(centroids, vectors) if metric is DistanceMetric.COSINE else centroids


def _settle_on_sphere(centroids: Centroids, vectors: NDArray[np.float32]) -> Centroids:
    """Return unit centroids, each in the direction of the sum of its unit vectors, at a fixed point."""
    values, ids = centroids.values, None
    for _ in range(MAX_SPHERICAL_ROUNDS):
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
        # The vectors of an empty cluster sum to zero; _check_distinct reports that cluster later.
        values = (values / np.where(lengths > 0, lengths, 1)).astype(np.float32)
        centroids = Centroids(values, DistanceMetric.COSINE)
        previous, ids = ids, centroids.assign(vectors)
        if previous is not None and (ids == previous).all():
            break
        values = np.stack(
            [vectors[ids == cluster].sum(axis=0, dtype=np.float64) for cluster in range(len(values))]
        )
    return centroids


def _check_distinct(centroids: Centroids, vectors: NDArray[np.float32]) -> None:
    """Check that every cluster has vectors among those that the centroids were fitted on.

    Raises:
        TooManyClustersError: A cluster is empty.
    """
    used = len(np.unique(centroids.assign(vectors)))
    if used < centroids.clusters:
        message = (
            f"k-means could fill only {used} of {centroids.clusters} clusters: too few of the "
            f"{len(vectors):,} vectors to fit on are distinct, or their squares are too small for float32; "
            f"give more varied vectors, scale them up"
        )
        raise TooManyClustersError(message, used)


def check_vectors(vectors: NDArray[np.float32], clusters: int) -> None:
    """Check that a baseline can be fitted on (n, d) float32 vectors.

    Raises:
        TooManyClustersError: There are too few vectors.
        BaselineError: Some vectors cannot be used; the message states the remedy.
    """
    needed = clusters * VECTORS_PER_CLUSTER
    if len(vectors) < needed:
        message = (
            f"{len(vectors):,} vectors are too few for {clusters} clusters, which need {needed:,}; give more "
            "vectors"
        )
        raise TooManyClustersError(message, len(vectors) // VECTORS_PER_CLUSTER)
    for rows in blocks(np.arange(len(vectors))):
        block = vectors[rows]
        # Comparisons with NaN are false, so this finds NaN and infinity as well.
        unusable = ~(np.abs(block) <= MAX_VALUE).all(axis=1)
        if unusable.any():
            message = (
                f"{named(rows[unusable], 'row')} hold NaN, infinity or values beyond {MAX_VALUE:g}; "
                f"remove these vectors or scale all of them"
            )
            raise BaselineError(message)


def named(numbers: NDArray[np.intp], noun: str, ids: Sequence[str | None] | None = None) -> str:
    """Return the noun and the first numbers, with their ids if known: "rows 3, 7 (a17), 9 and 12 more"."""
    first = ", ".join(
        f"{number} ({ids[number]})" if ids is not None and ids[number] is not None else str(number)
        for number in numbers[:MAX_NAMED].tolist()
    )
    more = f" and {len(numbers) - MAX_NAMED:,} more" if len(numbers) > MAX_NAMED else ""
    return f"{noun}s {first}{more}"
