"""Overdispersion: the variation of windows relative to windows of independent events."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, fdtri

__all__ = [
    "MIN_WINDOWS",
    "CalibratedOverdispersion",
    "Overdispersion",
    "OverdispersionEstimator",
]

MIN_WINDOWS = 20
"""The least number of clean windows from which overdispersion is estimated.

From 20 windows a variance is known to a third and the overdispersion of 20 clusters to a twelfth.
For 15 kinds of correlation of 32 components, among them bursts and single directions that vary 200
times as much, the mean's tests of normal windows then rejected 0.2 to 1.4 % at a level of 1 %, and
0 to 7 in 10,000 at 0.01 %; from 100 windows at most 1.1 %, and 2 in 10,000.
"""

# The weight of an empty cluster: Jeffreys' prior for shares.
_PRIOR = 0.5

# The p-value at which the overdispersion of the tail is exact: about one false page a year with hourly
# windows. At larger p-values the test is somewhat conservative.
_TAIL = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Overdispersion:
    """The overdispersion of windows without drift, caused by correlated events such as bursts.

    Attributes:
        windows: The number of clean windows of the estimate.
        counts: The overdispersion of the counts: 1 for independent events.
        means: (r, r) float64, the covariance of the windows' means times their count, in units of the
            baseline's standard deviations along the components; the identity for independent events.
        others: The overdispersions of the other statistics by name, (w,) float64 each with w their
            `variances`, 1 or more: the variance relative to independent events, and of the duplicates the
            mean of Pearson's X2 relative to that at the baseline's rate of repetition. Those that are not
            measured are missing.
    """

    windows: int
    counts: float
    means: NDArray[np.float64]
    others: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def of(self, statistic: str, variances: int) -> NDArray[np.float64]:
        """Return the overdispersions of a statistic, (variances,) float64; ones where not measured."""
        return self.others.get(statistic, np.ones(variances))

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
        equal. Second, the overdispersion is an estimate from W windows, so the distribution is F.
        """
        even = clusters - 1
        # The upper bound: all excess in one direction.
        typical = even * (self.counts - 1)
        total = float(np.trace(self.means)) - len(self.means)
        if total > 0:
            squares = float(np.square(self.means - np.eye(len(self.means))).sum())
            chance = 2 * float(np.square(np.diag(self.means)).sum()) / self.windows
            typical = min(typical, max(squares - chance, 0.0) / total)
        degrees = max(even * min(self.counts**2 / (1 + (self.counts - 1) * (2 + typical)), 1.0), 1.0)
        # The upper quantile of F as one over the lower of the inverse ratio: 1 - 1e-4 would be rounded.
        uneven_quantile = 1 / float(fdtri(self.windows * degrees, degrees, _TAIL))
        return self.counts * uneven_quantile / (float(chdtri(even, _TAIL)) / even)


@dataclass(frozen=True, slots=True, eq=False)
class CalibratedOverdispersion:
    """An overdispersion, and whether it was measured on windows like those that are judged.

    Attributes:
        overdispersion: The overdispersion.
        calibrated: Whether it was measured on windows of the same events and length.
    """

    overdispersion: Overdispersion
    calibrated: bool


@dataclass(frozen=True, slots=True, eq=False)
class OverdispersionEstimator:
    """The estimator of overdispersion: additive sufficient statistics of clean windows, in any order.

    Attributes:
        windows: The number of windows.
        chi_squared: The sum over windows of Pearson's X2 over its expectation for independent events.
        products: (r, r) float64, the sum of outer products of the windows' shifts, each over its
            standard error for independent events.
        others: The sums of squares of `Null.standardized` by the statistic's name, (w,) float64 each.
    """

    windows: int
    chi_squared: float
    products: NDArray[np.float64]
    others: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def empty(cls, components: int) -> "OverdispersionEstimator":
        """Return the estimator of no windows, for r components."""
        return cls(0, 0.0, np.zeros((components, components)))

    def add(
        self,
        counts: NDArray[np.int64],
        baseline_counts: NDArray[np.int64],
        shift: NDArray[np.float64],
        mean_count: int,
        others: Mapping[str, NDArray[np.float64]] = MappingProxyType({}),
    ) -> "OverdispersionEstimator":
        """Return the estimator with one more window.

        Compare a window that is part of the baseline with the rest of the baseline.

        Args:
            counts: (k,) int64, the window's histogram: two clusters or more, one event or more.
            baseline_counts: (k,) int64, the baseline's histogram.
            shift: (r,) float64, the window's mean less the baseline's along the components, in units of
                the baseline's standard deviations (of its covariance's Cholesky factor, where the
                covariance is not diagonal).
            mean_count: M, the events of the baseline's mean.
            others: `Null.standardized` of the other statistics by name.
        """
        count = int(counts.sum())
        baseline_count = int(baseline_counts.sum())
        shares = (baseline_counts + _PRIOR) / (baseline_count + _PRIOR * len(baseline_counts))
        # X2 / n, whose expectation is (k - 1) (1/n + 1/m).
        distance = float((np.square(counts / count - shares) / shares).sum())
        return OverdispersionEstimator(
            self.windows + 1,
            self.chi_squared + distance / ((len(counts) - 1) * (1 / count + 1 / baseline_count)),
            self.products + np.outer(shift, shift) / (1 / count + 1 / mean_count),
            {name: self.others.get(name, 0.0) + np.square(each) for name, each in others.items()},
        )

    def overdispersion(self) -> Overdispersion | None:
        """Return the overdispersion, or None with fewer than 20 windows.

        Variances are as estimated, but their sum is at least that of independent events. Correlations
        are shrunk, since few windows produce large correlations by chance: see `_shrink`.
        """
        if self.windows < MIN_WINDOWS:
            return None
        # A floor of 1 keeps the correlations of a component that hardly varied finite.
        squares = np.maximum(np.diag(self.products), 1.0)
        correlations = self.products / np.sqrt(np.outer(squares, squares))
        variances = squares / self.windows
        variances *= max(len(variances) / variances.sum(), 1.0)
        means = _shrink(correlations, self.windows) * np.sqrt(np.outer(variances, variances))
        np.fill_diagonal(means, variances)
        return Overdispersion(
            self.windows,
            max(self.chi_squared / self.windows, 1.0),
            means,
            {name: np.maximum(each / self.windows, 1.0) for name, each in self.others.items()},
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
