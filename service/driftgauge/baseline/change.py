"""Change of the vectors over time that is more than bursts or cycles explain."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.windows import Traffic
from driftgauge.events.timestamps import format_timestamp

__all__ = ["report_change"]

# Fewer blocks would not find a change in the last seventh. More would cut days into parts, among whose
# orders the last weekend of two weeks stands out.
_BLOCKS = 24

# About one fit in 200 whose blocks are in random order passes one of the tests.
_ORDERS = 3_000
_MOST_AS_LARGE = 15

# Of equal sums of another order, rounding makes one the larger.
_ROUNDING = 1e-9

# A smaller change is not worth finding, see `SmallestDrift`, and so cannot hide one that is: the squared
# length of a shift of the mean, and about that of the shares at a divergence of 0.01.
_SMALLEST = 0.05


def report_change(
    traffic: Traffic,
    rows: NDArray[np.intp],
    measured: Mapping[str, Iterable[NDArray[Any]]],
    progress: Callable[[str], None],
) -> None:
    """Report the largest changes between the windows of m held-out vectors, unless they may be chance.

    The statistic is the squared difference between the means before and after a window, in standard errors of
    independent vectors, summed over the columns and at its largest. Its significance is the share of orders
    of the blocks of windows whose statistic is as large. After bursts all orders vary as much; a cycle of two
    periods or more, which returns to where it was, varies less than most.

    Args:
        traffic: The windows of all vectors.
        rows: (m,), the rows of the held-out vectors.
        measured: What may change, by its name in the warning: columns, (m,) each.
        progress: Receives the warning.
    """
    numbers, windows = traffic.numbers[rows], len(traffic.starts_ms)
    sizes = np.bincount(numbers, minlength=windows)
    starts = np.unique(np.arange(_BLOCKS) * windows // _BLOCKS)
    most = _MOST_AS_LARGE // len(measured)
    changes = []
    for name, columns in measured.items():
        # The sizes come first, so that they are permuted with the sums.
        series = np.stack(
            [sizes, *(_standardized_sums(column, numbers, sizes) for column in columns)], axis=1
        )
        blocks = np.add.reduceat(series, starts)
        least = _differences(blocks).max(initial=0) * (1 - _ROUNDING)
        random = np.random.default_rng(0)
        # The order of the blocks themselves is one.
        orders = (_differences(random.permutation(blocks)).max(initial=0) for _ in range(_ORDERS - 1))
        if sum(order >= least for order in orders) >= most:
            continue
        first = 1 + int(_differences(series).argmax())
        before, after = series[:first].sum(axis=0), series[first:].sum(axis=0)
        square = float(np.square(before[1:] / before[0] - after[1:] / after[0]).sum())
        if square >= _SMALLEST:
            start = format_timestamp(int(traffic.starts_ms[first]))
            changes.append(f"their {name} near {start} by {square**0.5:.2f} standard deviations")
    if changes:
        progress(
            f"warning: the vectors change, {', '.join(changes)}: this is more than bursts or cycles explain, "
            f"and a baseline of both sides hides drift of this size; give the vectors of one side alone, or, "
            f"if the sides are parts of a cycle such as a week, those of two cycles or more"
        )


def _standardized_sums(
    column: NDArray[Any], numbers: NDArray[np.intp], sizes: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the sum of each window, (w,), of (m,) numbers from their mean, in standard deviations."""
    sums = np.bincount(numbers, column, len(sizes))
    standardized: NDArray[np.float64] = (sums - sizes * column.mean()) / (column.std() or np.inf)
    return standardized


def _differences(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the statistic before each row but the first, of (n, 1 + c) sizes and standardized sums."""
    before = series.cumsum(axis=0)
    sizes, sums = before[:-1, 0], before[:-1, 1:]
    scale = np.maximum(sizes * (1 - sizes / before[-1, 0]), 1)
    differences: NDArray[np.float64] = np.square(sums).sum(axis=1) / scale
    return differences
