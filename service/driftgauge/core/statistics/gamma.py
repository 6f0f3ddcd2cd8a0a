"""The gamma distribution of mean 0, variance 1 and a given skewness: the tail that three moments describe."""

import math
import sys

from scipy.special import gammaincc, gammainccinv

__all__ = ["gamma_quantile", "gamma_tail"]


def gamma_tail(standardized: float, skewness: float) -> float:
    """Return the probability of a value this large or larger, in (0, 1].

    Args:
        standardized: The value less its mean, in standard deviations.
        skewness: Above 0.
    """
    shape = 4 / skewness**2
    tail = float(gammaincc(shape, max(shape + math.sqrt(shape) * standardized, 0.0)))
    return max(tail, sys.float_info.min)


def gamma_quantile(tail: float, skewness: float) -> float:
    """Return the value that is exceeded with a probability between 0 and 1; the inverse of `gamma_tail`."""
    shape = 4 / skewness**2
    return (float(gammainccinv(shape, tail)) - shape) / math.sqrt(shape)
