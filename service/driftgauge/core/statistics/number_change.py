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

# Of comparisons without such a cluster, this share finds one that only one side has.
_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its standard error."""

    value: float
    error: float

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
        unshared: What comes of clusters in which only the window or only the baseline has values, by more
            than chance.
        by_cluster: (k,) float64, what each cluster holds of the change; they sum to it.
        within_by_cluster: (k,) float64, what each holds of `within`.
    """

    total: Estimate
    mix: Estimate
    within: Estimate
    unshared: Estimate
    by_cluster: NDArray[np.float64]
    within_by_cluster: NDArray[np.float64]


class _Side:
    """The values of the window or of the baseline, by cluster.

    Attributes:
        shares: (k,), the share of the values in each cluster.
        means: (k,), their means, less a level; 0 without a value.
    """

    def __init__(self, tally: NumberTally, level: float, within: float) -> None:
        """Take a tally, the level, and the variance of values within clusters."""
        counts = tally.counts
        self.shares = counts / tally.count
        self.means = np.where(counts > 0, tally.means - level, 0.0)
        # One more value at the usual variance: a cluster of few equal values has some too.
        self._mean_variances = (tally.squares + within) / np.maximum(counts, 1) ** 2
        self._count = tally.count

    def take_means(self, other: "_Side", clusters: NDArray[np.bool_]) -> None:
        """Take the means of some clusters, and their variances, from the other side."""
        self.means[clusters] = other.means[clusters]
        self._mean_variances[clusters] = other._mean_variances[clusters]

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

    A rare cluster may lack values on one side by chance. Its mean there is taken to be the other side's.

    Args:
        window: The tally of the window; there is one value at least.
        baseline: The tally of the baseline, by the same k clusters, as well.
        overdispersion: How many times as much as means of independent values those of windows vary.
    """
    level, sides = (window.mean + baseline.mean) / 2, (window, baseline)
    degrees = sum(each.count - np.count_nonzero(each.counts) for each in sides)
    within = sum(each.squares.sum() for each in sides) / max(degrees, 1)
    # As in the variance of all values' mean, for all clusters together.
    within += window.number.width**2 / len(window.counts)
    now, then = _Side(window, level, within), _Side(baseline, level, within)
    is_unshared = _is_unshared(window, baseline, overdispersion)
    is_shared = ~is_unshared
    now.take_means(then, is_shared & (window.counts == 0))
    then.take_means(now, is_shared & (baseline.counts == 0))
    shares, means = now.shares - then.shares, now.means - then.means
    share, mean = (now.shares + then.shares) / 2, (now.means + then.means) / 2
    parts = {
        "mix": (is_shared * shares * mean, (is_shared * mean,) * 2, (is_shared * shares / 2,) * 2),
        "within": (is_shared * means * share, (is_shared * means / 2,) * 2, (is_shared * share,) * 2),
        "unshared": (
            is_unshared * (now.shares * now.means - then.shares * then.means),
            (is_unshared * now.means, is_unshared * then.means),
            (is_unshared * now.shares, is_unshared * then.shares),
        ),
    }
    estimates = {}
    for name, (terms, by_share, by_mean) in parts.items():
        variance = now.variance(by_share[0], by_mean[0]) + then.variance(by_share[1], by_mean[1])
        estimates[name] = Estimate(float(terms.sum()), math.sqrt(max(variance, 0) * overdispersion))
    variance = window.mean_variance + baseline.mean_variance
    return NumberChange(
        total=Estimate(window.mean - baseline.mean, math.sqrt(variance * overdispersion)),
        by_cluster=np.sum([terms for terms, _, _ in parts.values()], axis=0),
        within_by_cluster=parts["within"][0],
        **estimates,
    )


def _is_unshared(window: NumberTally, baseline: NumberTally, overdispersion: float) -> NDArray[np.bool_]:
    """Return the clusters, (k,), in which one side alone has values, by more than chance."""
    counts, total = window.counts + baseline.counts, window.count + baseline.count
    side = np.where(window.counts == 0, baseline.count, np.where(baseline.counts == 0, window.count, total))
    # The chance that values of one cluster, which belong to either side like all others, are all on this one.
    is_rare: NDArray[np.bool_] = (side / total) ** (counts / overdispersion) < _LEVEL / len(counts)
    return is_rare
