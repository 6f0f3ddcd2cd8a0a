"""How much more windows vary than windows of independent events would."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, fdtri

__all__ = ["MIN_WINDOWS", "CalibratedOverdispersion", "Overdispersion", "OverdispersionEstimator"]

MIN_WINDOWS = 20
"""Fewer clean windows say too little.

From 20 windows a variance is known to a third and the overdispersion of 20 clusters to a twelfth.
Over 15 ways in which the events of 32 components may be related, among them bursts and single
directions that vary 200 times as much, the mean's tests of normal windows then rejected 0.2 to 1.4 %
at a level of 1 %, and 0 to 7 in 10,000 at 0.01 %; from 100 windows at most 1.1 %, and 2 in 10,000.
"""

# The weight of an empty cluster: Jeffreys' prior for shares.
_PRIOR = 0.5

# The p-value at which the overdispersion is exact, about that of a false page a year on a stream
# judged by the hour. Of less rare divergences somewhat fewer are called significant than the level says.
_TAIL = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Overdispersion:
    """What related events, such as bursts, add to the variation of windows without drift.

    Attributes:
        windows: How many clean windows it was estimated from.
        counts: The overdispersion of the counts: 1 for independent events.
        means: (r, r) float64, the covariance of the windows' means times their count, in units of the
            baseline's standard deviations along the components; the identity for independent events.
    """

    windows: int
    counts: float
    means: NDArray[np.float64]

    def inflation(self, clusters: int) -> float:
        """Return what to divide counts by so that the tail of their divergence is right; 1 or more.

        Dividing them by their overdispersion is right for the mean of Pearson's X2. Two things make
        its tail heavier than that of a chi-squared variable with k - 1 degrees of freedom: for bursts of
        five images of a class 1 % becomes 2 %, and 1e-4 becomes 1e-3. Both are made up for, exactly so
        at p = 1e-4.

        Some directions are inflated more than others, so that the freedom is less: (sum of the
        inflations)^2 / sum of their squares (J. N. K. Rao and A. J. Scott's correction of the second
        order, Journal of the American Statistical Association 76, 1981). How unevenly is read from the
        means, since the same events come together there: the excess over 1, weighted by itself, is
        taken to be as large as theirs. And the overdispersion is an estimate from W windows, which
        makes the distribution an F.
        """
        even = clusters - 1
        # The most there can be: all excess in one direction.
        typical = even * (self.counts - 1)
        total = float(np.trace(self.means)) - len(self.means)
        if total > 0:
            squares = float(np.square(self.means - np.eye(len(self.means))).sum())
            chance = 2 * float(np.square(np.diag(self.means)).sum()) / self.windows
            typical = min(typical, max(squares - chance, 0.0) / total)
        freedom = max(even * min(self.counts**2 / (1 + (self.counts - 1) * (2 + typical)), 1.0), 1.0)
        # The upper quantile of F as one over the lower of the inverse ratio: 1 - 1e-4 would be rounded.
        uneven_quantile = 1 / float(fdtri(self.windows * freedom, freedom, _TAIL))
        return self.counts * uneven_quantile / (float(chdtri(even, _TAIL)) / even)


@dataclass(frozen=True, slots=True, eq=False)
class CalibratedOverdispersion:
    """An overdispersion, and whether it is that of the very windows that are judged.

    Attributes:
        overdispersion: The overdispersion.
        calibrated: It was measured on windows of the same events and length.
    """

    overdispersion: Overdispersion
    calibrated: bool


@dataclass(frozen=True, slots=True, eq=False)
class OverdispersionEstimator:
    """What windows without drift leave behind for the overdispersion: a sum over windows in any order.

    Attributes:
        windows: How many.
        chi_squared: The sum over windows of Pearson's X2 over its expectation for independent events.
        products: (r, r) float64, the sum of outer products of the windows' shifts, each over its
            standard error for independent events.
    """

    windows: int
    chi_squared: float
    products: NDArray[np.float64]

    @classmethod
    def empty(cls, components: int) -> "OverdispersionEstimator":
        """Return what no windows leave behind, for r components."""
        return cls(0, 0.0, np.zeros((components, components)))

    def add(
        self,
        counts: NDArray[np.int64],
        baseline_counts: NDArray[np.int64],
        shift: NDArray[np.float64],
        baseline_count: int,
    ) -> "OverdispersionEstimator":
        """Return what is left with one more window.

        A window that is part of the baseline is to be compared with the rest of it.

        Args:
            counts: (k,) int64, the window's histogram: two clusters or more, one event or more.
            baseline_counts: (k,) int64, the baseline's.
            shift: (r,) float64, the window's mean less the baseline's along the components, in units of
                the baseline's standard deviations (of its covariance's Cholesky factor, where that is
                not diagonal).
            baseline_count: m, the baseline's events.
        """
        count = int(counts.sum())
        spread = 1 / count + 1 / baseline_count
        shares = (baseline_counts + _PRIOR) / (baseline_counts.sum() + _PRIOR * len(baseline_counts))
        # X2 / n, whose expectation is (k - 1) (1/n + 1/m).
        distance = float((np.square(counts / count - shares) / shares).sum())
        return OverdispersionEstimator(
            self.windows + 1,
            self.chi_squared + distance / ((len(counts) - 1) * spread),
            self.products + np.outer(shift, shift) / spread,
        )

    def overdispersion(self) -> Overdispersion | None:
        """Return the overdispersion, or None of fewer than 20 windows.

        Variances are as estimated, but never less in sum than those of independent events.
        Correlations are shrunk, for as many windows as components would make up correlations as
        large as any: see `_shrunk`.
        """
        if self.windows < MIN_WINDOWS:
            return None
        # A component that hardly varied is taken to have varied once.
        squares = np.maximum(np.diag(self.products), 1.0)
        correlations = self.products / np.sqrt(np.outer(squares, squares))
        variances = squares / self.windows
        variances *= max(len(variances) / variances.sum(), 1.0)
        means = _shrunk(correlations, self.windows) * np.sqrt(np.outer(variances, variances))
        np.fill_diagonal(means, variances)
        return Overdispersion(self.windows, max(self.chi_squared / self.windows, 1.0), means)


def _shrunk(correlations: NDArray[np.float64], windows: int) -> NDArray[np.float64]:
    """Return correlations of r components estimated from W windows less what chance adds to them.

    W windows of independent components have squared correlations of 1/W on average. All are shrunk
    by one factor, so that the sum of their squares is what is left of it without that. But mostly it
    is the leading components, where the topics are, that move together, and the centroid distance
    depends on little else: so the leading half is judged for itself, and the leading half of that,
    and so on, and shrunk less where less is chance. The errors of these sums are added to what is
    left, since correlations too large only make the tests more careful. The result is positive
    definite: it is a mixture of the estimate, of estimates with all but leading ones set to 0, and of
    the identity.

    Source for shrinking by one factor: J. Schaefer and K. Strimmer, A shrinkage approach to
    large-scale covariance matrix estimation, Statistical Applications in Genetics and Molecular
    Biology 4, 2005.
    """
    kept = np.eye(len(correlations))
    # Never quite all, for with fewer windows than components the estimate is singular.
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
