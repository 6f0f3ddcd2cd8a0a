"""A change of the vectors over time, a step or a trend, told apart from bursts and cycles."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.windows import Traffic
from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.events.timestamps import format_timestamp

__all__ = ["report_change"]

# Fewer blocks would not find a change in the last fifth. More would cut days into parts, among whose orders
# the last weekend of two weeks stands out.
_BLOCKS = 20
_PERMUTATIONS = 999
# About one fit in 200 whose blocks are in random order passes this test.
_LEVEL = 0.005
# A smaller divergence is not worth finding, see `SmallestDrift`, and so cannot hide one that is.
_SMALLEST = 0.01


def report_change(
    traffic: Traffic,
    rows: NDArray[np.intp],
    ids: NDArray[np.intp],
    clusters: int,
    progress: Callable[[str], None],
) -> None:
    """Report the largest change between the windows of m held-out vectors, unless it may be chance.

    The statistic is Pearson's X2 of the counts before and after a window, at its largest. Its significance is
    the share of orders of the blocks of windows whose statistic is as large. After bursts all orders vary as
    much; a cycle of two periods or more, which returns to where it was, varies less than most.

    Args:
        traffic: The windows of all vectors.
        rows: (m,), the rows of the held-out vectors.
        ids: (m,), their clusters; no cluster is empty.
        clusters: k.
        progress: Receives the warning.
    """
    windows = len(traffic.starts_ms)
    places = traffic.numbers[rows] * clusters + ids
    counts = np.bincount(places, minlength=windows * clusters).reshape(windows, clusters)
    blocks = np.add.reduceat(counts, np.unique(np.arange(_BLOCKS) * windows // _BLOCKS))
    largest = _differences(blocks).max(initial=0)
    random = np.random.default_rng(0)
    orders = (_differences(random.permutation(blocks)).max(initial=0) for _ in range(_PERMUTATIONS))
    if (1 + sum(order >= largest for order in orders)) / (1 + _PERMUTATIONS) > _LEVEL:
        return
    first = 1 + int(_differences(counts).argmax())
    divergence = float(js_contributions(counts[:first].sum(axis=0), counts[first:].sum(axis=0)).sum())
    if divergence >= _SMALLEST:
        start = format_timestamp(int(traffic.starts_ms[first]))
        progress(
            f"warning: the vectors change near {start}: those before and after differ by a divergence of "
            f"{divergence:.3f}, more than bursts or cycles explain, and a baseline of both hides drift "
            f"of this size; give the vectors of one side alone, or, where the sides are parts of a cycle "
            f"such as a week, those of two cycles or more"
        )


def _differences(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return Pearson's X2 between the rows before and from each row but the first on, of (n, k) counts."""
    before = counts.cumsum(axis=0)
    total, before = before[-1], before[:-1]
    sizes, shares = before.sum(axis=1), total / total.sum()
    squares = (np.square(before - np.outer(sizes, shares)) / shares).sum(axis=1)
    scale = sizes * (1 - sizes / total.sum())
    differences: NDArray[np.float64] = squares / np.maximum(scale, 1)
    return differences
