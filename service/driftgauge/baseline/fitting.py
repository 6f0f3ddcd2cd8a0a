"""Fitting a baseline: how events are measured from one part of the vectors, what they show from the other.

Centroids, components and the clusters' means are fitted. The vectors that they were fitted on lie nearer to
them than new ones, so the counts and moments that windows are compared with are those of the held-out part.
"""

import logging
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.change import report_change
from driftgauge.baseline.clustering import (
    TooManyClustersError,
    check_vectors,
    find_centroids,
    measure_stability,
    named,
)
from driftgauge.baseline.groups import measure_groups, pool_sides, report_groups
from driftgauge.baseline.metadata import BaselineMetadata, faults
from driftgauge.baseline.moments import (
    blocks,
    find_cluster_means,
    leave_one_out_outliers,
    measure,
    moments,
    project,
    report_spreads,
)
from driftgauge.baseline.naming import describe_clusters, find_farthest, report_names
from driftgauge.baseline.quality import stability_reading
from driftgauge.baseline.screening import screen
from driftgauge.baseline.segments import Members, check_members, reference_segments
from driftgauge.baseline.windows import (
    Traffic,
    has_enough_windows,
    measure_overdispersion,
    measure_segments,
    observe,
    report_ratio,
    split_whole,
)
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.counting.hashing import HASH_BINS, SIGN_BINS
from driftgauge.core.counting.numbers import Number, NumberTally
from driftgauge.core.counting.projection import MAX_COMPONENTS
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.minor_shift import MINOR_DIRECTIONS
from driftgauge.core.statistics.novelty import NOVELTY, RADIUS_LEVEL
from driftgauge.core.statistics.spread import SPREAD, SPREAD_MOMENTS
from driftgauge.errors import BaselineError
from driftgauge.progress import Track, ignore_progress

__all__ = ["Provenance", "fit_baseline", "split_indices"]

_log = logging.getLogger(__name__)

# Half is held out, because the noise floor of every window has a term 1/m in the number m of reference
# vectors. Centroids are means of thousands of vectors and settle long before 100,000, so the rest joins
# the reference.
FIT_SHARE = 0.5
MAX_FIT = 100_000

QUANTILE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, RADIUS_LEVEL)


@dataclass(frozen=True, slots=True, eq=False)
class Provenance:
    """The origin of n vectors: times, segments, use in training, and what clusters are named by.

    Attributes:
        traffic: Their event-time windows; None if the times are not known.
        members: The members of each segment.
        training_set: Whether the model was trained on the data behind them.
        groups: (n,), the group of each, such as its document, from 0 without gaps; None if not known. The
            windows of `traffic` are used instead if enough of them have enough events.
        mixed_windows: A window's events come from many groups, a few from each.
        labels: n labels, such as classes, None for a vector without one: a cluster's name is its most
            frequent labels, as many as cover 80 % of its labelled vectors, three at most. Each covers a tenth
            or more of its vectors; a cluster without such a label has no name.
        texts: n texts, None for a vector without one: without labels, a cluster's name is the words that
            set its texts apart, three at most. A cluster whose texts are as all others has no name. With
            texts near-duplicates are found too.
        event_ids: n event ids, None for a vector without one: each cluster keeps those of the five
            vectors nearest to its centroid, and the baseline those of the five farthest. An id that is not
            printable or longer than 64 bytes is skipped.
        text_bytes: How much of the texts of these vectors is kept too, in UTF-8; 0: nothing.
        numbers: The values of each number beside the vectors, (n,) float64; NaN for a vector without one.
    """

    traffic: Traffic | None = None
    members: tuple[Members, ...] = ()
    training_set: bool = False
    groups: NDArray[np.intp] | None = None
    mixed_windows: bool = False
    labels: Sequence[str | None] | None = None
    texts: Sequence[str | None] | None = None
    event_ids: Sequence[str | None] | None = None
    text_bytes: int = 0
    numbers: Mapping[Number, NDArray[np.float64]] = field(default_factory=dict)


_UNKNOWN = Provenance()


def _log_progress(line: str) -> None:
    _log.log(
        logging.WARNING if line.startswith("warning: ") else logging.INFO, line.removeprefix("warning: ")
    )


def fit_baseline(  # noqa: PLR0913 - keywords, each with a default
    vectors: NDArray[np.float32],
    *,
    stream: str,
    model_version: str | None = None,
    clusters: int = 20,
    metric: DistanceMetric = DistanceMetric.EUCLIDEAN,
    seed: int = 0,
    created_ms: int | None = None,
    progress: Callable[[str], None] = _log_progress,
    track: Track = ignore_progress,
    provenance: Provenance = _UNKNOWN,
    keep_all: bool = False,
) -> Baseline:
    """Fit a baseline on (n, d) float32 vectors; the same input and seed give the same baseline.

    Args:
        vectors: Vectors of the stream without drift, in any order.
        stream: The stream whose events will be compared with the baseline.
        model_version: The version of the embedding model, if known.
        clusters: k, the number of clusters.
        metric: The distance that assigns vectors to clusters.
        seed: The seed of the split and of k-means, 0 or more.
        created_ms: The time of the fit, milliseconds since the epoch; None: the clock's.
        progress: Receives a line for each step, and for each warning, which begins with "warning: ". By
            default, the lines are logged.
        track: Receives how many runs of k-means are done.
        provenance: The times, segments, labels, texts and event ids of the vectors, and their use in
            training.
        keep_all: Keep rows that are zero, repeated, or far from all others; those of length zero only under
            the Euclidean metric. By default up to 1 % of all are left out, with a warning that names them,
            and more are an error.

    Raises:
        BaselineError: No sound baseline can be fitted; the message states the remedy.
    """
    try:
        metadata = BaselineMetadata(
            stream=stream,
            model_version=model_version,
            dimension=vectors.shape[1],
            clusters=clusters,
            metric=metric,
            # The counts follow.
            fitted_count=1,
            reference_count=1,
            window_ms=None,
            groups=None,
            training_set=provenance.training_set,
            stability=None,
            seed=seed,
            created_ms=SYSTEM_CLOCK.wall_ms() if created_ms is None else created_ms,
            versions={
                "numpy": np.__version__,
                "python": platform.python_version(),
                "scikit-learn": version("scikit-learn"),
            },
            text_bytes=provenance.text_bytes,
        )
    except ValidationError as error:
        message = f"the metadata is not valid: {faults(error)}"
        raise BaselineError(message) from error
    cluster = partial(_cluster, vectors, metric=metric, seed=seed, provenance=provenance, keep_all=keep_all)
    try:
        clustered = cluster(clusters, progress, track)
    except TooManyClustersError as error:
        fewer = _find_fewer(cluster, min(error.filled, clusters - 1))
        message = f"{error}{f', or use --clusters {fewer}' if fewer else ''}"
        raise BaselineError(message) from None
    traffic, centroids = provenance.traffic, clustered.centroids
    fit_rows, reference_rows = clustered.fit_rows, clustered.reference_rows
    ids, distances, members = clustered.ids, clustered.distances, clustered.members
    numbers, groups = clustered.windows, clustered.groups
    with threadpool_limits(limits=1):
        quantiles = np.stack(
            [np.quantile(distances[ids == cluster], QUANTILE_LEVELS) for cluster in range(clusters)]
        ).astype(np.float32)
        radii = quantiles[:, QUANTILE_LEVELS.index(RADIUS_LEVEL)]
        reference = moments(vectors, fit_rows, reference_rows)
        cluster_means = find_cluster_means(vectors, fit_rows, reference, centroids)
        coordinates = project(vectors, reference_rows, reference)
        # Texts are repeated with small changes, but few components have few signs.
        has_signs = provenance.texts is not None and 2 ** len(reference.variances) >= SIGN_BINS
        bins = SIGN_BINS if has_signs else HASH_BINS
        counted = measure(vectors, reference_rows, reference, centroids, radii, cluster_means, bins)
        outliers = leave_one_out_outliers(distances, ids)
        arrays = {
            name: array
            for each in registry.STATISTICS
            for name, array in each.fit(counted, outliers).items()
            if name in each.arrays
        }
        arrays[MINOR_DIRECTIONS] = reference.minor
        report_spreads(arrays[SPREAD_MOMENTS], reference, progress)
        # From the mean of the reference, which windows of it are compared with.
        standardized = (coordinates - coordinates.mean(axis=0)) / np.sqrt(reference.variances)
        columns = {
            each.name: found for each in registry.STATISTICS if (found := each.columns(counted)) is not None
        }
        if traffic is not None:
            report_ratio(traffic, len(reference_rows), progress)
            report_change(
                traffic,
                reference_rows,
                {
                    "clusters": (ids == cluster for cluster in range(clusters)),
                    "mean": coordinates.T,
                    "spread": np.hstack([columns[each.name] for each in (NOVELTY, SPREAD)]).T,
                },
                progress,
            )
        if groups is None:
            windows = (
                None if numbers is None else observe(numbers, ids, standardized, clusters, columns, counted)
            )
            overdispersion = measure_overdispersion(traffic, windows, clusters, progress)
        else:
            overdispersion = by_groups = measure_groups(
                groups,
                *pool_sides(
                    measure(vectors, fit_rows, reference, centroids, radii, cluster_means, bins),
                    counted,
                    np.sqrt(reference.variances) / reference.step,
                ),
            )
            report_groups(by_groups, progress, mixed_windows=provenance.mixed_windows)
        segments = reference_segments(
            members,
            ids,
            coordinates,
            _fit_segments(counted, outliers, members),
            clusters,
            progress,
        )
        # If the whole stream has too few windows of enough events, every segment has too few.
        if numbers is not None and overdispersion is not None:
            segments = measure_segments(
                segments, members, numbers, ids, coordinates, columns, clusters, progress
            )
        stability = measure_stability(centroids, vectors, fit_rows, reference_rows, seed, track)
        progress(f"stability {stability_reading(stability)}")
    descriptions = describe_clusters(
        reference_rows,
        ids,
        distances,
        clusters,
        labels=provenance.labels,
        texts=provenance.texts,
        event_ids=provenance.event_ids,
        text_bytes=provenance.text_bytes,
    )
    source = next((name for name in ("labels", "texts") if getattr(provenance, name) is not None), None)
    report_names(descriptions, progress, source=source, has_ids=any(provenance.event_ids or ()))
    is_of_windows = numbers is not None and overdispersion is not None
    return Baseline(
        metadata=metadata.model_copy(
            update={
                "fitted_count": len(fit_rows),
                "reference_count": len(reference_rows),
                "left_out": clustered.left_out,
                "stability": stability,
                "window_ms": traffic.window_ms if traffic is not None and is_of_windows else None,
                "groups": None if groups is None or overdispersion is None else overdispersion.windows,
                "mixed_windows": groups is not None and provenance.mixed_windows,
            }
        ),
        centroids=centroids,
        counts=clustered.counts,
        quantile_levels=np.array(QUANTILE_LEVELS),
        distance_quantiles=quantiles,
        mean=reference.mean,
        components=reference.components,
        variances=reference.variances,
        residual=np.array([reference.residual]),
        cluster_means=cluster_means,
        arrays=arrays,
        overdispersion=overdispersion,
        segments=segments,
        descriptions=descriptions,
        farthest=find_farthest(
            reference_rows,
            distances,
            radii[ids],
            texts=provenance.texts,
            event_ids=provenance.event_ids,
            text_bytes=provenance.text_bytes,
        ),
        numbers=_count_numbers(vectors, clustered, provenance.numbers, traffic, progress),
    )


def _count_numbers(
    vectors: NDArray[np.float32],
    clustered: "_Clustered",
    numbers: Mapping[Number, NDArray[np.float64]],
    traffic: Traffic | None,
    progress: Callable[[str], None],
) -> dict[str, NumberTally]:
    """Return the tally of each number over all vectors, and report its mean.

    Raises:
        BaselineError: No vector has a number.
    """
    if not numbers:
        return {}
    rows = np.concatenate([clustered.fit_rows, clustered.reference_rows])
    fitted, _ = _measure(clustered.centroids, vectors, clustered.fit_rows)
    ids, clusters = np.concatenate([fitted, clustered.ids]), len(clustered.counts)
    tallies = {}
    for number, values in numbers.items():
        between = 0.0
        if traffic is not None:
            of_windows = number.count(values, traffic.numbers, len(traffic.starts_ms))
            between = NumberTally(number, of_windows).variance_between
        tally = NumberTally(number, number.count(values[rows], ids, clusters), between)
        if not tally.count:
            message = f"no vector has a number {number.name!r}; correct the name, or leave out --number"
            raise BaselineError(message)
        progress(
            f"{number.name}: mean {tally.mean:.4g} of {tally.count:,} values, {tally.missing:,} missing, "
            f"{tally.clipped:,} outside {number.low:g} to {number.high:g}"
        )
        tallies[number.name] = tally
    return tallies


@dataclass(frozen=True, slots=True, eq=False)
class _Clustered:
    """The clusters of vectors, before anything else is measured of them.

    Attributes:
        left_out: How many rows are left out, by the reason.
        fit_rows: The rows that were fitted on.
        reference_rows: The m others.
        windows: (m,), the window of each, if windows are kept whole; None otherwise.
        groups: The group of each row, those that were fitted on first, if groups are; None otherwise.
        members: The members of each segment among the reference.
        centroids: k centroids.
        ids: (m,), the cluster of each.
        distances: (m,) float32, the distance to its centroid.
        counts: (k,) int64, how many are in each cluster.
    """

    left_out: dict[str, int]
    fit_rows: NDArray[np.intp]
    reference_rows: NDArray[np.intp]
    windows: NDArray[np.intp] | None
    groups: NDArray[np.intp] | None
    members: tuple[Members, ...]
    centroids: Centroids
    ids: NDArray[np.intp]
    distances: NDArray[np.float32]
    counts: NDArray[np.int64]


def _cluster(
    vectors: NDArray[np.float32],
    clusters: int,
    progress: Callable[[str], None],
    track: Track,
    *,
    metric: DistanceMetric,
    seed: int,
    provenance: Provenance,
    keep_all: bool,
) -> _Clustered:
    """Return the clusters of vectors; arguments as `fit_baseline`.

    Raises:
        TooManyClustersError: Fewer clusters may be possible.
        BaselineError: The vectors or another argument cannot be used.
    """
    check_vectors(vectors, clusters)
    _check_lengths(len(vectors), provenance)
    kept, left_out = screen(vectors, metric, provenance.event_ids, progress, keep_all=keep_all)
    windows_of, groups_of, *sides = _split(len(vectors), provenance, clusters, seed, progress)
    fit_rows, reference_rows = (rows[kept[rows]] for rows in sides)
    numbers = None if windows_of is None else windows_of[reference_rows]
    groups = (
        None
        if groups_of is None
        else np.unique(groups_of[np.concatenate([fit_rows, reference_rows])], return_inverse=True)[1]
    )
    members = tuple(member.of(reference_rows) for member in provenance.members)
    members = check_members(members, clusters, min(MAX_COMPONENTS, vectors.shape[1]), progress)
    progress(
        f"fitting {clusters} clusters on {len(fit_rows):,} vectors of {vectors.shape[1]} floats; "
        f"{len(reference_rows):,} others are held out as the reference"
    )
    # The number of threads changes the order of summation, and with it the last bits of the centroids and
    # the identity.
    with threadpool_limits(limits=1):
        centroids = find_centroids(vectors[fit_rows], clusters, metric, seed, progress, track)
        ids, distances = _measure(centroids, vectors, reference_rows)
    counts = _count(ids, clusters)
    return _Clustered(
        left_out, fit_rows, reference_rows, numbers, groups, members, centroids, ids, distances, counts
    )


def _find_fewer(cluster: Callable[[int, Callable[[str], None], Track], object], most: int) -> int | None:
    """Return a number of clusters, `most` or fewer, that the vectors allow; None without one."""
    while most > 1:
        try:
            cluster(most, lambda _: None, ignore_progress)
        except TooManyClustersError as error:
            most = min(error.filled, most - 1)
        except BaselineError:
            return None
        else:
            return most
    return None


def _fit_segments(
    counted: Mapping[str, NDArray[Any]], outliers: NDArray[np.bool_], members: Iterable[Members]
) -> dict[str, dict[str, NDArray[Any]]]:
    """Return the arrays of the statistics by the segment's name, from its members among the reference."""
    arrays = {}
    for member in members:
        own = {name: each[member.rows] for name, each in counted.items()}
        arrays[member.name] = {
            name: array
            for each in registry.STATISTICS
            if each.in_segments
            for name, array in each.fit(own, outliers[member.rows]).items()
            if name in each.segment_arrays
        }
    return arrays


def split_indices(count: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split the row numbers 0 to count - 1 at random: the rows to fit on, the reference rows.

    Both are sorted.
    """
    shuffled = np.random.default_rng(seed).permutation(count)
    fitted = min(int(count * FIT_SHARE), MAX_FIT)
    return np.sort(shuffled[:fitted]), np.sort(shuffled[fitted:])


def _check_lengths(count: int, provenance: Provenance) -> None:
    """Check that there are as many labels, texts and event ids as vectors.

    Raises:
        BaselineError: There are more or fewer.
    """
    columns = {name: getattr(provenance, name) for name in ("labels", "texts", "event_ids")}
    columns |= {f"values of {number.name}": values for number, values in provenance.numbers.items()}
    for name, column in columns.items():
        if column is not None and len(column) != count:
            message = (
                f"{len(column):,} {name.replace('_', ' ')} of {count:,} vectors; give one for each, None "
                f"if it is missing"
            )
            raise BaselineError(message)


def _split(
    count: int,
    provenance: Provenance,
    clusters: int,
    seed: int,
    progress: Callable[[str], None],
) -> tuple[NDArray[np.intp] | None, NDArray[np.intp] | None, NDArray[np.intp], NDArray[np.intp]]:
    """Split the rows by whole windows, by whole groups if windows are too few, else at random.

    Returns:
        The windows that are kept whole, (n,), or None; the groups, likewise; the rows to fit on, and the
        reference rows.
    """
    traffic, groups = provenance.traffic, provenance.groups
    target = min(int(count * FIT_SHARE), MAX_FIT)
    by_windows = None if traffic is None else split_whole(traffic.numbers, target, seed)
    are_enough = (
        traffic is not None
        and by_windows is not None
        and has_enough_windows(traffic.numbers[by_windows[1]], clusters)
    )
    if groups is not None and not are_enough:
        if (rows := split_whole(groups, target, seed)) is not None:
            return None, groups, *rows
        sizes = np.bincount(groups)
        progress(
            f"warning: the groups are not used: there are {len(sizes):,}, and the largest holds "
            f"{sizes.max() / count:.0%} of the vectors; give 40 groups or more, none with more than a quarter"
        )
    if traffic is not None and by_windows is not None:
        if groups is not None and are_enough:
            progress(f"{traffic.name} measure the overdispersion; the groups are not used")
        return traffic.numbers, None, *by_windows
    return None, None, *split_indices(count, seed)


def _count(ids: NDArray[np.intp], clusters: int) -> NDArray[np.int64]:
    """Return the histogram of cluster ids, (k,) int64.

    Raises:
        TooManyClustersError: A cluster is empty.
    """
    counts = np.bincount(ids, minlength=clusters).astype(np.int64)
    if (counts == 0).any():
        message = (
            f"{named(np.flatnonzero(counts == 0), 'cluster')} of {clusters} hold none of the {len(ids):,} "
            f"held-out vectors; give more vectors"
        )
        raise TooManyClustersError(message, int(np.count_nonzero(counts)))
    return counts


def _measure(
    centroids: Centroids, vectors: NDArray[np.float32], rows: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the cluster of each row, as the service assigns it, and the distance to its centroid."""
    ids = np.concatenate([centroids.assign(vectors[block]) for block in blocks(rows)])
    pairs = zip(blocks(rows), blocks(ids), strict=True)
    return ids, np.concatenate([centroids.distances(vectors[block], own) for block, own in pairs])
