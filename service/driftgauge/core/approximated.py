"""How rare a divergence is when nothing has drifted, by a saddlepoint approximation."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri, gammaln, ndtr

from driftgauge.core.listed import LEAST_P_VALUE, divergence_parts
from driftgauge.core.saddlepoint import conditional_tail

__all__ = ["Approximated"]

# Further out than this level, for a chi-squared variable of the same mean, that variable's tail goes on.
LEAST_LEVEL = 1e-8
# And closer in than this, or than this part of the mean, any window diverges as much.
HIGHEST_LEVEL = 0.9999
LEAST_RATIO = 1e-6

# The counts of a cluster that are looked at: to so many standard deviations of windows that diverge as
# is as rare as the least level; to a fifth more than makes all of that divergence; no further than so many
# standard deviations of windows without drift, and so many of them in one.
REACH = 7.0
MARGIN = 1.2
MOST_REACH = 12.0
PER_DEVIATION = 2.0
MOST_COUNTS = 256

# The levels at which the approximation is held up to the chi-squared distribution, and the fewest clusters
# for which it need not be; a normal variable's places, in standard deviations.
KNOWN_LEVELS = (0.9, 0.7, 0.5, 0.3, 0.1, 1e-2, 1e-4, LEAST_LEVEL)
ACCURATE_CLUSTERS = 20
NORMAL_PLACES = np.linspace(-12, 12, 97)


class Approximated:
    """The saddlepoint approximation.

    A Dirichlet-multinomial histogram is one of independent negative binomial counts, given their sum; the
    divergence is a sum over clusters, so its tail is a conditional one. What a saddlepoint does not see is
    a single cluster that alone makes a window diverge as much, as one does that is emptied: how often that
    happens is added up instead, and the tail is that of windows in which no cluster does. With few clusters
    that is a little large, and is divided by as much as it would be if counts were normal.

    Against simulations it is right to 1 % at p = 1e-2 and 3 % at 1e-4 from 20 clusters on that are well
    filled; to 3 and 5 % with five; to 8 % at 1e-3 where five or ten of many clusters hold all events. Where
    windows have some ten events a cluster or fewer, or hardly any outside one, there are few divergences,
    far apart: of these it errs by up to a factor of three either way, though it alarms as often as it
    should. Where the window is ten times the baseline and all of that lies in one cluster, it alarms up to
    nine times too often.

    Where clusters are well filled the p-value does not rise with the divergence by more than 5 %, down to
    1e-6. Where nearly all are empty it may, and between divergences that windows have it means nothing.

    Beyond p = 1e-8, or so, the tail is that of a chi-squared variable, scaled to meet it. It has k - 1
    degrees of freedom, or fewer, so that it varies as much for its mean as the divergence does: where a
    baseline fills few of the clusters, about as many as these.
    """

    def __init__(
        self,
        shares: NDArray[np.float64],
        parameters: NDArray[np.float64],
        probabilities: NDArray[np.float64],
        count: float,
        baseline_count: float,
    ) -> None:
        """Take the baseline and a count of events.

        Args:
            shares: (k,) float64, the baseline's histogram as shares.
            parameters: (a, k) float64, those that the Dirichlet distribution of the true shares may have.
            probabilities: (a,) float64, how probable each of them is.
            count: The window's events, at least 1, over-dispersion divided out.
            baseline_count: The baseline's, the same way.
        """
        self._count = count
        self._probabilities = probabilities
        # 8 ln 2 * nm/(n+m) * JSD is nearly chi-squared with k - 1 degrees of freedom.
        self._scale = 8 / (1 / count + 1 / baseline_count)
        self._degrees: float = len(shares) - 1
        self._states = _States.of(shares, parameters, count, self._scale, self._degrees)
        self._mean, variance = self._states.moments(probabilities)
        degrees = 2 * self._mean**2 / variance
        if degrees < self._degrees:
            # Many clusters are all but empty: the divergence varies more, and its levels are further out.
            self._degrees = degrees
            self._states = _States.of(shares, parameters, count, self._scale, degrees)
            self._mean, _ = self._states.moments(probabilities)
        self._farthest = self._mean * _farthest(self._degrees)
        self.expected = self._mean / self._scale / math.log(2)

    def p_value(self, js_divergence: float) -> float:
        """Return how probable a base-2 divergence this large or larger is, above 0 and at most 1."""
        value = js_divergence * math.log(2) * self._scale
        if value < self._mean * max(chdtri(self._degrees, HIGHEST_LEVEL) / self._degrees, LEAST_RATIO):
            return 1.0
        if value <= self._farthest:
            return max(self._tail(value), LEAST_P_VALUE)
        stretch = chdtri(self._degrees, max(self._tail(self._farthest), LEAST_P_VALUE)) / self._farthest
        return max(float(chdtrc(self._degrees, stretch * value)), LEAST_P_VALUE)

    def _tail(self, value: float) -> float:
        states = self._states
        is_single = states.values > max(value, self._mean)
        single = (states.alone * is_single[:, None]).sum(axis=(0, 2))
        tails = _together(states.log_weights, states.values, states.counts, value, self._count, is_single)
        tail = float((single + (1 - single) * tails) @ self._probabilities)
        return min(tail / _excess(len(states.values), tail), 1.0)


@dataclass(frozen=True, slots=True)
class _States:
    """What each cluster may hold.

    Attributes:
        counts: (k, p) float64, its counts that are looked at.
        values: (k, p) float64, what they add to the scaled divergence.
        log_weights: (k, a, p) float64, the log-probabilities of the counts were there no sum to keep to, but
            for a constant.
        alone: (k, a, p) float64, their probabilities whatever the other clusters hold.
    """

    counts: NDArray[np.float64]
    values: NDArray[np.float64]
    log_weights: NDArray[np.float64]
    alone: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        shares: NDArray[np.float64],
        parameters: NDArray[np.float64],
        count: float,
        scale: float,
        degrees: float,
    ) -> "_States":
        """Return the states to look at for a divergence of so many degrees of freedom."""
        places = _counts(parameters, count, _farthest(degrees))
        values = divergence_parts(places / count, shares[:, None]) * scale
        # By itself a cluster is beta-binomial; given the sum, as good as negative binomial.
        counts, own = places[:, None], parameters.T[:, :, None]
        total = parameters.sum(axis=1)[:, None]
        rising = gammaln(counts + own) - gammaln(counts + 1)
        log_weights = rising + counts * np.log(count / (count + total))
        others = np.maximum(count - counts, -1.0)
        alone = rising + gammaln(others + total - own) - gammaln(others + 1)
        alone = np.exp(alone - alone.max(axis=2, keepdims=True))
        return cls(places, values, log_weights, alone / alone.sum(axis=2, keepdims=True))

    def moments(self, probabilities: NDArray[np.float64]) -> tuple[float, float]:
        """Return the mean of the scaled divergence, and its variance were clusters independent.

        So where all are well filled, which makes the divergence chi-squared with k - 1 degrees of freedom,
        the variance is that of k, or little more.
        """
        means = (self.alone * self.values[:, None]).sum(axis=2)
        squares = (self.alone * np.square(self.values)[:, None]).sum(axis=2)
        variances = (squares - np.square(means)).sum(axis=0)
        return float(means.sum(axis=0) @ probabilities), float(variances @ probabilities)


def _farthest(degrees: float) -> float:
    """Return how many times its mean a chi-squared variable is at the least level."""
    return float(chdtri(degrees, LEAST_LEVEL)) / degrees


def _together(
    log_weights: NDArray[np.float64],
    values: NDArray[np.float64],
    places: NDArray[np.float64],
    value: float,
    total: float,
    is_single: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the tail, (a,) float64, of windows in which no cluster alone makes all of the divergence."""
    return conditional_tail(
        np.where(is_single[:, None], -np.inf, log_weights),
        np.where(is_single, 0.0, values),
        places,
        value,
        total,
    )


def _excess(clusters: int, tail: float) -> float:
    """Return how many times too large a tail is found where the divergence is chi-squared."""
    if clusters >= ACCURATE_CLUSTERS or tail == 0:
        return 1.0
    return math.exp(float(np.interp(-math.log(tail), *_known_excess(clusters))))


@lru_cache
def _known_excess(clusters: int) -> tuple[list[float], list[float]]:
    """Return tails as they are found of squares of normal variables, and how much too large these are.

    Both as logarithms, the first with the other sign. The variables are as many as clusters, and sum
    to 0: the sum of their squares is chi-squared.
    """
    places = np.broadcast_to(NORMAL_PLACES, (clusters, len(NORMAL_PLACES)))
    squares = np.square(places)
    found, excess = [], []
    for level in KNOWN_LEVELS:
        value = float(chdtri(clusters - 1, level))
        farthest = max(value, clusters - 1.0)
        single = 2 * clusters * float(ndtr(-math.sqrt(farthest / (1 - 1 / clusters))))
        (together,) = _together((-squares / 2)[:, None], squares, places, value, 0.0, squares > farthest)
        tail = single + (1 - single) * float(together)
        found.append(-math.log(tail))
        excess.append(math.log(tail / level))
    return found, excess


def _counts(parameters: NDArray[np.float64], count: float, farthest: float) -> NDArray[np.float64]:
    """Return the counts of each cluster to look at, (k, p) float64, the same distance apart in each.

    A sum over a smooth density is exact to all digits at half a standard deviation.
    """
    total = parameters.sum(axis=1, keepdims=True)
    means = parameters * (count / total)
    # Not as a negative binomial count does: a cluster that has nearly all events varies by the others'.
    deviations = np.sqrt(means * (1 - parameters / total) * (1 + count / total))
    reach = math.sqrt(farthest) * min(REACH, MARGIN * math.sqrt(parameters.shape[1] - 1))
    reach = min(reach, MOST_REACH)
    lowest = np.floor(np.maximum((means - reach * deviations).min(axis=0), 0.0))
    # Roots of counts vary alike whatever their mean: small ones reach further upwards.
    highest = (means + reach * deviations + reach**2 / 4 * (1 + count / total)).max(axis=0)
    highest = np.minimum(highest, math.ceil(count))
    step = np.maximum(np.floor(deviations.min(axis=0) / PER_DEVIATION), 1.0)
    step = np.maximum(step, np.ceil((highest - lowest) / MOST_COUNTS))
    places = np.arange(math.ceil(float(((highest - lowest) / step).max())) + 1)
    counts: NDArray[np.float64] = lowest[:, None] + step[:, None] * places
    return counts
