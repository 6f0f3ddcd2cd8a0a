"""The tests beside those of histogram and mean: novelty, spread and duplicates."""

import math

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.projection import SPREAD_STEP
from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.statistics.duplicates import DuplicatesNull
from driftgauge.core.statistics.halving import halve
from driftgauge.core.statistics.novelty import Novelty, NoveltyNull
from driftgauge.core.statistics.overdispersion import DISTANCES, Overdispersion
from driftgauge.core.statistics.spread import Spread, SpreadNull
from driftgauge.core.statistics.target_power import POWER

__all__ = ["DistanceTests", "deviations_of"]

# A spread is 16 at most.
_MOST_GROWTH = 15.0


class DistanceTests:
    """The tests of novelty and spread against one baseline, or one of its segments."""

    def __init__(
        self, reference: Reference | SegmentReference, overdispersion: Overdispersion | None
    ) -> None:
        """Prepare the null distributions; without overdispersion, events are independent."""
        distances, windows = [1.0] * DISTANCES, math.inf
        if overdispersion is not None:
            distances, windows = overdispersion.distances.tolist(), overdispersion.windows
        counts, shares = reference.outlier_shares
        self._groups = len(counts)
        self._novelty = NoveltyNull(counts, shares, distances[0], windows)
        self._spreads = tuple(
            None if moments is None else SpreadNull(moments, distance, windows)
            for moments, distance in zip(reference.spreads, distances[1:3], strict=True)
        )

    def novelty(self, tally: Tally) -> Novelty:
        """Return the novelty of a window."""
        return self._novelty.test(*self._grouped(tally))

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

    def standardized(self, tally: Tally) -> NDArray[np.float64]:
        """Return outliers and spreads less their expectations, in standard errors, (3,); 0: no test."""
        means = (tally.spreads * SPREAD_STEP / tally.count).tolist()
        spreads = (
            0.0 if null is None else null.standardized(mean, tally.count)
            for null, mean in zip(self._spreads, means, strict=True)
        )
        return np.array([self._novelty.standardized(*self._grouped(tally)), *spreads])

    def _grouped(self, tally: Tally) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return outliers and events, by cluster or of all clusters together."""
        outliers, counts = (
            each.reshape(self._groups, -1).sum(axis=1) for each in (tally.outliers, tally.counts)
        )
        return outliers, counts

    def least_novelty(self, count: int, level: float) -> float:
        """Return the least excess of novelty that a window finds; see `NoveltyNull.least_excess`."""
        return self._novelty.least_excess(count, level)

    def least_spread(self, count: int, level: float) -> float:
        """Return the least growth of all squared distances that a window finds by one of the spreads.

        The spreads are taken as independent. Infinity where no growth up to the largest spread is found.

        Args:
            count: n, 1 or more.
            level: The level of each test alone.
        """
        nulls = [null for null in self._spreads if null is not None]

        def is_found(change: float) -> bool:
            return math.prod(1 - null.power(change, count, level) for null in nulls) <= 1 - POWER

        return halve(is_found, 0.0, _MOST_GROWTH) if is_found(_MOST_GROWTH) else math.inf


def deviations_of(
    tally: Tally, reference: Reference | SegmentReference, shift: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Return what `OverdispersionEstimator.add` takes of a window: deviations of means, and repetition.

    Args:
        tally: The window's tally.
        reference: The baseline, or one of its segments, which has no hashes: its repetition is 0.
        shift: (r,) float64, the deviations along the components.
    """
    repetition = 0.0
    if isinstance(reference, Reference):
        repetition = DuplicatesNull.of(reference.hash_counts, None).ratio(tally.hash_counts)
    # From standard errors of a difference of two means to standard deviations of one event.
    error = math.sqrt(1 / tally.count + 1 / int(reference.counts.sum()))
    return np.append(shift, error * DistanceTests(reference, None).standardized(tally)), repetition
