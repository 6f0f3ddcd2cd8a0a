"""The tests beside those of histogram and mean: novelty, spread and duplicates."""

import math

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.projection import SPREAD_STEP
from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Reference
from driftgauge.core.statistics.duplicates import Duplicates, DuplicatesNull
from driftgauge.core.statistics.novelty import Novelty, NoveltyNull
from driftgauge.core.statistics.overdispersion import DISTANCES, Overdispersion
from driftgauge.core.statistics.spread import Spread, SpreadNull
from driftgauge.core.statistics.target_power import POWER

__all__ = ["DistanceTests"]

# A spread is 16 at most.
_MOST_GROWTH = 15.0
_HALVINGS = 30


class DistanceTests:
    """The tests of novelty, spread and duplicates against one baseline."""

    def __init__(self, reference: Reference, overdispersion: Overdispersion | None) -> None:
        """Prepare the null distributions; without overdispersion, events are independent."""
        inflations, windows = [1.0] * DISTANCES, math.inf
        if overdispersion is not None:
            inflations, windows = overdispersion.distances.tolist(), overdispersion.windows
        self._novelty = NoveltyNull(reference.counts, inflations[0], windows)
        self._spreads = tuple(
            None if moments is None else SpreadNull(moments, inflation, windows)
            for moments, inflation in zip(reference.spreads, inflations[1:3], strict=True)
        )
        self._duplicates = DuplicatesNull(reference.hash_counts, inflations[3], windows)

    def novelty(self, tally: Tally) -> Novelty:
        """Return the novelty of a window."""
        return self._novelty.test(tally.outliers, tally.counts)

    def spread(self, tally: Tally) -> Spread:
        """Return the changes of a window's spreads."""
        means, outliers = (
            sums * SPREAD_STEP / tally.count for sums in (tally.spreads, tally.outlier_spreads)
        )
        return Spread(
            *(
                None if null is None else null.test(mean, part, tally.count)
                for null, mean, part in zip(self._spreads, means.tolist(), outliers.tolist(), strict=True)
            )
        )

    def duplicates(self, tally: Tally) -> Duplicates:
        """Return the duplicates of a window."""
        return self._duplicates.test(tally.hash_counts)

    def standardized(self, tally: Tally) -> NDArray[np.float64]:
        """Return what `OverdispersionEstimator.add` takes as distances, (4,); 0: no test."""
        means = (tally.spreads * SPREAD_STEP / tally.count).tolist()
        spreads = (
            0.0 if null is None else null.standardized(mean, tally.count)
            for null, mean in zip(self._spreads, means, strict=True)
        )
        repetition = math.sqrt(self._duplicates.ratio(tally.hash_counts))
        return np.array([self._novelty.standardized(tally.outliers, tally.counts), *spreads, repetition])

    def least_novelty(self, count: int, level: float) -> float:
        """Return the least excess of novelty that a window finds; see `NoveltyNull.least_excess`."""
        return self._novelty.least_excess(count, level)

    def least_duplicates(self, count: int, level: float) -> float:
        """Return the least share of one repeated item that is found; see `DuplicatesNull.least_share`."""
        return self._duplicates.least_share(count, level)

    def least_spread(self, count: int, level: float) -> float:
        """Return the least growth of all squared distances that a window finds by one of the spreads.

        The spreads are taken as independent. Infinity where no growth up to the largest spread is found.

        Args:
            count: n, 1 or more.
            level: The level of each test alone.
        """
        nulls = [null for null in self._spreads if null is not None]

        def missed(change: float) -> float:
            return math.prod(1 - null.power(change, count, level) for null in nulls)

        low, high = 0.0, _MOST_GROWTH
        if missed(high) > 1 - POWER:
            return math.inf
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if missed(middle) > 1 - POWER else (low, middle)
        return high
