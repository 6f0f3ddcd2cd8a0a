"""Event-time windows of the vectors: splitting by whole ones, and the overdispersion."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.quality import MIN_RATIO, overdispersion_reading
from driftgauge.baseline.segments import Members
from driftgauge.core.durations import format_duration
from driftgauge.core.reference import SegmentReference
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.overdispersion import (
    MIN_WINDOWS,
    Overdispersion,
    OverdispersionEstimator,
)

__all__ = [
    "Traffic",
    "by_statistic",
    "has_enough_windows",
    "measure_overdispersion",
    "measure_segments",
    "observe",
    "report_ratio",
    "split_whole",
    "standardize",
]

# Bursts are visible in windows of five events per cluster on average. Smaller windows hide bursts: in a
# window of one event, every event looks independent.
EVENTS_PER_CLUSTER = 5

# Half of the windows are held out, and the overdispersion needs MIN_WINDOWS of these.
LEAST_WINDOWS = 2 * MIN_WINDOWS

# With this limit, the larger side of a split into halves has at most five eighths of the rows.
MAX_WINDOW_SHARE = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """The event-time windows of n vectors.

    Attributes:
        numbers: (n,), the window of each vector, numbered from 0 without gaps, in the order of time.
        starts_ms: (w,) int64, the start of each window, milliseconds since the epoch.
        window_ms: The length of the windows in milliseconds.
    """

    numbers: NDArray[np.intp]
    starts_ms: NDArray[np.int64]
    window_ms: int

    @classmethod
    def of(cls, times_ms: NDArray[np.int64], window_ms: int) -> "Traffic":
        """Return the traffic of n event times, (n,) int64 milliseconds, by the service's windows."""
        starts, numbers = np.unique(times_ms // window_ms, return_inverse=True)
        return cls(numbers, starts * window_ms, window_ms)

    @property
    def sizes(self) -> NDArray[np.intp]:
        """The number of vectors in each window, at least 1."""
        return np.bincount(self.numbers)

    @property
    def name(self) -> str:
        """The windows with their length, as messages name them."""
        return f"windows of {format_duration(self.window_ms)}"


def split_whole(
    numbers: NDArray[np.intp], target: int, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """Split n rows at random by whole windows or groups: the rows to fit on, the rows to count, both sorted.

    Whole windows keep bursts together, and whole groups what belongs together. A split by single
    events would put two or three events of a burst of five on each side, and the windows of either side would
    seem to vary less than they do.

    Args:
        numbers: (n,), the window or group of each row, from 0 without gaps.
        target: The number of rows to fit on, at most half; met to within half a window.
        seed: The seed of the choice of windows.

    Returns:
        The rows, or None if the windows are too few to measure the overdispersion, or if one
        holds more than a quarter of the rows.
    """
    sizes = np.bincount(numbers)
    if len(sizes) < LEAST_WINDOWS or sizes.max() > MAX_WINDOW_SHARE * len(numbers):
        return None
    order = np.random.default_rng(seed).permutation(len(sizes))
    cumulative = np.cumsum(sizes[order])
    is_fitted = np.isin(numbers, order[: int(np.abs(cumulative - target).argmin()) + 1])
    return np.flatnonzero(is_fitted), np.flatnonzero(~is_fitted)


def observe(
    numbers: NDArray[np.intp],
    ids: NDArray[np.intp],
    coordinates: NDArray[np.float64],
    clusters: int,
    columns: Mapping[str, NDArray[np.float64]],
    measured: Mapping[str, NDArray[Any]] | None = None,
) -> tuple[int, Overdispersion | None]:
    """Return the number of windows of m held-out vectors, and their overdispersion; None: they are too few.

    Args:
        numbers: (m,), the window of each vector. Windows of fewer than 5 k vectors are left out.
        ids: (m,), the cluster of each vector.
        coordinates: (m, r) float64, its coordinates along the components, from the mean of all, in units
            of their standard deviations (of their covariance's Cholesky factor, if that is not diagonal).
        clusters: k.
        columns: The numbers of `Statistic.columns` by the statistic's name, (m, w) float64 each.
        measured: What the service counts of each vector, by the fields of a tally; None: statistics that
            compare the events of a window with each other are left out.
    """
    numbers_of = np.hstack([coordinates, standardize(columns)])
    number, numbers, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
    counts = np.bincount(numbers * clusters + ids, minlength=len(number) * clusters).reshape(-1, clusters)
    sums = np.stack([np.bincount(numbers, weights=column) for column in numbers_of.T], axis=1)
    within = {
        each.name: each.by_windows(measured, numbers)
        for each in registry.STATISTICS
        if measured is not None and each.is_within_windows
    }
    components = coordinates.shape[1]

    def standardized(rows: NDArray[np.intp]) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Return the deviations of some windows together, in standard errors."""
        deviations = sums[rows].sum(axis=0) / math.sqrt(sizes[rows].sum())
        return deviations[:components], by_statistic(columns, deviations[components:])

    windows = OverdispersionEstimator.empty(clusters, components)
    large = np.flatnonzero(sizes >= EVENTS_PER_CLUSTER * clusters)
    for index in large:
        shift, others = standardized(np.array([index]))
        others |= {name: np.sqrt(squares[index]) for name, squares in within.items()}
        windows = windows.add(counts[index], shift, others)
    if len(large) < MIN_WINDOWS:
        return len(large), None
    return len(large), windows.overdispersion(counts[large].sum(axis=0), *standardized(large))


def standardize(columns: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return all columns, less their means, in standard deviations; 0 if they do not vary."""
    whole = np.hstack(list(columns.values()))
    deviations = whole.std(axis=0)
    deviations[deviations == 0] = np.inf
    return np.asarray((whole - whole.mean(axis=0)) / deviations)


def by_statistic(
    columns: Mapping[str, NDArray[np.float64]], values: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return the values of all columns, (w,), by the statistic."""
    ends = np.cumsum([each.shape[1] for each in columns.values()])
    return dict(zip(columns, np.split(values, ends[:-1]), strict=True))


def has_enough_windows(numbers: NDArray[np.intp], clusters: int) -> bool:
    """Return whether the overdispersion of k clusters can be measured on the windows of m vectors, (m,)."""
    sizes = np.bincount(numbers)
    return int((sizes >= EVENTS_PER_CLUSTER * clusters).sum()) >= MIN_WINDOWS


def measure_overdispersion(
    traffic: Traffic | None,
    windows: tuple[int, Overdispersion | None] | None,
    clusters: int,
    progress: Callable[[str], None],
) -> Overdispersion | None:
    """Return the overdispersion of the held-out windows; if None, progress receives reason and remedy."""
    number, overdispersion = windows or (0, None)
    if traffic is None:
        reason = "the vectors have no times; fit on events with timestamps (.jsonl)"
    elif windows is None and len(traffic.sizes) < LEAST_WINDOWS:
        reason = (
            f"the events are of {len(traffic.sizes)} {traffic.name}, and {LEAST_WINDOWS} are needed; give "
            "events of a longer time, or a shorter --window"
        )
    elif windows is None:
        share = traffic.sizes.max() / len(traffic.numbers)
        reason = (
            f"one of the {traffic.name} holds {share:.0%} of the events, and the maximum is a quarter; give "
            "events of more windows, or a shorter --window"
        )
    elif overdispersion is None:
        reason = (
            f"{number} held-out {traffic.name} have {EVENTS_PER_CLUSTER * clusters} events "
            f"or more, five per cluster, and {MIN_WINDOWS} are needed; give events of a longer time, a "
            "longer --window or fewer --clusters"
        )
    else:
        progress(
            f"{number} {traffic.name} held out: "
            f"{overdispersion_reading(overdispersion.counts, overdispersion.largest_mean)}; this calibrates "
            f"{traffic.name}, and others a warm_up, or the stream itself"
        )
        return overdispersion
    progress(
        f"warning: the overdispersion is not known, and p-values will not be calibrated for bursts: {reason}"
    )
    return None


def measure_segments(
    segments: Iterable[SegmentReference],
    members: Iterable[Members],
    numbers: NDArray[np.intp],
    ids: NDArray[np.intp],
    coordinates: NDArray[np.float64],
    columns: Mapping[str, NDArray[np.float64]],
    clusters: int,
    progress: Callable[[str], None],
) -> tuple[SegmentReference, ...]:
    """Return the segments with their overdispersion, if their windows are enough to measure it.

    Args:
        segments: The reference of each segment.
        members: The members of each segment among m held-out vectors.
        numbers: (m,), the window of each vector.
        ids: (m,), the cluster of each vector.
        coordinates: (m, r) float64, its coordinates along the components, relative to the mean.
        columns: As in `observe`.
        clusters: k.
        progress: Receives a line for each segment whose overdispersion is not known.
    """
    rows = {(member.key, member.value): member.rows for member in members}
    measured = []
    for segment in segments:
        own = rows[segment.key, segment.value]
        standardized = segment.standardized(coordinates[own])
        own_columns = {name: each[own] for name, each in columns.items()}
        windows, overdispersion = observe(numbers[own], ids[own], standardized, clusters, own_columns)
        if overdispersion is None:
            progress(
                f"segment {segment.key}={segment.value} has {EVENTS_PER_CLUSTER * clusters} events or more "
                f"in {windows} held-out windows; {MIN_WINDOWS} are needed: the overdispersion of the "
                f"whole stream is used, and the segment's p-values are not calibrated"
            )
        measured.append(replace(segment, overdispersion=overdispersion))
    return tuple(measured)


def report_ratio(traffic: Traffic, reference_count: int, progress: Callable[[str], None]) -> None:
    """Report the ratio of reference vectors to a median window's events; a low ratio is a warning."""
    typical = float(np.median(traffic.sizes))
    message = (
        f"{traffic.name} hold {typical:,.0f} events (the median), and the reference counts "
        f"{reference_count / typical:,.1f} times as many"
    )
    if reference_count < MIN_RATIO * typical:
        message = (
            f"warning: {message}: below {MIN_RATIO} times, the noise of the reference adds more than a "
            f"twentieth to that of each window; give more events, or use shorter windows"
        )
    progress(message)
