"""Overdispersion: the variation of windows relative to windows of independent events."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, fdtri

__all__ = [
    "DISTANCES",
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

DISTANCES = 4
"""The number of tests beside those of the counts and the mean: of the share of outliers, of the spreads along
components and residual, and of duplicates."""

# No estimate is from as many windows.
_COUNTLESS = 1_000_000

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
        distances: (4,) float64, the variance relative to independent events of the number of outliers, of
            the mean spread along the components and of that of the residual, and the mean of Pearson's X2 of
            the hashes relative to that at the baseline's rate of repetition; each 1 or more. Ones where they
            are not measured.
        baseline: The overdispersion of the baseline's own events, where it is not that of the windows.
    """

    windows: int
    counts: float
    means: NDArray[np.float64]
    distances: NDArray[np.float64] = field(default_factory=lambda: np.ones(DISTANCES))
    baseline: "Overdispersion | None" = None

    @classmethod
    def of(
        cls, windows: int, counts: float, covariance: NDArray[np.float64], distances: NDArray[np.float64]
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
        return cls(windows, max(counts, 1.0), means, np.maximum(distances, 1.0))

    @classmethod
    def independent(cls, components: int) -> "Overdispersion":
        """Return the overdispersion of independent events, along r components."""
        return cls(_COUNTLESS, 1.0, np.eye(components))

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
        if self.baseline is None:
            return self
        own, own_of_mean = baseline_count / (count + baseline_count), mean_count / (count + mean_count)
        both = self.plus(self.baseline, (own, 1 - own), (own_of_mean, 1 - own_of_mean))
        # Repetition multiplies the pairs of a window; that of the baseline is part of its rate.
        distances = np.append(both.distances[:-1], self.distances[-1])
        return replace(both, distances=distances)

    def plus(
        self, other: "Overdispersion", weights: tuple[float, float], of_means: tuple[float, float]
    ) -> "Overdispersion":
        """Return the sum of two overdispersions by their weights, and of those of the means by their own.

        The windows are those that make an estimate as uncertain (F. E. Satterthwaite, Biometrics Bulletin 2,
        1946).
        """
        parts = np.array([np.trace(self.means), np.trace(other.means)]) * of_means
        windows = parts.sum() ** 2 / (np.square(parts) / [self.windows, other.windows]).sum()
        return Overdispersion(
            max(int(windows), 1),
            weights[0] * self.counts + weights[1] * other.counts,
            of_means[0] * self.means + of_means[1] * other.means,
            weights[0] * self.distances + weights[1] * other.distances,
        )

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

    Windows are compared with the mean of all of them, not with the baseline: what all windows have in common
    is an offset, and no variation.

    Attributes:
        windows: The number of windows, W.
        counts: (k,) int64, their histogram.
        squares: (k,) float64, the sum over windows of the squared counts, each over its window's events.
        sums: (r + 3,) float64, the sum over windows of the deviations of their means times their events.
        products: (r, r) float64, the sum of outer products of the first r deviations, times the events.
        distances: (4,) float64, the sums of squares of the other three, times the events, and the sum of
            Pearson's X2 of the hashes, over its mean.
    """

    windows: int
    counts: NDArray[np.int64]
    squares: NDArray[np.float64]
    sums: NDArray[np.float64]
    products: NDArray[np.float64]
    distances: NDArray[np.float64]

    @classmethod
    def empty(cls, clusters: int, components: int) -> "OverdispersionEstimator":
        """Return the estimator of no windows, for k clusters and r components."""
        return cls(
            0,
            np.zeros(clusters, np.int64),
            np.zeros(clusters),
            np.zeros(components + DISTANCES - 1),
            np.zeros((components, components)),
            np.zeros(DISTANCES),
        )

    def add(
        self, counts: NDArray[np.int64], deviations: NDArray[np.float64], repetition: float
    ) -> "OverdispersionEstimator":
        """Return the estimator with one more window.

        Args:
            counts: (k,) int64, the window's histogram: two clusters or more, one event or more.
            deviations: (r + 3,) float64, the deviations of the window's mean from any fixed point, each in
                standard deviations of one event of the baseline: along the components (of the covariance's
                Cholesky factor, where it is not diagonal), and of the number of outliers and the two spreads;
                0 where one is not measured.
            repetition: Pearson's X2 of the hashes over its mean; 0 where it is not measured.
        """
        count = int(counts.sum())
        shift, others = np.split(deviations, [len(self.products)])
        return OverdispersionEstimator(
            self.windows + 1,
            self.counts + counts,
            self.squares + np.square(counts) / count,
            self.sums + count * deviations,
            self.products + count * np.outer(shift, shift),
            self.distances + np.append(count * np.square(others), repetition),
        )

    def overdispersion(self) -> Overdispersion | None:
        """Return the overdispersion, or None with fewer than 20 windows."""
        if self.windows < MIN_WINDOWS:
            return None
        degrees, count = self.windows - 1, int(self.counts.sum())
        filled = self.counts[self.counts > 0]
        # The test of homogeneity: X2 of the windows against all of them has (W - 1) (k - 1) degrees.
        chi_squared = float((self.squares[self.counts > 0] / filled).sum()) * count - count
        shift, others = np.split(self.sums, [len(self.products)])
        return Overdispersion.of(
            self.windows,
            chi_squared / (degrees * max(len(filled) - 1, 1)),
            (self.products - np.outer(shift, shift) / count) / degrees,
            np.append(
                (self.distances[:-1] - np.square(others) / count) / degrees,
                self.distances[-1] / self.windows,
            ),
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
