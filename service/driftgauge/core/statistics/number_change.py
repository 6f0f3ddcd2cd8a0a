"""The change of a number's mean against the baseline, and why: by the mix of clusters, or within them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.numbers import NumberTally

__all__ = ["PARTS", "Estimate", "NumberChange", "explain_change"]

PARTS = ("mix", "within", "unshared")
"""The parts of a change, which sum to it."""

_Z95 = 1.959964
"""Of a normal distribution 95 % lie within so many standard deviations."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its standard error."""

    value: float
    error: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval."""
        return self.value - _Z95 * self.error, self.value + _Z95 * self.error

    @property
    def is_clear(self) -> bool:
        """Whether the 95 % interval excludes 0."""
        return abs(self.value) > _Z95 * self.error


@dataclass(frozen=True, slots=True, eq=False)
class NumberChange:
    """The change of a mean against the baseline's, in three parts that sum to it.

    Attributes:
        total: The change.
        mix: What comes of other shares of the clusters.
        within: What comes of other means within clusters.
        unshared: What comes of clusters in which only the window or only the baseline has values.
        by_cluster: (k,) float64, what each cluster holds of the change; they sum to it.
    """

    total: Estimate
    mix: Estimate
    within: Estimate
    unshared: Estimate
    by_cluster: NDArray[np.float64]


class _Side:
    """The values of the window or of the baseline, by cluster.

    Attributes:
        shares: (k,), the share of the values in each cluster.
        means: (k,), their means, less a level; 0 without a value.
    """

    def __init__(self, tally: NumberTally, level: float) -> None:
        counts = tally.counts
        self.has_values = counts > 0
        self.shares = counts / tally.count
        self.means = np.where(self.has_values, tally.means - level, 0.0)
        # One more value at the mean variance within clusters: a cluster of few equal values has some too.
        within = tally.squares.sum() / max(tally.count - self.has_values.sum(), 1)
        self._mean_variances = (tally.squares + within) / np.maximum(counts, 1) ** 2
        self._count = tally.count

    def variance(self, by_share: NDArray[np.float64], by_mean: NDArray[np.float64]) -> float:
        """Return the variance of a sum over clusters, to the first order.

        Args:
            by_share: (k,), its derivatives by the shares, which are multinomial.
            by_mean: (k,), its derivatives by the means.
        """
        first = float(self.shares @ by_share)
        of_shares = float(self.shares @ by_share**2) - first * first
        return of_shares / self._count + float(by_mean**2 @ self._mean_variances)


def explain_change(window: NumberTally, baseline: NumberTally, overdispersion: float = 1.0) -> NumberChange:
    """Return the change of a mean and its parts, with their standard errors.

    The symmetric form: a difference of shares counts by the average of both means, and a difference of means
    by the average of both shares (E. Kitagawa, Components of a difference between two rates, JASA 50(272),
    1955). Means are counted from the average of both overall means, so that a cluster that grows at the usual
    mean holds nothing, and no part depends on where the range begins.

    Args:
        window: The tally of the window; there is one value at least.
        baseline: The tally of the baseline, by the same k clusters, as well.
        overdispersion: How many times as much as means of independent values those of windows vary.
    """
    level = (window.mean + baseline.mean) / 2
    now, then = _Side(window, level), _Side(baseline, level)
    is_shared = now.has_values & then.has_values
    shares, means = now.shares - then.shares, now.means - then.means
    share, mean = (now.shares + then.shares) / 2, (now.means + then.means) / 2
    parts = {
        "mix": (is_shared * shares * mean, (is_shared * mean,) * 2, (is_shared * shares / 2,) * 2),
        "within": (is_shared * means * share, (is_shared * means / 2,) * 2, (is_shared * share,) * 2),
        "unshared": (
            ~is_shared * (now.shares * now.means - then.shares * then.means),
            (~is_shared * now.means, ~is_shared * then.means),
            (~is_shared * now.shares, ~is_shared * then.shares),
        ),
    }
    estimates = {}
    for name, (terms, by_share, by_mean) in parts.items():
        variance = now.variance(by_share[0], by_mean[0]) + then.variance(by_share[1], by_mean[1])
        estimates[name] = Estimate(float(terms.sum()), math.sqrt(max(variance, 0) * overdispersion))
    variance = window.variance / window.count + baseline.variance / baseline.count
    return NumberChange(
        total=Estimate(window.mean - baseline.mean, math.sqrt(variance * overdispersion)),
        by_cluster=np.sum([terms for terms, _, _ in parts.values()], axis=0),
        **estimates,
    )
