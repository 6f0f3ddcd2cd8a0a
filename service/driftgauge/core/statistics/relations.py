"""The tests of relations: whether directions vary together as they do in the baseline."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr

from driftgauge.core.counting.measurement import MeasuredEvents
from driftgauge.core.counting.projection import STANDARD_STEPS
from driftgauge.core.counting.tally import Tally, TallyField
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.statistics.gamma import skewed_tail
from driftgauge.core.statistics.mean_shift import LEADING_COMPONENTS
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.quadratic_form import QuadraticForm
from driftgauge.core.statistics.statistic import FittingSample, Kind, Number, Statistic
from driftgauge.core.statistics.student import student_quantile
from driftgauge.core.statistics.target_power import POWER

__all__ = [
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
"""(5, 72) float64, the number of vectors, and each product's mean, variance, skewness and kurtosis.

Zeros for a product that does not vary, which is not tested."""
RELATION_SPECTRUM = "relation_spectrum"
"""(36,) float64, the eigenvalues of the correlations of the products around the clusters' means."""

# Steps in a coordinate over the event's length, and in a product of two.
_UNIT = 2.0**10
_PRODUCT_STEP = _UNIT**-2
_PRODUCTS = LEADING_COMPONENTS * (LEADING_COMPONENTS + 1)

# The fewest vectors whose moments describe the products; of fewer they are not tested.
_FEWEST = 20


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
class Relations:
    """The changes of a window's relations.

    Attributes:
        largest: The largest change of all pairs.
        total: The changes of all pairs around the clusters' means together, as the length of a vector.
    """

    largest: RelationChange
    total: RelationChange

    @property
    def changes(self) -> tuple[RelationChange, RelationChange]:
        """Both changes."""
        return self.largest, self.total

    @property
    def excess(self) -> float:
        """The larger excess."""
        return max(change.excess for change in self.changes)

    @property
    def p_values(self) -> tuple[float, float]:
        """The p-values of both changes."""
        return self.largest.p_value, self.total.p_value

    def significant_excess(self, level: float) -> float:
        """Return the larger excess of those that are significant; 0 without any."""
        return max((change.excess for change in self.changes if change.p_value < level), default=0.0)


def _measure(events: MeasuredEvents) -> tuple[NDArray[np.float64]]:
    """Return the leading coordinates of n events over their lengths, (n, 2, 8) float64 whole numbers.

    They are standardized, and taken from the baseline's mean and from the mean of the event's cluster;
    missing ones are 0. The length is the root of their squared length and its mean, 8: so a few events far
    out do not rule, and those near the mean, whose direction means little, count less. Sums of squares of
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
    both *= (_UNIT / np.sqrt(squares + LEADING_COMPONENTS * STANDARD_STEPS**2))[:, None]
    return (np.rint(both, out=both).transpose(2, 0, 1),)


def _products(measured: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the products of pairs of each of n events, (n, 72) float64, of (n, 2, 8) whole numbers."""
    one, other = np.triu_indices(LEADING_COMPONENTS)
    products: NDArray[np.float64] = measured[..., one] * measured[..., other] * _PRODUCT_STEP
    return products.reshape(len(measured), _PRODUCTS)


class RelationsNull:
    """The null distribution of the mean products of a window's events.

    Each is a shifted gamma variable with the mean, variance and skewness of a mean of n events less a mean of
    the baseline's m. The products are those of vectors on which the components were not fitted: on the others
    no two components are correlated. The overdispersion phi of each product divides the events.

    Each variance is an estimate: from m vectors with 2 m / (kurtosis - 1) degrees of freedom, and its
    overdispersion from W windows with W. The inverses add up. One of 72 products is below a p-value at most
    72 times as often (Bonferroni).

    The sum of the squared changes around the clusters' means is a weighted sum of chi-squared variables, the
    weights being the eigenvalues of the products' correlations. Those of bursts are not known: what bursts
    add to the variances is taken to lie in one direction, which is the heaviest tail.
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
            overdispersion: (72,) float64, phi of each product, 1 or more.
            windows: The clean windows behind the overdispersion; infinite where it is known.
        """
        counts, self._means, variances, self._skewness, kurtosis = moments
        self._deviations = np.where(variances > 0, np.sqrt(variances), np.inf)
        self._count = max(int(counts.max()), 1)
        self._overdispersion = overdispersion
        inverse = 1 / windows + np.maximum(kurtosis - 1, 0) / (2 * self._count)
        self._degrees = 1 / np.maximum(inverse, sys.float_info.epsilon)
        # The median of the largest absolute value of as many normal variables.
        self._typical = float(ndtri((1 + 0.5 ** (1 / len(kurtosis))) / 2))
        independent = 1 / overdispersion[len(spectrum) :]
        weights = spectrum * independent.mean()
        weights[-1] += (1 - independent).sum()
        self._squares = QuadraticForm(weights, float(1 / np.mean(1 / self._degrees)))

    def standardized(self, tally: Tally) -> NDArray[np.float64]:
        """Return the changes of the mean products, (72,), in standard errors of independent events."""
        standardized: NDArray[np.float64] = (
            (_means(tally) - self._means) / self._deviations * math.sqrt(tally.count)
        )
        return standardized

    def test(self, tally: Tally) -> Relations:
        """Return the changes of the mean products of a window with one event or more."""
        count = tally.count
        noise = 1 / count + 1 / self._count
        deviations = np.sqrt(self._overdispersion)
        standardized = self.standardized(tally) / math.sqrt(count * noise) / deviations
        # A window of n events is one burst at most.
        bursts = np.minimum(deviations, math.sqrt(count))
        shape = (1 / count**2 - 1 / self._count**2) / noise**1.5
        tails = skewed_tail(standardized, self._skewness * bursts * shape)
        tails = np.maximum(stdtr(self._degrees, ndtri(tails)), sys.float_info.min)
        errors = deviations * math.sqrt(noise)
        changes = np.abs(standardized) * errors
        excesses = changes - self._typical * errors
        within = slice(_PRODUCTS // 2, None)
        squares = float(np.square(standardized[within]).sum())
        total = float(np.square(changes[within]).sum())
        expected = float(np.square(errors[within]).sum())
        return Relations(
            RelationChange(
                float(changes.max()),
                float(excesses.max()),
                min(2 * _PRODUCTS * float(tails.min()), 1.0),
            ),
            RelationChange(
                math.sqrt(total), math.sqrt(max(total - expected, 0.0)), self._squares.tail(squares)
            ),
        )

    def least(self, count: int, level: float) -> float | None:
        """Return the least change of any one mean product that a window finds with the target power.

        None where no product varies.

        Args:
            count: n, 1 or more.
            level: The level of the largest change alone.
        """
        if np.isinf(self._deviations).all():
            return None
        windows = float(np.median(self._degrees))
        found = -student_quantile(level / (2 * _PRODUCTS), windows) + float(ndtri(POWER))
        noise = (1 / count + 1 / self._count) * float(self._overdispersion.max())
        return found * math.sqrt(noise)


def _null(
    reference: Reference, _segment: SegmentReference | None, overdispersion: Overdispersion
) -> RelationsNull:
    moments, spectrum = reference.arrays[RELATION_MOMENTS], reference.arrays[RELATION_SPECTRUM]
    variations = overdispersion.of(RELATIONS.name, _PRODUCTS)
    return RelationsNull(moments, spectrum, variations, overdispersion.windows)


def _means(tally: Tally) -> NDArray[np.float64]:
    """Return the mean products of a window's events, (72,)."""
    means: NDArray[np.float64] = tally[RELATION_SUMS] * _PRODUCT_STEP / tally.count
    return means


def _recentre(
    reference: Reference, _segment: SegmentReference | None, tally: Tally, share: float
) -> dict[str, NDArray[Any]]:
    counts, means, variances, *shape = reference.arrays[RELATION_MOMENTS]
    means = share * _means(tally) + (1 - share) * means
    moments = np.stack([counts + tally.count, means, variances, *shape])
    return {RELATION_MOMENTS: moments * (variances > 0)}


def _columns(measured: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    return _products(measured[RELATION_SUMS])


def _fit(sample: FittingSample) -> dict[str, NDArray[Any]]:
    products = _columns(sample.fitted)
    # Of equal products rounding makes a variance.
    varies = (np.ptp(products, axis=0) > 0) & (len(products) >= _FEWEST)
    means, deviations = products.mean(axis=0), products.std(axis=0)
    standardized = (products - means) / np.where(varies, deviations, np.inf)
    skewness, kurtosis = (np.power(standardized, order).mean(axis=0) for order in (3, 4))
    within = standardized[:, _PRODUCTS // 2 :]
    correlations = within.T @ within / len(within)
    np.fill_diagonal(correlations, 1.0)
    moments = [np.full(_PRODUCTS, len(products)), means, np.square(deviations), skewness, kurtosis]
    return {
        RELATION_MOMENTS: np.stack(moments) * varies,
        RELATION_SPECTRUM: np.maximum(np.linalg.eigvalsh(correlations), 0.0),
    }


_PARTS = ("largest", "total")

RELATIONS = Statistic(
    name="relations",
    kind=Kind(
        "relations",
        "directions vary together otherwise than in the baseline: their correlations changed",
        "Look for inputs that no longer match each other, or an embedding that was rotated: another model"
        " version, other preprocessing.",
    ),
    title="Relations",
    text="The largest change of how two of the eight leading directions vary together, as a correlation.",
    smallest=0.2,
    smallest_text="Change of the mean product of two leading directions, about that of their correlation.",
    # With larger ones a blurred image is found less often by 0.03 and more.
    weights=(0.5, 0.1),
    finding=Relations,
    fields=lambda *_: (TallyField(RELATION_SUMS, _PRODUCTS, in_segments=False),),
    measure=_measure,
    null=_null,
    numbers=(
        Number(
            "relations_change",
            "standard deviations of one event's product, 0 or more",
            "Change of the mean product of two of the eight leading directions, over each event's length."
            " Parts: largest (of all pairs), total (of all pairs around the clusters' means together).",
            lambda found: {"largest": found.largest.change, "total": found.total.change},
            _PARTS,
        ),
        Number(
            "relations_p_value",
            "probability",
            "p-value of the relations: the probability of a change this large without drift.",
            lambda found: {"largest": found.largest.p_value, "total": found.total.p_value},
            _PARTS,
        ),
    ),
    shown=lambda found: found.largest.change,
    in_segments=False,
    arrays={
        RELATION_MOMENTS: ("float64", (5, _PRODUCTS), -math.inf),
        RELATION_SPECTRUM: ("float64", (_PRODUCTS // 2,), 0),
    },
    fit=_fit,
    recentre=_recentre,
    variances=_PRODUCTS,
    columns=_columns,
)
"""Products of pairs of the eight leading coordinates, by their largest change and all together."""
