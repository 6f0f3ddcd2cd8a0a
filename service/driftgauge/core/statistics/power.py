"""Statistical power: the probability of finding a given drift, and the sample size that it takes."""

import math
from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache

from driftgauge.core.statistics import special

__all__ = [
    "POWER",
    "effective_count",
    "fewest_events",
    "halve",
    "js_divergence_power",
    "js_needed",
    "mean_shift_power",
    "shift_needed",
]

POWER = 0.8
"""The target power: the probability that a window with drift worth finding is significant."""

# 8 ln 2 times the effective count and the base-2 divergence is chi-squared.
_JS_SCALE = 8 * math.log(2)

# At this non-centrality every test has full power, except against a baseline of one or two events more than
# components, for which the distribution cannot be computed much further.
_MAX_NONCENTRALITY = 1e9
_HALVINGS = 50
_MOST_DOUBLINGS = 41


def js_divergence_power(noncentrality: float, clusters: int, level: float) -> float:
    """Return the power of the test of the histogram at a non-centrality, 0 to 1.

    8 ln 2 * nm/(n+m) * JSD is about chi-squared with k - 1 degrees of freedom, and with drift D
    non-central by 8 ln 2 * nm/(n+m) * D (second-order expansion of the divergence). Overdispersion by
    phi divides n and m by phi (J. N. K. Rao and A. J. Scott, The analysis of categorical data from
    complex sample surveys, Journal of the American Statistical Association 76, 1981).

    Args:
        noncentrality: The non-centrality, 0 or more.
        clusters: k, 2 at least.
        level: The level of this test alone.
    """
    degrees = clusters - 1
    return 1 - float(
        special.chndtr(special.chdtri(degrees, level), degrees, min(noncentrality, _MAX_NONCENTRALITY))
    )


def mean_shift_power(noncentrality: float, components: int, baseline_count: float, level: float) -> float:
    """Return the power of Hotelling's test of the mean at a non-centrality, 0 to 1.

    T2 (m-r) / (r (m-1)) is F with r and m - r degrees of freedom, since the covariance is estimated
    from the m events of the baseline. With a shift of Mahalanobis length D its non-centrality is
    nm/(n+m) * D^2.

    Source: T. W. Anderson, An Introduction to Multivariate Statistical Analysis, 3rd edition, Wiley,
    2003, chapter 5.

    Args:
        noncentrality: The non-centrality, 0 or more.
        components: r, 1 at least.
        baseline_count: m; the power is 0 if m is r or less.
        level: The level of this test alone.
    """
    degrees = baseline_count - components
    noncentrality = min(noncentrality, _MAX_NONCENTRALITY)
    if degrees <= 0:
        return 0.0
    # The upper quantile as one over the lower of the inverse ratio: 1 - level would be rounded.
    quantile = 1 / special.fdtri(degrees, components, level)
    missed = float(special.ncfdtr(components, degrees, noncentrality, quantile))
    # At some non-centralities of 1,300 to 5,500 ncfdtr is NaN. The neighbours on both sides have full power.
    return 1.0 if math.isnan(missed) else 1 - missed


def effective_count(count: int, baseline_count: int, overdispersion: float) -> float:
    """Return nm/(n+m) of a window, divided by the overdispersion."""
    return 1 / (1 / count + 1 / baseline_count) / overdispersion


# Every window asks, and a search takes half a millisecond.
@lru_cache(maxsize=1_024)
def js_needed(clusters: int, level: float, degrees: float = math.inf) -> float:
    """Return the product of effective count and divergence with the target power, by a test at this level.

    Of overdispersed counts, the test is F, with so many degrees of freedom of their variance.
    """
    if math.isfinite(degrees):
        return shift_needed(clusters - 1, clusters - 1 + degrees, level) / _JS_SCALE
    return _noncentrality(lambda value: js_divergence_power(value, clusters, level)) / _JS_SCALE


@lru_cache(maxsize=1_024)
def shift_needed(components: int, baseline_count: float, level: float) -> float:
    """Return the product of effective count and shift that has the target power, by a test at this level."""
    return _noncentrality(lambda value: mean_shift_power(value, components, baseline_count, level))


def _noncentrality(power: Callable[[float], float]) -> float:
    """Return the non-centrality at which an increasing power function reaches the target; may be infinite."""
    # scipy.special.chndtrinc agrees to 2e-15 for the histogram, but ncfdtrinc only to 3e-5 for the mean, and
    # not above 10,000. scipy.optimize.brentq takes 0.1 ms, not 0.4, but would add 23 MiB to the service.
    high = 1.0
    while power(high) < POWER:
        high *= 2
        if high > _MAX_NONCENTRALITY:
            return math.inf
    return halve(lambda value: not power(value) < POWER, 0.0, high, _HALVINGS)


def fewest_events(is_enough: Callable[[int], bool]) -> int | None:
    """Return the least number of events from which on a condition holds; None if it never does."""
    # From below: beyond as many events as a baseline counts, duplicates may be found slightly worse again.
    high = next(filter(is_enough, (2**power for power in range(_MOST_DOUBLINGS))), None)
    return high and bisect_left(range(high), 1, lo=high // 2 + 1, key=is_enough)


def halve(is_enough: Callable[[float], bool], low: float, high: float, steps: int = 20) -> float:
    """Return the least number between two from which on a condition holds; `high` if it never does.

    Args:
        is_enough: The condition; if it holds of a number, it holds of all larger ones.
        low: The lower end.
        high: The upper end.
        steps: How often the interval is halved.
    """
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
