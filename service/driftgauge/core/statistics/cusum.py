"""Slow drift: small evidence, window after window, that no window alone would show."""

import math

from scipy.special import ndtri

__all__ = ["advance", "threshold"]

# Half of the shift in z that is found soonest, which is 1: windows whose p-value is typically 0.16.
_ALLOWANCE = 0.5

# One huge window is the verdict's business, not this detector's. Clipped so, no window alone reaches
# the threshold of a run length above 202 windows, and without drift one in 30,000 is clipped.
_MAX_Z = 4.0

# Twice 0.583, the mean overshoot of a random walk of standard normal steps: once for either boundary.
_OVERSHOOT = 1.166

# Whoever allows a false alarm more often has no use for evidence that builds up over windows.
_MIN_RUN_LENGTH = 10


def advance(statistic: float, p_value: float) -> float:
    """Return the CUSUM statistic after one more window; 0 before the first.

    max(0, statistic + z - 1/2), with z the normal quantile of 1 - p: standard normal without drift.

    Source: E. S. Page, Continuous inspection schemes, Biometrika 41, 1954.
    """
    z = min(max(-float(ndtri(p_value)), -_MAX_Z), _MAX_Z)
    return max(0.0, statistic + z - _ALLOWANCE)


def threshold(average_run_length: float) -> float:
    """Return what the statistic must reach, so that without drift it takes so many windows on average.

    The h at which (exp(2 k b) - 2 k b - 1) / (2 k^2) is the run length, with k = 1/2 and
    b = h + 1.166. It is for independent windows with uniform p-values.

    Source: D. Siegmund, Sequential Analysis: Tests and Confidence Intervals, Springer, 1985
    (corrected diffusion approximation of the average run length).

    Args:
        average_run_length: Windows until the first false alarm, 10 at least.

    Raises:
        ValueError: It is less than 10, or not finite.
    """
    if not (_MIN_RUN_LENGTH <= average_run_length < math.inf):
        message = f"an average run length of {average_run_length} windows is not a number from 10 on"
        raise ValueError(message)
    # With k = 1/2: exp(b) = ARL / 2 + 1 + b, a contraction with a factor of less than 1/6.
    base = average_run_length / 2 + 1
    reach = 0.0
    for _ in range(30):
        reach = math.log(base + reach)
    return reach - _OVERSHOOT
