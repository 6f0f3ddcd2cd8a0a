"""Tails: of the gamma distribution, by three moments; and Student's, if the scale was estimated."""

import math
import sys

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.statistics import special

__all__ = [
    "gamma_quantile",
    "gamma_tail",
    "skewed_quantile",
    "skewed_tail",
    "student_p_value",
    "student_quantile",
]

# Below this the gamma distribution is normal to three digits, and its functions lose as many.
_LEAST_SKEWNESS = 1e-3


def gamma_tail(standardized: float, skewness: float) -> float:
    """Return the probability of a value this large or larger, in (0, 1].

    Args:
        standardized: The value less its mean, in standard deviations.
        skewness: Above 0.
    """
    shape = 4 / skewness**2
    tail = float(special.gammaincc(shape, max(shape + math.sqrt(shape) * standardized, 0.0)))
    return max(tail, sys.float_info.min)


def gamma_quantile(tail: float, skewness: float) -> float:
    """Return the value that is exceeded with a probability between 0 and 1; the inverse of `gamma_tail`."""
    shape = 4 / skewness**2
    return (float(special.gammainccinv(shape, tail)) - shape) / math.sqrt(shape)


def skewed_tail(standardized: NDArray[np.float64], skewness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lesser tail probabilities of gamma variables with mean 0, variance 1 and a skewness each.

    On the side where a gamma variable has a bound, the tail is that of the normal variable: means of bursts
    reach beyond the bound.

    Args:
        standardized: (w,) float64, the values.
        skewness: (w,) float64.
    """
    distance, size = np.abs(standardized), np.abs(skewness)
    shape = 4 / np.square(np.maximum(size, _LEAST_SKEWNESS))
    gamma = np.minimum(special.gammaincc(shape, shape + np.sqrt(shape) * distance), 0.5)
    is_normal = (size < _LEAST_SKEWNESS) | (standardized * skewness <= 0)
    tails: NDArray[np.float64] = np.where(is_normal, special.ndtr(-distance), gamma)
    return np.maximum(tails, sys.float_info.min)


def skewed_quantile(tails: NDArray[np.float64], skewness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values above 0 that such variables exceed with probabilities below 1/2, (w,) each."""
    shape = 4 / np.square(np.maximum(skewness, _LEAST_SKEWNESS))
    gamma = (special.gammainccinv(shape, tails) - shape) / np.sqrt(shape)
    return np.asarray(np.where(skewness < _LEAST_SKEWNESS, -special.ndtri(tails), gamma))


def student_p_value(p_value: float, windows: float) -> float:
    """Return the p-value, above 0 and below 1, of a normal statistic whose variance was estimated.

    The p-value becomes its normal quantile, and that quantile Student's variable: the ratio of a normal
    variable to a standard deviation that was estimated from W windows.

    Args:
        p_value: The upper tail probability with the estimated variance, above 0 and at most 1.
        windows: W; infinite if the variance is known.
    """
    bounded = min(max(p_value, sys.float_info.min), 1 - sys.float_info.epsilon)
    if math.isinf(windows):
        return bounded
    return min(
        max(float(special.stdtr(windows, special.ndtri(bounded))), sys.float_info.min),
        1 - sys.float_info.epsilon,
    )


def student_quantile(p_value: float, windows: float) -> float:
    """Return the lower quantile of Student's distribution with W degrees of freedom, normal if infinite."""
    bounded = min(max(p_value, sys.float_info.min), 1 - sys.float_info.epsilon)
    return float(special.ndtri(bounded) if math.isinf(windows) else special.stdtrit(windows, bounded))
