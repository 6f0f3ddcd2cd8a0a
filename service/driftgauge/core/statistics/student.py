"""The heavier tail of a statistic whose scale was estimated from a number of windows."""

import math
import sys

from scipy.special import ndtri, stdtr, stdtrit

__all__ = ["student_p_value", "student_quantile"]


def student_p_value(p_value: float, windows: float) -> float:
    """Return the p-value, above 0 and below 1, of a normal statistic whose variance was estimated.

    The p-value becomes its normal quantile, and that quantile Student's variable: the ratio of a normal
    variable to a standard deviation that was estimated from W windows.

    Args:
        p_value: The upper tail probability with the estimated variance, above 0 and at most 1.
        windows: W; infinite where the variance is known.
    """
    bounded = min(max(p_value, sys.float_info.min), 1 - sys.float_info.epsilon)
    if math.isinf(windows):
        return bounded
    return min(max(float(stdtr(windows, ndtri(bounded))), sys.float_info.min), 1 - sys.float_info.epsilon)


def student_quantile(p_value: float, windows: float) -> float:
    """Return the lower quantile of Student's distribution with W degrees of freedom, normal if infinite."""
    bounded = min(max(p_value, sys.float_info.min), 1 - sys.float_info.epsilon)
    return float(ndtri(bounded) if math.isinf(windows) else stdtrit(windows, bounded))
