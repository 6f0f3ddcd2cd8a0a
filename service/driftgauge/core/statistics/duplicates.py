"""The test of duplicates: whether more of a window's events are the same item than in the baseline."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.hashing import bins_of
from driftgauge.core.counting.measurement import MeasuredEvents
from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.statistics import special
from driftgauge.core.statistics.nulls.tails import (
    gamma_quantile,
    gamma_tail,
    student_p_value,
    student_quantile,
)
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.power import POWER, halve
from driftgauge.core.statistics.statistic import Finding, Null, Statistic

__all__ = ["DUPLICATES", "HASH_COUNTS", "Duplicates", "DuplicatesNull", "repeat_rate"]

HASH_COUNTS = "hash_counts"
"""The number of events of each hash, of a tally and of a baseline: 128 integers, or 2,048 of texts.

With 128 only equal vectors are the same item, with 2,048 near-duplicates too.
"""


@dataclass(frozen=True, slots=True)
class Duplicates(Finding):
    """The duplicates among a window's events, and their test.

    Attributes:
        share: The share of the events that one repeated item would be, for as many pairs of the same item
            above the baseline's rate, 0 to 1. A clean window has 0 or, by chance, about 0.4 / sqrt(events).
        p_value: The probability of as many pairs or more without drift, in (0, 1).
    """

    share: float
    p_value: float

    @property
    def excess(self) -> float:
        """The share."""
        return self.share


class _DuplicatesStatistic(Statistic[Duplicates]):
    """The share of one repeated item, by a histogram of hashes that segments do not have."""

    name = "duplicates"
    kind = "duplicates"
    finding = Duplicates
    fields: ClassVar = {HASH_COUNTS: "h"}
    smallest = 0.05
    largest = 1.0
    # It costs a slight change of mix or of the mean up to 0.01 of power.
    weights = (0.25,)
    in_segments = False
    arrays: ClassVar = {HASH_COUNTS: ("int64", "h", 0)}
    variances = 1
    is_within_windows = True

    def measure(self, events: MeasuredEvents) -> tuple[NDArray[Any]]:
        return (events.hashes,)

    def fit(
        self, measured: Mapping[str, NDArray[Any]], outliers: NDArray[np.bool_]
    ) -> dict[str, NDArray[Any]]:
        hashes = measured[HASH_COUNTS]
        return {HASH_COUNTS: np.bincount(hashes, minlength=bins_of(hashes)).astype(np.int64)}

    def null(
        self, reference: Reference, segment: SegmentReference | None, overdispersion: Overdispersion
    ) -> Null[Duplicates]:
        (variation,) = overdispersion.of(self.name, self.variances).tolist()
        return DuplicatesNull(reference.arrays[HASH_COUNTS], variation, overdispersion.windows)

    def numbers(self, finding: Duplicates) -> dict[str, float]:
        return {"duplicates_ratio": finding.share, "duplicates_p_value": finding.p_value}

    def by_windows(
        self, measured: Mapping[str, NDArray[Any]], windows: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        # Pearson's X2 of each window over its mean at the rate of all events.
        hashes = measured[HASH_COUNTS]
        bins = bins_of(hashes)
        null = DuplicatesNull(np.bincount(hashes, minlength=bins), 1.0, math.inf)
        counts = np.bincount(windows * bins + hashes, minlength=(int(windows.max()) + 1) * bins)
        return np.array([[null.ratio(own)] for own in counts.reshape(-1, bins)])

    def by_groups(
        self, measured: Mapping[str, NDArray[Any]], groups: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        # Pearson's X2 of each group times its size, over B - 1: if its events are different items, the
        # mean is its size.
        bins = bins_of(measured[HASH_COUNTS])
        pairs, counts = np.unique(groups * bins + measured[HASH_COUNTS], return_counts=True)
        squares = np.bincount(pairs // bins, weights=np.square(counts))
        found = (bins * squares - np.square(np.bincount(groups))) / (bins - 1)
        return np.asarray(found)[:, None]


DUPLICATES = _DuplicatesStatistic()


def repeat_rate(hash_counts: NDArray[np.int64]) -> float:
    """Return the rate at which two events are the same item, at most 1, below 0 by chance.

    Two different items share one of B bins with a probability of 1/B, the same item always does. The rate of
    pairs in the same bin less 1/B, over 1 - 1/B, is therefore an estimate without bias. It is linear in
    Pearson's X2 of the bins: X2 / (B - 1) is 1 + (n - 1) times the rate.

    Args:
        hash_counts: (B,) int64, the number of events in each bin, two at least in all.
    """
    by_chance = 1 / len(hash_counts)
    return (_same_bin(hash_counts) - by_chance) / (1 - by_chance)


class DuplicatesNull:
    """The null distribution of Pearson's X2 of a window's hashes, over its mean.

    Of n different items, X2 has the mean B - 1. If two events are the same item at the rate q, the mean is
    1 + (n - 1) q times that, and so is the deviation (J. N. K. Rao and A. J. Scott's correction of the first
    order, Journal of the American Statistical Association 76, 1981). Repetition that does not grow with the
    window, such as each event sent twice, is overdispersion, which multiplies both again.

    Two variances are added: of how often the window's events are popular items, from the baseline's shares of
    the bins (W. Hoeffding, A class of statistics with asymptotically normal distribution, Annals of
    Mathematical Statistics 19, 1948), and of the baseline's rate, which is an estimate from m vectors.

    The distribution is a gamma distribution with this mean and variance and with the exact skewness of n
    different items; a larger variance has at least the skewness of a gamma variable from 0 on, but no more
    than an exponential one: beyond, nearly all of the distribution lies at 0, and clean windows do not. The
    chi-squared distribution with B - 1 degrees of freedom is the limit for different items and n far above B:
    at 20 events its tail is 20 times too light at 1e-4, and at 100 events 3 times.

    The overdispersion is an estimate from W windows, so the p-value is Student's with as many degrees of
    freedom.
    """

    def __init__(self, baseline: NDArray[np.int64], overdispersion: float, windows: float) -> None:
        """Prepare the distribution.

        Args:
            baseline: (B,) int64, the hashes of the baseline's m vectors, m 2 or more.
            overdispersion: The mean of X2 relative to that at the baseline's rate, 1 or more.
            windows: The clean windows behind the overdispersion; infinite if it is known.
        """
        self._bins = len(baseline)
        self._count = count = int(baseline.sum())
        self._rate = max(repeat_rate(baseline), 0.0)
        self._same = same = _same_bin(baseline)
        triples = float(((baseline - 2.0) * (baseline - 1.0) * baseline).sum())
        triples /= max(count - 2.0, 1.0) * (count - 1.0) * count
        # The variance of a random event's share of the pairs.
        self._popularity = max(triples - same**2, 0.0) / (1 - 1 / self._bins) ** 2
        self._overdispersion = overdispersion
        self._windows = windows

    def ratio(self, hash_counts: NDArray[np.int64]) -> float:
        """Return X2 of (B,) int64 hashes over its mean; a window of one event has the mean."""
        count = int(hash_counts.sum())
        return self._ratio(repeat_rate(hash_counts), count) if count > 1 else 1.0

    def test(self, tally: Tally) -> Duplicates:
        """Return the duplicates of a window with one event or more."""
        hash_counts = tally[HASH_COUNTS]
        count = int(hash_counts.sum())
        if count == 1:
            return Duplicates(0.0, 1 - sys.float_info.epsilon)
        deviation, skewness = self._moments(count)
        tail = gamma_tail((self.ratio(hash_counts) - 1) / deviation, skewness)
        return Duplicates(
            share=math.sqrt(max(repeat_rate(hash_counts) - self._rate, 0.0)),
            p_value=student_p_value(tail, self._windows),
        )

    def least(self, count: int, level: float) -> float:
        """Return the least share of one repeated item that a window finds with the target power.

        Infinity if none is found.

        Args:
            count: n, 1 or more.
            level: The level of this test alone.
        """
        if count == 1:
            return math.inf
        deviation, skewness = self._moments(count)
        exact = float(special.ndtr(student_quantile(level, self._windows)))
        critical = 1 + deviation * gamma_quantile(exact, skewness)
        by_rate = self._ratio(1, count) - self._ratio(0, count)

        def is_found(share: float) -> bool:
            # The item's events are binomial, and the rate is about the square of their share.
            of_item = by_rate * 2 * share * math.sqrt(share * (1 - share) / count)
            found = self._ratio(min(self._rate + share**2, 1.0), count) - critical
            return found >= float(special.ndtri(POWER)) * math.hypot(deviation, of_item)

        return halve(is_found, 0.0, 1.0) if is_found(1.0) else math.inf

    def standardized(self, tally: Tally) -> NDArray[np.float64]:
        """Return the root of X2 over its mean, (1,): X2 is measured, not the variance of a deviation."""
        return np.sqrt([self.ratio(tally[HASH_COUNTS])])

    def _ratio(self, rate: float, count: int) -> float:
        """Return X2 over its mean if two of n events are the same item at a rate."""
        return (1 + (count - 1) * rate) / (1 + (count - 1) * self._rate) / self._overdispersion

    def _moments(self, count: int) -> tuple[float, float]:
        """Return the deviation and the skewness of X2 of n events over its mean.

        The third moment: pairs of different items fall in the same bin independently, but for the three pairs
        of three items, of which two imply the third.
        """
        same, pairs = 1 / self._bins, count * (count - 1) / 2
        one = same * (1 - same)
        third = pairs * one * (1 - 2 * same) + 6 * math.comb(count, 3) * same * one
        skewness = third / (pairs * one) ** 1.5
        # What the errors of both rates add, in units of the mean.
        per_rate = (count - 1) / (1 + (count - 1) * self._rate)
        even = 2 * (count - 1) / (count * (self._bins - 1))
        # Different items may share a bin more often than by chance: signs are not even. Then pairs vary more.
        of_pairs = 2 / (count * (count - 1)) * self._same * (1 - self._same) / (1 - same) ** 2
        even = max(even, of_pairs * per_rate**2)
        of_baseline = per_rate * (1 + (self._count - 1) * self._rate) / (self._count - 1)
        popular = 4 * (count - 2) / (count * (count - 1)) * self._popularity * per_rate**2
        deviation = math.sqrt(even * (1 + of_baseline**2) + popular)
        return deviation, max(skewness, min(2 * deviation, 2.0))


def _same_bin(hash_counts: NDArray[np.int64]) -> float:
    """Return the rate at which two of the events with these hashes, (B,) int64, share a bin."""
    count = int(hash_counts.sum())
    return int((hash_counts * (hash_counts - 1)).sum()) / (count * (count - 1))
