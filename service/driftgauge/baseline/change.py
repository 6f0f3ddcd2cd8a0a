"""A change of the vectors over time, a step or a trend, told apart from bursts and cycles."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.windows import Traffic
from driftgauge.events.timestamps import format_timestamp

__all__ = ["report_change"]

# Fewer blocks would not find a change in the last fifth. More would cut days into parts, among whose orders
# the last weekend of two weeks stands out.
_BLOCKS = 24
_PERMUTATIONS = 2_999
# About one fit in 200 whose blocks are in random order passes one of the tests.
_LEVEL = 0.005
# Of equal sums of another order, rounding makes one the larger.
_ROUNDING = 1e-9
# A smaller change is not worth finding, see `SmallestDrift`, and so cannot hide one that is: the squared
# length of a shift of the mean, and about that of the shares at a divergence of 0.01.
_SMALLEST = 0.05


def report_change(
    traffic: Traffic,
    rows: NDArray[np.intp],
    measured: Mapping[str, NDArray[np.float64]],
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
        measured: What may change, by its name in the warning: (m, c), a row for each vector.
        progress: Receives the warning.
    """
    numbers, windows = traffic.numbers[rows], len(traffic.starts_ms)
    sizes = np.bincount(numbers, minlength=windows)
    starts = np.unique(np.arange(_BLOCKS) * windows // _BLOCKS)
    changes = []
    for name, values in measured.items():
        sums = np.stack([np.bincount(numbers, column, windows) for column in values.T], axis=1)
        deviations = values.std(axis=0)
        deviations[deviations == 0] = np.inf
        # The sizes come first, so that they are permuted with the sums.
        series = np.column_stack([sizes, (sums - np.outer(sizes, values.mean(axis=0))) / deviations])
        blocks = np.add.reduceat(series, starts)
        least = _differences(blocks).max(initial=0) * (1 - _ROUNDING)
        random = np.random.default_rng(0)
        orders = (_differences(random.permutation(blocks)).max(initial=0) for _ in range(_PERMUTATIONS))
        chance = (1 + sum(order >= least for order in orders)) / (1 + _PERMUTATIONS)
        if chance > _LEVEL / len(measured):
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
            f"where the sides are parts of a cycle such as a week, those of two cycles or more"
        )


def _differences(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the statistic before each row but the first, of (n, 1 + c) sizes and standardized sums."""
    before = series.cumsum(axis=0)
    sizes, sums = before[:-1, 0], before[:-1, 1:]
    differences: NDArray[np.float64] = np.square(sums).sum(axis=1) / np.maximum(
        sizes * (1 - sizes / before[-1, 0]), 1
    )
    return differences
