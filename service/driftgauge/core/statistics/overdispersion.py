"""Overdispersion: the variation of windows relative to windows of independent events."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.statistics import special

__all__ = [
    "MIN_WINDOWS",
    "TWO_WEEKS",
    "Overdispersion",
    "OverdispersionEstimator",
    "fewest_windows",
    "inverse_degrees",
]

MIN_WINDOWS = 20
"""The least number of clean windows from which overdispersion is estimated.

From 20 windows a variance is known to a third and the overdispersion of 20 clusters to a twelfth.
For 15 kinds of correlation of 32 components, among them bursts and single directions that vary 200
times as much, the mean's tests of normal windows then rejected 0.2 to 1.4 % at a level of 1 %, and
0 to 7 in 10,000 at 0.01 %; from 100 windows at most 1.1 %, and 2 in 10,000.
"""

TWO_WEEKS = 14
"""Days that show how days vary, with a weekly cycle."""
_DAY_MS = 86_400_000

# The p-value at which the overdispersion of the tail is exact: about one false page a year with hourly
# windows. At larger p-values the test is somewhat conservative.
_TAIL = 1e-4


def fewest_windows(size_ms: int) -> int:
    """Return the least number of clean windows of a length, ms: of a day or longer two weeks are enough."""
    return TWO_WEEKS if size_ms >= _DAY_MS else MIN_WINDOWS


@dataclass(frozen=True, slots=True, eq=False)
class Overdispersion:
    """The overdispersion of windows without drift, caused by correlated events such as bursts.

    Attributes:
        windows: The number of clean windows of the estimate; infinite if it is known.
        counts: The overdispersion of the counts: 1 for independent events.
        means: (r, r) float64, the covariance of the windows' means times their count, in units of the
            baseline's standard deviations along the components; the identity for independent events.
        others: The overdispersions of the other statistics by name, (w,) float64 each with w their
            `variances`, 1 or more: the variance relative to independent events, and of the duplicates the
            mean of Pearson's X2 relative to that at the baseline's rate of repetition. Those that are not
            measured are missing.
        baseline: The overdispersion of the baseline's own events, if it is not that of the windows.
        kurtosis: If windows hold whole groups, how much heavier than normal the tail of a mean is: K of
            one event, and K / n at a window of n (see `at`). Of m events whose groups are worth W of one
            size, K is m / W: the window holds n / K such groups. 0 if windows hold many.
    """

    windows: float
    counts: float
    means: NDArray[np.float64]
    others: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    baseline: "Overdispersion | None" = None
    kurtosis: float = 0.0

    @classmethod
    def estimate(
        cls,
        windows: int,
        counts: float,
        covariance: NDArray[np.float64],
        others: Mapping[str, NDArray[np.float64]],
    ) -> "Overdispersion":
        """Return the overdispersion by estimates from W windows, each at least that of independent events.

        Variances are as estimated, but their sum is at least that of independent events. Correlations
        are shrunk, since few windows produce large correlations by chance: see `_shrink`.
        """
        # Rounding may leave less than 0 of a component that hardly varied, and a floor keeps the correlations
        # finite.
        squares = np.maximum(np.diag(covariance), 1 / windows)
        correlations = covariance / np.sqrt(np.outer(squares, squares))
        variances = squares * max(len(squares) / squares.sum(), 1.0)
        means = _shrink(correlations, windows) * np.sqrt(np.outer(variances, variances))
        np.fill_diagonal(means, variances)
        floored = {name: np.maximum(each, 1.0) for name, each in others.items()}
        return cls(windows, max(counts, 1.0), means, floored)

    @classmethod
    def independent(cls, components: int) -> "Overdispersion":
        """Return the overdispersion of independent events, along r components."""
        return cls(math.inf, 1.0, np.eye(components))

    def at(self, count: int, baseline_count: int, mean_count: int) -> "Overdispersion":
        """Return one overdispersion for both parts of the variance at a window's count.

        The variance of a difference from the baseline has two parts, of the window and of the baseline, with
        an overdispersion each. Their mean, weighted by the parts of independent events, gives the same
        variance.

        Args:
            count: n, the window's events.
            baseline_count: m, the events of the baseline's histogram.
            mean_count: M, the events of the baseline's mean.
        """
        own, own_of_mean = baseline_count / (count + baseline_count), mean_count / (count + mean_count)
        both = (
            self
            if self.baseline is None
            else self.plus(self.baseline, (own, 1 - own), (own_of_mean, 1 - own_of_mean))
        )
        return replace(both, kurtosis=self.kurtosis / count) if self.kurtosis else both

    def plus(
        self, other: "Overdispersion", weights: tuple[float, float], of_means: tuple[float, float]
    ) -> "Overdispersion":
        """Return the sum of two overdispersions by their weights, and of those of the means by their own.

        The windows are those that make an estimate as uncertain (F. E. Satterthwaite, Biometrics Bulletin 2,
        1946).
        """
        parts = np.array([self.of_mean, other.of_mean]) * of_means
        windows = parts.sum() ** 2 / (np.square(parts) / [self.windows, other.windows]).sum()
        return Overdispersion(
            max(float(np.floor(windows)), 1.0),
            weights[0] * self.counts + weights[1] * other.counts,
            of_means[0] * self.means + of_means[1] * other.means,
            {
                name: weights[0] * self.of(name, len(each)) + weights[1] * other.of(name, len(each))
                for name, each in {**self.others, **other.others}.items()
            },
        )

    def of(self, statistic: str, variances: int) -> NDArray[np.float64]:
        """Return the overdispersions of a statistic, (variances,) float64; ones if not measured."""
        return self.others.get(statistic, np.ones(variances))

    def reduce(self, degrees: float) -> float:
        """Return the degrees of freedom of a test's variance, fewer if the kurtosis is above 0.

        Their inverses add up; see `inverse_degrees`.
        """
        return 1 / (1 / degrees + inverse_degrees(self.kurtosis)) if self.kurtosis else degrees

    @property
    def of_mean(self) -> float:
        """The overdispersion of the mean along all components together: r for independent events."""
        return float(np.trace(self.means))

    @property
    def largest_mean(self) -> float:
        """The overdispersion of the mean in the direction where it is largest."""
        return float(np.linalg.eigvalsh(self.means)[-1])

    def of_tail(self, clusters: int) -> float:
        """Return the divisor of the counts that makes the tail of their divergence right, 1 or more.

        Dividing counts by their overdispersion corrects the mean of Pearson's X2. Two effects make its
        tail heavier than that of a chi-squared variable with k - 1 degrees of freedom: for bursts of
        five images of a class 1 % becomes 2 %, and 1e-4 becomes 1e-3. The divisor corrects both, exactly
        at p = 1e-4.

        First, some directions vary more than others, which reduces the degrees of freedom to (sum of
        their overdispersions)^2 / sum of the squares (J. N. K. Rao and A. J. Scott's correction of the
        second order, Journal of the American Statistical Association 76, 1981). The unevenness is taken
        from the means, which vary for the same reason: the excess over 1, weighted by itself, is assumed
        equal. Second, the overdispersion is an estimate from W windows, so the distribution is F. That of
        independent events is known, and needs neither.
        """
        if math.isinf(self.windows):
            return self.counts
        even = clusters - 1
        # The upper bound: all excess in one direction.
        typical = even * (self.counts - 1)
        total = self.of_mean - len(self.means)
        if total > 0:
            squares = float(np.square(self.means - np.eye(len(self.means))).sum())
            chance = 2 * float(np.square(np.diag(self.means)).sum()) / self.windows
            typical = min(typical, max(squares - chance, 0.0) / total)
        degrees = max(even * min(self.counts**2 / (1 + (self.counts - 1) * (2 + typical)), 1.0), 1.0)
        # The upper quantile of F as one over the lower of the inverse ratio: 1 - 1e-4 would be rounded.
        uneven_quantile = 1 / float(special.fdtri(self.reduce(self.windows * degrees), degrees, _TAIL))
        return self.counts * uneven_quantile / (float(special.chdtri(even, _TAIL)) / even)


def inverse_degrees(kurtosis: float) -> float:
    """Return one over the degrees of freedom with which a variable F has the kurtosis, at most 1/4.

    The squared length of a mean with kurtosis K, in r directions, has a relative variance that is larger by
    K (1 + 2 / r) than that of normal ones; F with 4 + 2 / K degrees of freedom, over its mean, has the same.
    """
    return kurtosis / (2 + 4 * kurtosis)


@dataclass(frozen=True, slots=True, eq=False)
class OverdispersionEstimator:
    """The estimator of overdispersion: additive sums of squares of clean windows, in any order.

    Windows are compared with the mean of all of them, not with the baseline: what all windows have in common
    is an offset, and no variation.

    Attributes:
        windows: The number of windows, W.
        squares: (k,) float64, the sum over windows of the squared counts, each over its window's events.
        products: (r, r) float64, the sum of outer products of the windows' shifts.
        others: The sums of squares of `Null.standardized` by the statistic's name, (w,) float64 each.
    """

    windows: int
    squares: NDArray[np.float64]
    products: NDArray[np.float64]
    others: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def empty(cls, clusters: int, components: int) -> "OverdispersionEstimator":
        """Return the estimator of no windows, for k clusters and r components."""
        return cls(0, np.zeros(clusters), np.zeros((components, components)))

    def add(
        self,
        counts: NDArray[np.int64],
        shift: NDArray[np.float64],
        others: Mapping[str, NDArray[np.float64]] = MappingProxyType({}),
    ) -> "OverdispersionEstimator":
        """Return the estimator with one more window.

        Args:
            counts: (k,) int64, the window's histogram: two clusters or more, one event or more.
            shift: (r,) float64, the deviation of the window's mean along the components from any fixed point,
                in standard errors of a mean of as many of the baseline's events (by its covariance's Cholesky
                factor, if the covariance is not diagonal).
            others: `Null.standardized` of the other statistics by name.
        """
        return OverdispersionEstimator(
            self.windows + 1,
            self.squares + np.square(counts) / counts.sum(),
            self.products + np.outer(shift, shift),
            {name: self.others.get(name, 0.0) + np.square(each) for name, each in others.items()},
        )

    def overdispersion(
        self,
        counts: NDArray[np.int64],
        shift: NDArray[np.float64],
        others: Mapping[str, NDArray[np.float64]] = MappingProxyType({}),
    ) -> Overdispersion:
        """Return the overdispersion of two windows or more.

        Args:
            counts: (k,) int64, the histogram of all windows together.
            shift: (r,) float64, the deviation of their mean, as in `add`.
            others: `Null.standardized` of all windows together by the statistic's name. The sums of a
                statistic without are mean squares, not of deviations from a mean.
        """
        degrees, count, filled = self.windows - 1, int(counts.sum()), counts > 0
        # The test of homogeneity: X2 of the windows against all of them has (W - 1) (k - 1) degrees.
        chi_squared = float((self.squares[filled] / counts[filled]).sum()) * count - count
        return Overdispersion.estimate(
            self.windows,
            chi_squared / (degrees * max(int(filled.sum()) - 1, 1)),
            (self.products - np.outer(shift, shift)) / degrees,
            {
                name: (each - np.square(others[name])) / degrees if name in others else each / self.windows
                for name, each in self.others.items()
            },
        )


def _shrink(correlations: NDArray[np.float64], windows: int) -> NDArray[np.float64]:
    """Return the correlations of r components estimated from W windows, (r, r) float64, shrunk to 0.

    Independent components have squared correlations of 1/W on average over W windows. One factor
    removes this from the sum of squares. But mostly the leading components correlate, since they show
    the topics, and the centroid distance depends mostly on them. So the leading half has a factor of
    its own, the leading half of that too, and so on, each at least as large as the one before. The errors
    of the sums of squares are added to them, since correlations that are too large only make the tests
    conservative. The result is positive definite: a mixture of the estimate, of estimates with all but
    leading correlations set to 0, and of the identity.

    Source for shrinking by one factor: J. Schaefer and K. Strimmer, A shrinkage approach to
    large-scale covariance matrix estimation, Statistical Applications in Genetics and Molecular
    Biology 4, 2005.
    """
    kept = np.eye(len(correlations))
    # Below 1, since with fewer windows than components the estimate is singular.
    most = windows / (windows + 1)
    share, leading = 0.0, len(correlations)
    while leading > 1:
        block = correlations[:leading, :leading]
        total = float(np.square(block).sum()) - leading
        left = total - leading * (leading - 1) / windows
        error = 2 * math.sqrt(2 / windows) * left + 2 * leading / windows
        share = max(share, min(math.sqrt(max(left + error, 0.0) / total), most) if total > 0 else 0.0)
        kept[:leading, :leading] = share
        leading //= 2
    np.fill_diagonal(kept, 1.0)
    return correlations * kept
