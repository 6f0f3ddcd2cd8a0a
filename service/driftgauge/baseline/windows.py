"""Event-time windows and groups of the vectors: splitting by whole ones, overdispersion, change over time."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.quality import MIN_RATIO, overdispersion_reading
from driftgauge.baseline.segments import Members
from driftgauge.core.counting.tally import CLUSTER_COUNTS
from driftgauge.core.durations import format_duration
from driftgauge.core.reference import SegmentReference
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.mean_shift import CLIPPED_COORDINATE_SUMS
from driftgauge.core.statistics.overdispersion import (
    MIN_WINDOWS,
    Overdispersion,
    OverdispersionEstimator,
)
from driftgauge.errors import InputError
from driftgauge.events.timestamps import format_timestamp

__all__ = [
    "Traffic",
    "groups_of_ids",
    "has_enough_windows",
    "measure_groups",
    "measure_overdispersion",
    "measure_segments",
    "number_groups",
    "observe",
    "pool",
    "pool_sides",
    "report_change",
    "report_groups",
    "report_ratio",
    "split_whole",
]

# Bursts are visible in windows of five events per cluster on average. Smaller windows hide bursts: in a
# window of one event, every event looks independent.
EVENTS_PER_CLUSTER = 5

# Half of the windows are held out, and the overdispersion needs MIN_WINDOWS of these.
LEAST_WINDOWS = 2 * MIN_WINDOWS

# With this limit, the larger side of a split into halves has at most five eighths of the rows.
MAX_WINDOW_SHARE = 0.25

# Fewer blocks would not find a change in the last seventh. More would cut days into parts, among whose
# orders the last weekend of two weeks stands out.
_BLOCKS = 24

# About one fit in 200 whose blocks are in random order passes one of the tests.
_ORDERS = 3_000
_MOST_AS_LARGE = 15

# Of equal sums of another order, rounding makes one the larger.
_ROUNDING = 1e-9

# A prefix that few ids share says nothing of how vectors belong together.
_LEAST_SHARED = 0.5
_ALL_BUT_LAST = re.compile(r".+[-_/:#.](?=[^-_/:#.]*$)")

# A smaller change is not worth finding, see `SmallestDrift`, and so cannot hide one that is: the squared
# length of a shift of the mean, and about that of the shares at a divergence of 0.01.
_SMALLEST = 0.05


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
        The rows, or None where the windows are too few to measure the overdispersion, or where one
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
            of their standard deviations (of their covariance's Cholesky factor, where that is not diagonal).
        clusters: k.
        columns: The numbers of `Statistic.columns` by the statistic's name, (m, w) float64 each.
        measured: What the service counts of each vector, by the fields of a tally; None: statistics that
            compare the events of a window with each other are left out.
    """
    numbers_of = np.hstack([coordinates, _standardize(columns)])
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
        return deviations[:components], _by_statistic(columns, deviations[components:])

    windows = OverdispersionEstimator.empty(clusters, components)
    large = np.flatnonzero(sizes >= EVENTS_PER_CLUSTER * clusters)
    for index in large:
        shift, others = standardized(np.array([index]))
        others |= {name: np.sqrt(squares[index]) for name, squares in within.items()}
        windows = windows.add(counts[index], shift, others)
    if len(large) < MIN_WINDOWS:
        return len(large), None
    return len(large), windows.overdispersion(counts[large].sum(axis=0), *standardized(large))


def _standardize(columns: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return all columns, less their means, in standard deviations; 0 where they do not vary."""
    whole = np.hstack(list(columns.values()))
    deviations = whole.std(axis=0)
    deviations[deviations == 0] = np.inf
    return np.asarray((whole - whole.mean(axis=0)) / deviations)


def _by_statistic(
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
    """Return the overdispersion of the held-out windows; where None, progress receives reason and remedy."""
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
    """Return the segments with their overdispersion, where their windows are enough to measure it.

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


def report_change(
    traffic: Traffic,
    rows: NDArray[np.intp],
    measured: Mapping[str, Iterable[NDArray[Any]]],
    progress: Callable[[str], None],
) -> None:
    """Report the largest changes between the windows of m held-out vectors, unless they may be chance.

    The statistic is the squared difference between the means before and after a window, in standard errors of
    independent vectors, summed over the columns and at its largest. Its significance is the share of orders
    of the blocks of windows whose statistic is as large. After bursts all orders vary as much; a cycle of two
    periods or more, which returns to where it was, varies less than most.

    Args:
        traffic: The windows of all vectors.
        rows: (m,), the rows of the held-out vectors.
        measured: What may change, by its name in the warning: columns, (m,) each.
        progress: Receives the warning.
    """
    numbers, windows = traffic.numbers[rows], len(traffic.starts_ms)
    sizes = np.bincount(numbers, minlength=windows)
    starts = np.unique(np.arange(_BLOCKS) * windows // _BLOCKS)
    most = _MOST_AS_LARGE // len(measured)
    changes = []
    for name, columns in measured.items():
        # The sizes come first, so that they are permuted with the sums.
        series = np.stack(
            [sizes, *(_standardized_sums(column, numbers, sizes) for column in columns)], axis=1
        )
        blocks = np.add.reduceat(series, starts)
        least = _differences(blocks).max(initial=0) * (1 - _ROUNDING)
        random = np.random.default_rng(0)
        # The order of the blocks themselves is one.
        orders = (_differences(random.permutation(blocks)).max(initial=0) for _ in range(_ORDERS - 1))
        if sum(order >= least for order in orders) >= most:
            continue
        first = 1 + int(_differences(series).argmax())
        before, after = series[:first].sum(axis=0), series[first:].sum(axis=0)
        square = float(np.square(before[1:] / before[0] - after[1:] / after[0]).sum())
        if square >= _SMALLEST:
            start = format_timestamp(int(traffic.starts_ms[first]))
            changes.append(f"their {name} near {start} by {square**0.5:.2f} standard deviations")
    if changes:
        progress(
            f"warning: the vectors change, {', '.join(changes)}: this is more than bursts or cycles explain, "
            f"and a baseline of both sides hides drift of this size; give the vectors of one side alone, or, "
            f"where the sides are parts of a cycle such as a week, those of two cycles or more"
        )


def _standardized_sums(
    column: NDArray[Any], numbers: NDArray[np.intp], sizes: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the sum of each window, (w,), of (m,) numbers from their mean, in standard deviations."""
    sums = np.bincount(numbers, column, len(sizes))
    standardized: NDArray[np.float64] = (sums - sizes * column.mean()) / (column.std() or np.inf)
    return standardized


def _differences(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the statistic before each row but the first, of (n, 1 + c) sizes and standardized sums."""
    before = series.cumsum(axis=0)
    sizes, sums = before[:-1, 0], before[:-1, 1:]
    scale = np.maximum(sizes * (1 - sizes / before[-1, 0]), 1)
    differences: NDArray[np.float64] = np.square(sums).sum(axis=1) / scale
    return differences


def groups_of_ids(event_ids: Sequence[str | None] | None) -> NDArray[np.intp] | None:
    """Return the groups of n vectors whose ids share all but their last part, (n,), from 0 without gaps.

    The parts are separated by - _ / : # or a dot: document-7#2 and document-7#3 are of one group. A vector
    without an id, or with an id of one part, is a group of its own.

    Returns:
        The groups; None where there are no ids, where fewer than half of the vectors share their group, and
        where the groups are too few or too large to be measured.
    """
    if event_ids is None:
        return None
    names = [
        row if event_id is None or not (match := _ALL_BUT_LAST.match(event_id)) else match[0]
        for row, event_id in enumerate(event_ids)
    ]
    numbers: dict[str | int, int] = {}
    groups = np.fromiter((numbers.setdefault(name, len(numbers)) for name in names), np.intp, len(names))
    sizes = np.bincount(groups)
    are_shared = sizes[sizes > 1].sum() >= _LEAST_SHARED * len(names)
    are_many = len(sizes) >= LEAST_WINDOWS and sizes.max() <= MAX_WINDOW_SHARE * len(names)
    return groups if are_shared and are_many else None


def number_groups(
    labels: Sequence[Mapping[str, str]] | None, key: str, progress: Callable[[str], None]
) -> NDArray[np.intp]:
    """Return the group of each of n vectors by a segment key, (n,), from 0 without gaps.

    A vector without the key is a group of its own; their share is a warning.

    Raises:
        InputError: No vector has the key; the message states the remedy.
    """
    if labels is None or not any(key in own for own in labels):
        message = (
            f"no vector has a group {key!r}; name a segment key of the events, or a column of a table, or "
            "leave out --group"
        )
        raise InputError(message)
    alone = sum(key not in own for own in labels)
    if alone:
        progress(
            f"warning: {alone / len(labels):.1%} of the vectors have no {key}; each is a group of its own"
        )
    numbers: dict[str | int, int] = {}
    own = (labels_of.get(key, row) for row, labels_of in enumerate(labels))
    return np.fromiter((numbers.setdefault(name, len(numbers)) for name in own), np.intp, len(labels))


def measure_groups(
    groups: NDArray[np.intp],
    ids: NDArray[np.intp],
    coordinates: NDArray[np.float64],
    columns: Mapping[str, NDArray[np.float64]],
    measured: Mapping[str, NDArray[Any]],
    first: int = 0,
) -> Overdispersion:
    """Return the overdispersion by groups.

    The design effect of a sample of whole groups: the variance of a mean, from the squared sum of each
    group's deviations, over that of independent vectors (L. Kish, Survey Sampling, Wiley, 1965). It divides
    the events of baseline and window: a baseline of few groups is uncertain however large the window, and a
    window is taken to hold groups as large as the baseline's. Each group is compared with the others.

    Large groups count most, so the estimate is as uncertain as one from fewer groups of one size:
    (sum of s^2)^2 / sum of s^4, with s the sizes. That is the number of windows that it states, at least 20:
    a few articles of most of the paragraphs would otherwise leave a baseline without any correction.

    Args:
        groups: (m,), the group of each vector, from 0.
        ids: (m,), its cluster; no cluster is empty.
        coordinates: (m, r) float64, its coordinates from the mean of all, in standard deviations.
        columns: As in `observe`.
        measured: What the service counts of each vector, by the fields of a tally.
        first: The number of vectors of the first of two sides, from whose means numbers are taken; see
            `pool_sides`.
    """
    sizes = np.bincount(groups).astype(np.float64)
    count = len(groups)
    shares = np.bincount(ids) / count
    clusters = np.zeros((len(sizes), len(shares)))
    np.add.at(clusters, (groups, ids), 1)
    clusters -= sizes[:, None] * shares
    sums, others = (
        np.stack([np.bincount(groups, weights=column) for column in numbers.T], axis=1)
        for numbers in (coordinates, _standardize(columns))
    )
    # A group's deviation from the whole, which contains it, is 1 - s/m times that from the others, and has
    # 1 - s/m times the variance of independent vectors.
    weights = 1 / (1 - sizes / count)
    sides = np.where(np.bincount(groups[:first], minlength=len(sizes)) > 0, first, count - first)
    of_numbers = 1 / (1 - sizes / sides)
    effective = int(np.square(np.square(sizes).sum()) / np.power(sizes, 4).sum())
    return Overdispersion.estimate(
        max(effective, MIN_WINDOWS),
        float(weights @ (np.square(clusters) / shares).sum(axis=1)) / (len(shares) - 1) / count,
        np.asarray((sums * of_numbers[:, None]).T @ sums / count, np.float64),
        _by_statistic(columns, of_numbers @ np.square(others) / count)
        | {
            each.name: weights @ each.by_groups(measured, groups) / count
            for each in registry.STATISTICS
            if each.is_within_windows
        },
    )


def pool(fitted: NDArray[Any], counted: NDArray[Any]) -> NDArray[np.float64]:
    """Return numbers of both sides from the means of their side, with the deviations of the second.

    Along the components, the vectors that these were fitted on differ more than new ones do.

    Args:
        fitted: (n, w), of the vectors that centroids and components were fitted on.
        counted: (m, w), of the others.
    """
    one, other = (np.asarray(each - each.mean(axis=0), np.float64) for each in (fitted, counted))
    scale = one.std(axis=0)
    return np.concatenate([one * (other.std(axis=0) / np.where(scale > 0, scale, np.inf)), other])


def pool_sides(
    fitted: Mapping[str, NDArray[Any]], counted: Mapping[str, NDArray[Any]], deviations: NDArray[np.float64]
) -> tuple[
    NDArray[np.intp], NDArray[np.float64], dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]], int
]:
    """Return what `measure_groups` takes of all vectors beside their groups.

    Args:
        fitted: What the service counts of the vectors that centroids and components were fitted on, by the
            fields of a tally.
        counted: The same of the others.
        deviations: (r,) float64, the standard deviations along the components, in steps of a coordinate.
    """
    measured = {name: np.concatenate([fitted[name], counted[name]]) for name in counted}
    return (
        measured[CLUSTER_COUNTS],
        pool(fitted[CLIPPED_COORDINATE_SUMS], counted[CLIPPED_COORDINATE_SUMS]) / deviations,
        {
            each.name: pool(one, other)
            for each in registry.STATISTICS
            if (one := each.columns(fitted)) is not None and (other := each.columns(counted)) is not None
        },
        measured,
        len(fitted[CLUSTER_COUNTS]),
    )


def report_groups(
    overdispersion: Overdispersion, progress: Callable[[str], None], *, mixed_windows: bool
) -> None:
    """Report what the groups show, and how windows hold them."""
    held = (
        "a few events of many groups"
        if mixed_windows
        else "whole groups; if they hold a few events of many, give --mixed-windows"
    )
    progress(
        f"groups, worth {overdispersion.windows} of one size: "
        f"{overdispersion_reading(overdispersion.counts, overdispersion.largest_mean)}; "
        f"windows are taken to hold {held}"
    )
