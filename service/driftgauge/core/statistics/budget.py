"""The alarm budget: from false pages a year to the level that a window is tested at."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_LEVEL", "YEAR_MS", "benjamini_hochberg", "share", "window_level"]

YEAR_MS = 31_557_600_000
"""The Julian year, 365.25 days."""

# Few windows and a generous budget would make a window drift by a chance of one in ten. A single
# window must mean more than that, and the combined p-value is accurate for small levels only.
MAX_LEVEL = 0.01


def window_level(false_pages_per_year: float, sizes_ms: Sequence[int]) -> float:
    """Return the level for each window that spends the budget evenly over all windows of a year.

    By Bonferroni's inequality: the windows need not be independent, and that a page takes several
    windows in a row is not credited, since what disturbs one window tends to disturb the next.

    Args:
        false_pages_per_year: The pages to expect in a year of 365.25 days without any drift.
        sizes_ms: The window sizes, ms, of every stream: a size that two streams use stands twice.

    Returns:
        The level, `MAX_LEVEL` at most.

    Raises:
        ValueError: The budget or a size is not positive, or there is no size.
    """
    if not (0 < false_pages_per_year < math.inf):
        message = f"a budget of {false_pages_per_year} false pages a year is no positive number"
        raise ValueError(message)
    if not sizes_ms or min(sizes_ms) <= 0:
        message = f"window sizes of {list(sizes_ms)} ms make no windows"
        raise ValueError(message)
    windows_per_year = math.fsum(YEAR_MS / size_ms for size_ms in sizes_ms)
    return min(false_pages_per_year / windows_per_year, MAX_LEVEL)


def share(level: float, segments: int) -> float:
    """Return the part of a window's level for the whole, and as much for all its segments together.

    Half each where there are segments: a page for either is a page, and the two add up to the level.

    Args:
        level: The window's level.
        segments: How many segments the stream is judged by; all of the level is the whole's at 0.
    """
    return level / 2 if segments else level


def benjamini_hochberg(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Return the p-values (s,) adjusted for their number, (s,) float64 in the same order.

    Those at or below a level, taken for found, are false in that share at most, on average, where
    the p-values are independent or positively dependent. With none to be found, the chance that any
    is at or below the level is no more than the level. Of the i-th smallest of s it is the least of
    s p_j / j over all j from i on, so that they grow as the p-values do.

    Source: Y. Benjamini and Y. Hochberg, Controlling the false discovery rate, Journal of the Royal
    Statistical Society B 57(1), 1995; for positive overdispersion Y. Benjamini and D. Yekutieli, The
    control of the false discovery rate in multiple testing under dependency, Annals of Statistics
    29(4), 2001.
    """
    values = np.asarray(p_values, dtype=np.float64)
    descending = np.argsort(-values, kind="stable")
    ranks = np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[descending] = np.minimum.accumulate(values[descending] * (len(values) / ranks))
    return adjusted
