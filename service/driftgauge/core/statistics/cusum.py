"""CUSUM detector of slow drift: shifts too small to be significant in any single window."""

import math

from driftgauge.core.statistics import special

__all__ = ["advance", "threshold"]

# Half of the shift in z that the detector is tuned to, which is 1: a typical p-value of 0.16.
_ALLOWANCE = 0.5

# The verdict finds single large windows, this detector does not: clipped at 4, no window alone reaches the
# threshold of a run length above 202 windows. Without drift 1 window in 30,000 is clipped.
_MAX_Z = 4.0

# Twice 0.583, the mean overshoot of a random walk of standard normal steps: once for either boundary.
_OVERSHOOT = 1.166

# At shorter run lengths evidence has no time to accumulate over windows.
_MIN_RUN_LENGTH = 10


def advance(statistic: float, p_value: float) -> float:
    """Return the CUSUM statistic after one more window; the statistic starts at 0.

    max(0, statistic + z - 1/2), with z the normal quantile of 1 - p: standard normal without drift.

    Source: E. S. Page, Continuous inspection schemes, Biometrika 41, 1954.
    """
    z = min(max(-float(special.ndtri(p_value)), -_MAX_Z), _MAX_Z)
    return max(0.0, statistic + z - _ALLOWANCE)


def threshold(average_run_length: float) -> float:
    """Return the CUSUM threshold with this average run length without drift.

    The h at which (exp(2 k b) - 2 k b - 1) / (2 k^2) is the run length, with k = 1/2 and
    b = h + 1.166, for independent windows with uniform p-values.

    Source: D. Siegmund, Sequential Analysis: Tests and Confidence Intervals, Springer, 1985
    (corrected diffusion approximation of the average run length).

    Args:
        average_run_length: The mean number of windows until the first false alarm, at least 10.

    Raises:
        ValueError: The run length is less than 10, or not finite.
    """
    if not (_MIN_RUN_LENGTH <= average_run_length < math.inf):
        message = f"the average run length must be finite and at least 10 windows, not {average_run_length}"
        raise ValueError(message)
    # With k = 1/2: exp(b) = ARL / 2 + 1 + b, a contraction with a factor of less than 1/6. Its solution by
    # scipy.special.lambertw(-exp(-base), -1) underflows from a run length of 1,500 windows on.
    base = average_run_length / 2 + 1
    boundary = 0.0
    for _ in range(30):
        boundary = math.log(base + boundary)
    return boundary - _OVERSHOOT
