"""The tests of relations: whether directions vary together as they do in the baseline."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.measurement import MeasuredEvents
from driftgauge.core.counting.projection import STANDARD_STEPS
from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.statistics import special
from driftgauge.core.statistics.nulls.means_null import MeansNull, describe, find_spectrum, recentre_moments
from driftgauge.core.statistics.nulls.tails import student_quantile
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.power import POWER
from driftgauge.core.statistics.statistic import Finding, Null, Statistic

__all__ = [
    "LEADING_COMPONENTS",
    "RELATIONS",
    "RELATION_MOMENTS",
    "RELATION_SPECTRUM",
    "RELATION_SUMS",
    "RelationChange",
    "Relations",
    "RelationsNull",
]

RELATION_SUMS = "relation_sums"
"""The sums of the products of pairs of the events' eight leading coordinates, 72 integers in 2^-20ths."""
RELATION_MOMENTS = "relation_moments"
"""(5, 72) float64, the moments of the products; see `describe`."""
RELATION_SPECTRUM = "relation_spectrum"
"""(36,) float64, the eigenvalues of the correlations of the products around the clusters' means."""

LEADING_COMPONENTS = 8
"""The number of components whose products are tested."""

# Steps in a coordinate over the event's length, and in a product of two.
_UNIT = 2.0**10
_PRODUCT_STEP = _UNIT**-2
_PRODUCTS = LEADING_COMPONENTS * (LEADING_COMPONENTS + 1)

# Added to a squared length. Its mean, 8, shows rotations best, and hides correlations of heavy tails, most of
# whose events are short: of t with 3 degrees of freedom .83 are found by 8, and .92 by 2.
_SHORTEST = 2.0


@dataclass(frozen=True, slots=True)
class RelationChange:
    """A change of relations, and its test.

    Attributes:
        change: The change of the mean product, in standard deviations of the product of one event: about the
            change of the correlation of two directions.
        excess: The change less the expectation of a clean window.
        p_value: The probability of as large a change or larger without drift, in (0, 1].
    """

    change: float
    excess: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Relations(Finding):
    """The changes of a window's relations.

    Attributes:
        largest: The largest change of all pairs.
        total: The changes of all pairs around the clusters' means together, as the length of a vector.
    """

    largest: RelationChange
    total: RelationChange

    @property
    def tests(self) -> tuple[RelationChange, RelationChange]:
        """Both changes."""
        return self.largest, self.total

    @property
    def excess(self) -> float:
        """The larger excess."""
        return self.significant_excess(math.inf)


class _RelationsStatistic(Statistic[Relations]):
    """Products of pairs of the eight leading coordinates, by their largest change and all together."""

    name = "relations"
    kind = "relations"
    finding = Relations
    fields: ClassVar = {RELATION_SUMS: _PRODUCTS}
    smallest = 0.2
    # With larger ones a blurred image is found less often by 0.03 and more.
    weights = (0.5, 0.1)
    in_segments = False
    arrays: ClassVar = {
        RELATION_MOMENTS: ("float64", (5, _PRODUCTS), -math.inf),
        RELATION_SPECTRUM: ("float64", (_PRODUCTS // 2,), 0),
    }
    variances = _PRODUCTS

    def measure(self, events: MeasuredEvents) -> tuple[NDArray[np.float64]]:
        """Return the leading coordinates of n events over their lengths, (n, 2, 8) float64 whole numbers.

        They are standardized, and taken from the baseline's mean and from the mean of the event's cluster;
        missing ones are 0. The length is the root of their squared length plus 2: so a few events far out do
        not rule, and those near the mean, whose direction means little, count less. Sums of squares of
        whole numbers are exact, and all else is done number by number: an event has the same numbers in any
        batch.
        """
        projection = events.projection
        leading = min(LEADING_COMPONENTS, len(projection.variances))
        per_unit = STANDARD_STEPS / projection.deviations[:leading, None]
        centres = np.rint(events.cluster_means.T[:leading] * per_unit)
        # Coordinates first, for numpy is twice as fast along many events.
        both = np.zeros((2, LEADING_COMPONENTS, len(events.cluster)))
        own, around_cluster = both[:, :leading]
        own[:] = events.standardized.T[:leading]
        np.subtract(own, np.take(centres, events.cluster, axis=1), out=around_cluster)
        squares = np.einsum("aqn,aqn->an", both, both)
        both *= (_UNIT / np.sqrt(squares + _SHORTEST * STANDARD_STEPS**2))[:, None]
        return (np.rint(both, out=both).transpose(2, 0, 1),)

    def fit(
        self, measured: Mapping[str, NDArray[Any]], outliers: NDArray[np.bool_]
    ) -> dict[str, NDArray[Any]]:
        products = self.columns(measured)
        moments = describe(products)
        within = slice(_PRODUCTS // 2, None)
        return {
            RELATION_MOMENTS: moments,
            # With fewer than eight components some products are always 0.
            RELATION_SPECTRUM: find_spectrum(products[:, within], moments[2, within] > 0),
        }

    def null(
        self, reference: Reference, segment: SegmentReference | None, overdispersion: Overdispersion
    ) -> Null[Relations]:
        return RelationsNull(
            reference.arrays[RELATION_MOMENTS],
            reference.arrays[RELATION_SPECTRUM],
            overdispersion.of(self.name, self.variances),
            overdispersion.reduce(overdispersion.windows),
        )

    def recentre(
        self, reference: Reference, segment: SegmentReference | None, tally: Tally, share: float
    ) -> dict[str, NDArray[Any]]:
        moments = recentre_moments(reference.arrays[RELATION_MOMENTS], _means(tally), tally.count, share)
        return {RELATION_MOMENTS: moments}

    def shown(self, finding: Relations) -> float:
        return finding.largest.change

    def numbers(self, finding: Relations) -> dict[str, Any]:
        parts = {"largest": finding.largest, "total": finding.total}
        return {
            "relations_change": {name: each.change for name, each in parts.items()},
            "relations_p_value": {name: each.p_value for name, each in parts.items()},
        }

    def columns(self, measured: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        leading = measured[RELATION_SUMS]
        one, other = np.triu_indices(LEADING_COMPONENTS)
        products: NDArray[np.float64] = leading[..., one] * leading[..., other] * _PRODUCT_STEP
        return products.reshape(len(leading), _PRODUCTS)


RELATIONS = _RelationsStatistic()


class RelationsNull:
    """The null distribution of the changes of the mean products of a window's events.

    The products are those of vectors on which neither components nor centroids were fitted: of the others no
    two components are correlated, and they lie nearer to their cluster's mean. One of 72 products is below a
    p-value at most 72 times as often (Bonferroni).

    All pairs around the clusters' means together are tested by the sum of the squared changes.
    """

    def __init__(
        self,
        moments: NDArray[np.float64],
        spectrum: NDArray[np.float64],
        overdispersion: NDArray[np.float64],
        windows: float,
    ) -> None:
        """Prepare the distribution.

        Args:
            moments: (5, 72) float64; see `RELATION_MOMENTS`.
            spectrum: (36,) float64, the eigenvalues of the correlations of the second half.
            overdispersion: (72,) float64; see `MeansNull`.
            windows: As in `MeansNull`.
        """
        self._null = MeansNull(moments, overdispersion, windows)
        # The median of the largest absolute value of as many normal variables.
        self._typical = float(special.ndtri((1 + 0.5 ** (1 / _PRODUCTS)) / 2))
        self._squares = self._null.total(spectrum, len(spectrum))

    def standardized(self, tally: Tally) -> NDArray[np.float64]:
        """Return the changes of the mean products, (72,), in standard errors of independent events."""
        return self._null.standardized(_means(tally), tally.count)

    def test(self, tally: Tally) -> Relations:
        """Return the changes of the mean products of a window with one event or more."""
        differences, errors = self._null.differences(_means(tally)), self._null.errors(tally.count)
        standardized = differences / errors
        tails = self._null.tails(standardized, tally.count)
        changes, noise = np.abs(differences) / self._null.deviations, errors / self._null.deviations
        within = slice(_PRODUCTS // 2, None)
        squares, total, expected = (
            float(np.square(each[within]).sum())
            for each in (standardized, changes, noise * self._null.varies)
        )
        return Relations(
            RelationChange(
                float(changes.max()),
                float((changes - self._typical * noise).max()),
                min(2 * _PRODUCTS * float(tails.min()), 1.0),
            ),
            RelationChange(
                math.sqrt(total), math.sqrt(max(total - expected, 0.0)), self._squares.tail(squares)
            ),
        )

    def least(self, count: int, level: float) -> float | None:
        """Return the least change of any one mean product that a window finds with the target power.

        None if no product varies.

        Args:
            count: n, 1 or more.
            level: The level of the largest change alone.
        """
        if not self._null.varies.any():
            return None
        windows = float(np.median(self._null.degrees))
        found = -student_quantile(level / (2 * _PRODUCTS), windows) + float(special.ndtri(POWER))
        return found * float((self._null.errors(count) / self._null.deviations).max())


def _means(tally: Tally) -> NDArray[np.float64]:
    """Return the mean products of a window's events, (72,)."""
    means: NDArray[np.float64] = tally[RELATION_SUMS] * _PRODUCT_STEP / tally.count
    return means
