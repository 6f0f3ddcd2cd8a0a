"""The tests of spread: whether events lie further from the baseline's mean than its vectors, or nearer."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.measurement import MeasuredEvents
from driftgauge.core.counting.projection import SPREAD_STEP, SPREADS
from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.statistics import special
from driftgauge.core.statistics.nulls.means_null import MeansNull, describe, recentre_moments
from driftgauge.core.statistics.nulls.tails import skewed_quantile
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.power import POWER, halve
from driftgauge.core.statistics.statistic import Finding, Null, Statistic

__all__ = [
    "OUTLIER_SPREAD_SUMS",
    "SPREAD",
    "SPREAD_MOMENTS",
    "SPREAD_SUMS",
    "Spread",
    "SpreadChange",
    "SpreadNull",
    "kurtosis_of_events",
]

SPREAD_SUMS = "spread_sums"
"""The sums of the events' fixed-point spreads, along the components and of the residual, two integers."""
OUTLIER_SPREAD_SUMS = "outlier_spread_sums"
"""The same of the events beyond the radius of their cluster."""
_FITTED_MEANS = "fitted_spreads"
"""(2,) float64, the means of both spreads over the vectors that the components were fitted on, re-centred."""
# Spreads are in units of it.
_FITTED_MEAN = 1.0
SPREAD_MOMENTS = "spread_moments"
"""(2, 6) float64, the moments of each spread (see `describe`), and the part of its mean that comes from
vectors beyond the radius of their cluster; zeros where it does not vary.

They are those of vectors on which the components were not fitted: on the others the residual is shorter than
that of new events."""

# A spread is 16 at most.
_MOST_GROWTH = 15.0
# The mean absolute value of a standard normal variable.
_MEAN_ABSOLUTE = math.sqrt(2 / math.pi)


@dataclass(frozen=True, slots=True)
class SpreadChange:
    """The change of a window's mean spread, and its test.

    Attributes:
        change: The mean over the baseline's, less 1: 0.21 where all distances grew by a tenth.
        outliers: The part of the change that comes from events beyond the radius of their cluster.
        excess: The size of the change less the expectation of a clean window.
        p_value: The probability of as large a change or larger, in either direction, without drift.
    """

    change: float
    outliers: float
    excess: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Spread(Finding):
    """The changes of a window's spreads.

    Attributes:
        components: The change of the mean squared distance along the components; None where the baseline's
            does not vary.
        residual: The same of what the components leave; None also where they leave nothing.
    """

    components: SpreadChange | None
    residual: SpreadChange | None

    @property
    def parts(self) -> tuple[SpreadChange | None, SpreadChange | None]:
        """Both changes."""
        return self.components, self.residual

    @property
    def excess(self) -> float:
        """The larger excess; 0 without any."""
        return self.significant_excess(math.inf)


class _SpreadStatistic(Statistic[Spread]):
    """The mean squared distance from the baseline's mean, along the components and in the residual."""

    name = "spread"
    kind = "spread"
    finding = Spread
    fields: ClassVar = {SPREAD_SUMS: SPREADS, OUTLIER_SPREAD_SUMS: SPREADS}
    smallest = 0.1
    # Chosen by cross-validation (`tests/bench/weights.py`): at 0.25, as of the residual, a change of all
    # distances by 3 to 6 % is found less often by 0.03, and other kinds as often.
    weights = (1.0, 0.25)
    arrays: ClassVar = {SPREAD_MOMENTS: ("float64", (2, 6), -math.inf)}
    segment_arrays = arrays
    variances = SPREADS

    def measure(self, events: MeasuredEvents) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return events.spreads, events.spreads * events.are_outliers[:, None]

    def fit(
        self, measured: Mapping[str, NDArray[Any]], outliers: NDArray[np.bool_]
    ) -> dict[str, NDArray[Any]]:
        spreads = self.columns(measured)
        moments = describe(spreads)
        of_outliers = spreads[outliers].sum(axis=0) / max(len(spreads), 1) * (moments[2] > 0)
        return {SPREAD_MOMENTS: np.vstack([moments, of_outliers]).T}

    def null(
        self, reference: Reference, segment: SegmentReference | None, overdispersion: Overdispersion
    ) -> Null[Spread]:
        # The means of fitted vectors are those of all segments together.
        fitted = reference.arrays.get(_FITTED_MEANS, np.ones(SPREADS)) if segment is None else None
        return SpreadNull(
            (segment or reference).arrays[SPREAD_MOMENTS],
            overdispersion.of(self.name, self.variances),
            overdispersion.reduce(overdispersion.windows),
            fitted,
        )

    def recentre(
        self, reference: Reference, segment: SegmentReference | None, tally: Tally, share: float
    ) -> dict[str, NDArray[Any]]:
        *moments, outliers = (segment or reference).arrays[SPREAD_MOMENTS].T
        means, of_outliers = _means(tally)
        recentred = recentre_moments(np.stack(moments), means, tally.count, share)
        varies = recentred[2] > 0
        # A spread is above 0.
        recentred[1, varies] = np.maximum(recentred[1, varies], SPREAD_STEP)
        outliers = (share * of_outliers + (1 - share) * outliers) * varies
        fitted = share * means + (1 - share) * _FITTED_MEAN
        return {SPREAD_MOMENTS: np.vstack([recentred, outliers]).T, _FITTED_MEANS: fitted}

    def shown(self, finding: Spread) -> float | None:
        return max((each.change for each in finding.parts if each), key=abs, default=None)

    def numbers(self, finding: Spread) -> dict[str, Any]:
        parts = {"components": finding.components, "residual": finding.residual}
        return {
            "spread_change_ratio": {name: each and each.change for name, each in parts.items()},
            "spread_excess_ratio": {name: each and each.excess for name, each in parts.items()},
            "spread_p_value": {name: each and each.p_value for name, each in parts.items()},
        }

    def columns(self, measured: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        return np.asarray(measured[SPREAD_SUMS] * np.float64(SPREAD_STEP))


SPREAD = _SpreadStatistic()


class SpreadNull:
    """The null distribution of the changes of both mean spreads over a window's events.

    The vectors that the components were fitted on lie further along them, and less far from them, than new
    ones. Windows of either are clean, so the change that is tested is that beyond the means of both.
    """

    def __init__(
        self,
        moments: NDArray[np.float64],
        overdispersion: NDArray[np.float64],
        windows: float,
        fitted_means: NDArray[np.float64] | None = None,
    ) -> None:
        """Prepare the distribution.

        Args:
            moments: (2, 6) float64; see `SPREAD_MOMENTS`.
            overdispersion: (2,) float64; see `MeansNull`.
            windows: As in `MeansNull`.
            fitted_means: (2,) float64, of the vectors that the components were fitted on; None: not known.
        """
        self._null = MeansNull(moments.T[:-1], overdispersion, windows)
        self._means = np.where(self._null.varies, self._null.means, 1.0)
        self._outliers = moments[:, -1]
        self._of_fitted = np.zeros(SPREADS) if fitted_means is None else fitted_means / self._means - 1

    def test(self, tally: Tally) -> Spread:
        """Return the changes of a window with one event or more."""
        return self.changes(*_means(tally), tally.count)

    def changes(self, means: NDArray[np.float64], outliers: NDArray[np.float64], count: int) -> Spread:
        """Return the changes of a window of n events.

        Args:
            means: (2,) float64, the mean spreads.
            outliers: (2,) float64, the part of each that comes from outliers.
            count: n.
        """
        changes, errors = means / self._means - 1, self._null.errors(count) / self._means
        beyond = changes - np.clip(changes, np.minimum(self._of_fitted, 0), np.maximum(self._of_fitted, 0))
        columns = [
            changes,
            (outliers - self._outliers) / self._means,
            np.abs(changes) - _MEAN_ABSOLUTE * errors,
            np.minimum(2 * self._null.tails(beyond / errors, count), 1.0),
        ]
        components, residual = (
            SpreadChange(*numbers) if varies else None
            for varies, *numbers in zip(self._null.varies, *(each.tolist() for each in columns), strict=True)
        )
        return Spread(components, residual)

    def power(self, count: int, level: float | NDArray[np.float64]) -> Callable[[float], NDArray[np.float64]]:
        """Return the probabilities that a window finds a growth of all squared distances, (2,), by growth.

        Args:
            count: n, 1 or more.
            level: The level of each spread alone.
        """
        errors = self._null.errors(count) / self._means
        tails = special.ndtr(special.stdtrit(self._null.degrees, level / 2))
        beyond = skewed_quantile(tails, self._null.skewness(count)) * errors
        found = np.where(self._null.varies, beyond + np.maximum(self._of_fitted, 0), np.inf)
        # The noise grows with the distances.
        return lambda change: np.asarray(special.ndtr((change - found) / (errors * (1 + change))))

    def least(self, count: int, level: float) -> float | None:
        """Return the least growth of all squared distances that one of the spreads finds, if independent.

        None where neither varies; infinity where none is found.

        Args:
            count: n, 1 or more.
            level: The level of the spread along the components alone.
        """
        if not self._null.varies.any():
            return None
        power = self.power(count, level * np.array(SPREAD.weights) / SPREAD.weights[0])

        def is_found(change: float) -> bool:
            return bool((1 - power(change)).prod() <= 1 - POWER)

        return halve(is_found, 0.0, _MOST_GROWTH) if is_found(_MOST_GROWTH) else math.inf

    def standardized(self, tally: Tally) -> NDArray[np.float64]:
        """Return the differences of the mean spreads, (2,), in standard errors of independent events."""
        means, _ = _means(tally)
        return self._null.standardized(means, tally.count)


def kurtosis_of_events(part: Reference | SegmentReference) -> float:
    """Return the mean fourth power of an event's length over that of normal events, less 1; 0 or more.

    The length is that along the components. The spread is the mean of so many squared coordinates, and of
    normal events its relative variance is 2 over their number.
    """
    _, mean, variance, *_ = part.arrays.get(SPREAD_MOMENTS, np.zeros((SPREADS, 6)))[0].tolist()
    return max((1 + variance / mean**2) / (1 + 2 / len(part.mean)) - 1, 0.0) if variance else 0.0


def _means(tally: Tally) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both mean spreads, and the part of each that comes from outliers."""
    means, outliers = (tally[name] * SPREAD_STEP / tally.count for name in (SPREAD_SUMS, OUTLIER_SPREAD_SUMS))
    return means, outliers
