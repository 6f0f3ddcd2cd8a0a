"""The windows of time-stamped vectors: splitting without cutting them, and how they vary."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.quality import MIN_RATIO, overdispersion_reading
from driftgauge.baseline.segments import Members
from driftgauge.core.durations import format_duration
from driftgauge.core.reference import SegmentReference
from driftgauge.core.statistics.overdispersion import MIN_WINDOWS, Overdispersion, OverdispersionEstimator

__all__ = ["Traffic", "measure_dependence", "measure_segments", "observe", "split_windows", "tell_ratio"]

# A window in which bursts can be seen holds five events a cluster on average. One event a window
# looks independent whatever it came with, so windows far smaller than those that are judged would
# say that there are no bursts.
EVENTS_PER_CLUSTER = 5

# Half of the windows are held out, and as many of these are needed as make an overdispersion known.
LEAST_WINDOWS = 2 * MIN_WINDOWS

# The larger side of a split into halves has at most five eighths, then.
MAX_WINDOW_SHARE = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """When n vectors came, by windows.

    Attributes:
        numbers: (n,), the window that each fell into, numbered from 0 without gaps.
        window_ms: The windows' length.
    """

    numbers: NDArray[np.intp]
    window_ms: int

    @classmethod
    def of(cls, times_ms: NDArray[np.int64], window_ms: int) -> "Traffic":
        """Return the traffic of n event times, (n,) int64, by the windows that the service would close."""
        return cls(np.unique(times_ms // window_ms, return_inverse=True)[1], window_ms)

    @property
    def sizes(self) -> NDArray[np.intp]:
        """How many vectors each window holds; none is empty."""
        return np.bincount(self.numbers)

    @property
    def name(self) -> str:
        """The windows as an operator knows them."""
        return f"windows of {format_duration(self.window_ms)}"


def split_windows(
    traffic: Traffic, target: int, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """Split n rows at random by whole windows: the rows to fit on, the rows to count, both sorted.

    Events that came together stay together. Were they split one by one, a burst of five would leave
    two or three on each side, and the windows of either side would seem to vary less than they do.

    Args:
        traffic: The windows of the rows. Where they are too few for the overdispersion to be known in
            any case, or one holds more than a quarter of the rows, None is returned.
        target: How many rows to fit on, at most half, to within half a window.
        seed: Chooses the windows.
    """
    sizes = traffic.sizes
    if len(sizes) < LEAST_WINDOWS or sizes.max() > MAX_WINDOW_SHARE * len(traffic.numbers):
        return None
    order = np.random.default_rng(seed).permutation(len(sizes))
    reached = np.cumsum(sizes[order])
    is_fitted = np.isin(traffic.numbers, order[: int(np.abs(reached - target).argmin()) + 1])
    return np.flatnonzero(is_fitted), np.flatnonzero(~is_fitted)


def observe(
    numbers: NDArray[np.intp],
    ids: NDArray[np.intp],
    coordinates: NDArray[np.float64],
    clusters: int,
) -> OverdispersionEstimator:
    """Return how the windows of m held-out vectors vary around the reference that they make up.

    Each window is compared with the reference without it. A window of n of all m events varies less
    around the whole, which contains it, than a new one would: for independent events Pearson's X2
    has the expectation (k - 1)(1 - n/m), and a new window's (k - 1)(1 + n/m). Its difference from
    the whole is 1 - n/m times its difference from the rest, which is independent of it and for
    which, with m - n events, the factor 1 + n/(m - n) is right.

    Args:
        numbers: (m,), the window of each vector. Windows of fewer than 5 k vectors are left out.
        ids: (m,), its cluster.
        coordinates: (m, r) float64, its coordinates along the components, from the mean of all, in units
            of their standard deviations (of their covariance's Cholesky factor, where that is not diagonal).
        clusters: k.
    """
    number, numbers, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
    counts = np.bincount(numbers * clusters + ids, minlength=len(number) * clusters).reshape(-1, clusters)
    sums = np.stack([np.bincount(numbers, weights=column) for column in coordinates.T], axis=1)
    total, whole = counts.sum(axis=0), len(numbers)
    windows = OverdispersionEstimator.empty(coordinates.shape[1])
    for place in np.flatnonzero(sizes >= EVENTS_PER_CLUSTER * clusters):
        rest = whole - int(sizes[place])
        # All coordinates sum to zero, so those of the rest to minus those of the window.
        shift = sums[place] / sizes[place] + sums[place] / rest
        windows = windows.add(counts[place], total - counts[place], shift, rest)
    return windows


def measure_dependence(
    traffic: Traffic | None,
    windows: OverdispersionEstimator | None,
    clusters: int,
    progress: Callable[[str], None],
) -> Overdispersion | None:
    """Return the overdispersion of the windows held out; None with the reason and the remedy as progress."""
    overdispersion = None if windows is None else windows.overdispersion()
    if traffic is None:
        reason = "the vectors have no times"
        remedy = "fit on events with timestamps (.jsonl)"
    elif windows is None and len(traffic.sizes) < LEAST_WINDOWS:
        reason = f"the events are of {len(traffic.sizes)} {traffic.name}, and {LEAST_WINDOWS} are needed"
        remedy = "give events of a longer time, or a shorter --window"
    elif windows is None:
        share = traffic.sizes.max() / len(traffic.numbers)
        reason = f"one of the {traffic.name} holds {share:.0%} of the events, and a quarter is the most"
        remedy = "give events of more windows, or a shorter --window"
    elif overdispersion is None:
        reason = (
            f"of the {traffic.name} held out {windows.windows} have {EVENTS_PER_CLUSTER * clusters} events "
            f"or more, five a cluster, and {MIN_WINDOWS} are needed"
        )
        remedy = "give events of a longer time, a longer --window or fewer --clusters"
    else:
        progress(f"{windows.windows} {traffic.name} held out: {overdispersion_reading(overdispersion)}")
        return overdispersion
    progress(
        f"warning: {reason}: how far related events come together is not known, and p-values will not be "
        f"calibrated for bursts; {remedy}"
    )
    return None


def measure_segments(
    segments: Iterable[SegmentReference],
    members: Iterable[Members],
    numbers: NDArray[np.intp],
    ids: NDArray[np.intp],
    along: NDArray[np.float64],
    clusters: int,
    progress: Callable[[str], None],
) -> tuple[SegmentReference, ...]:
    """Return segments with what their windows say of the overdispersion, as far as that is known.

    Args:
        segments: What the events of each segment are compared with.
        members: Which of m held-out vectors belong to each.
        numbers: (m,), the window of each vector.
        ids: (m,), its cluster.
        along: (m, r) float64, its place along the components, relative to the mean.
        clusters: k.
        progress: Is told where it is not known.
    """
    rows = {(member.key, member.value): member.rows for member in members}
    measured = []
    for segment in segments:
        own = rows[segment.key, segment.value]
        windows = observe(numbers[own], ids[own], segment.standardized(along[own]), clusters)
        overdispersion = windows.overdispersion()
        if overdispersion is None:
            progress(
                f"segment {segment.key}={segment.value} has {EVENTS_PER_CLUSTER * clusters} events or more "
                f"in {windows.windows} of the windows held out, and {MIN_WINDOWS} are needed: its events are "
                f"taken to be as related as all of them, and its p-values are not calibrated"
            )
        measured.append(replace(segment, overdispersion=overdispersion))
    return tuple(measured)


def tell_ratio(traffic: Traffic, reference_count: int, progress: Callable[[str], None]) -> None:
    """Say how many times a typical window's events the reference counts, and whether that is too few."""
    typical = float(np.median(traffic.sizes))
    said = (
        f"{traffic.name} hold {typical:,.0f} events (the median), and the reference counts "
        f"{reference_count / typical:,.1f} times as many"
    )
    if reference_count < MIN_RATIO * typical:
        said = (
            f"warning: {said}: below {MIN_RATIO} times, the reference's own noise adds more than a twentieth "
            f"to that of each window; give more events, or judge shorter windows"
        )
    progress(said)
