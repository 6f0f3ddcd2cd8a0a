"""The test of the mean along the minor components, those after the leading ones."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.measurement import MeasuredEvents
from driftgauge.core.counting.projection import MINOR_COMPONENTS
from driftgauge.core.counting.tally import Directions, Tally
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.statistics.nulls.means_null import (
    MeansNull,
    describe,
    find_spectrum,
    recentre_moments,
)
from driftgauge.core.statistics.overdispersion import Overdispersion, inverse_degrees
from driftgauge.core.statistics.power import shift_needed
from driftgauge.core.statistics.statistic import Finding, Null, Statistic

__all__ = ["MINOR_DIRECTIONS", "MINOR_SHIFT", "MinorShift", "known_variances"]

MINOR_SUMS = "minor_sums"
"""The sums of the events' coordinates along the minor components, 96 integers."""
MINOR_DIRECTIONS = "minor_components"
"""(96, d) float32, the minor components; missing ones are 0."""
MINOR_MOMENTS = "minor_moments"
"""(5, 96) float64, the moments of the coordinates (see `describe`), of which missing ones are 0."""
MINOR_SPECTRUM = "minor_spectrum"
"""(96,) float64, the eigenvalues of the correlations of the coordinates."""

# Along a component whose variance is known with fewer degrees of freedom the mean is not tested: of numbers
# that are nearly always 0, such as pixels of an edge, windows differ much from the baseline.
_LEAST_DEGREES = 50
# The mean of a standard normal variable's positive part.
_MEAN_POSITIVE = 1 / math.sqrt(2 * math.pi)
_NORMAL_KURTOSIS = 3.0


@dataclass(frozen=True, slots=True)
class MinorShift(Finding):
    """The shift of a window's mean along the minor components, and its test.

    Attributes:
        excess: The squared length of the shift, in the baseline's standard deviations, less its expectation
            without drift.
        p_value: The probability of a shift this large or larger without drift, in (0, 1].
    """

    excess: float
    p_value: float


class _MinorShiftStatistic(Statistic[MinorShift]):
    """The shift of the mean along 96 components after the leading ones."""

    name = "minor_shift"
    kind = "detail"
    finding = MinorShift
    fields: ClassVar = {MINOR_SUMS: MINOR_COMPONENTS}
    smallest = 0.1
    weights = (0.75,)
    in_segments = False
    arrays: ClassVar = {
        MINOR_DIRECTIONS: ("float32", (MINOR_COMPONENTS, "d"), -math.inf),
        MINOR_MOMENTS: ("float64", (5, MINOR_COMPONENTS), -math.inf),
        MINOR_SPECTRUM: ("float64", (MINOR_COMPONENTS,), 0),
    }
    variances = MINOR_COMPONENTS

    def measure(self, events: MeasuredEvents) -> tuple[Directions]:
        return (Directions(events.steps, events.projection.minor_weights),)

    def fit(
        self, measured: Mapping[str, NDArray[Any]], outliers: NDArray[np.bool_]
    ) -> dict[str, NDArray[Any]]:
        moments = describe(measured[MINOR_SUMS])
        moments *= known_variances(moments)
        varies, kurtosis = moments[2] > 0, moments[4].sum() / _NORMAL_KURTOSIS
        # A correlation of m independent vectors has a mean square of 1 / m, more if their tails are heavy.
        noise = float(kurtosis * (varies.sum() - 1) / len(measured[MINOR_SUMS]))
        return {MINOR_MOMENTS: moments, MINOR_SPECTRUM: find_spectrum(measured[MINOR_SUMS], varies, noise)}

    def varies(self, arrays: Mapping[str, NDArray[Any]]) -> bool:
        return bool((arrays[MINOR_MOMENTS][2] > 0).any())

    def null(
        self, reference: Reference, segment: SegmentReference | None, overdispersion: Overdispersion
    ) -> Null[MinorShift]:
        return _Null(reference, overdispersion)

    def recentre(
        self, reference: Reference, segment: SegmentReference | None, tally: Tally, share: float
    ) -> dict[str, NDArray[Any]]:
        means = tally[MINOR_SUMS] / tally.count
        return {MINOR_MOMENTS: recentre_moments(reference.arrays[MINOR_MOMENTS], means, tally.count, share)}

    def numbers(self, finding: MinorShift) -> dict[str, float]:
        return {"minor_shift_excess": finding.excess, "minor_shift_p_value": finding.p_value}

    def columns(self, measured: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        return measured[MINOR_SUMS]


MINOR_SHIFT = _MinorShiftStatistic()


def known_variances(moments: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which of the variances in moments, (5, w), are known well enough for a test, (w,)."""
    count, _, variance, _, kurtosis = moments
    return np.asarray((variance > 0) & (2 * count >= _LEAST_DEGREES * (kurtosis - 1)))


class _Null(Null[MinorShift]):
    """The null distribution of the squared length of the shift: see `MeansNull.total`.

    The mean of few events with heavy tails is not normal; see `MeanShiftNull`. All components are taken to
    vary as much as they do on average, since few windows show little of each.
    """

    def __init__(self, reference: Reference, overdispersion: Overdispersion) -> None:
        moments = reference.arrays[MINOR_MOMENTS]
        variation = overdispersion.of(MINOR_SHIFT.name, MINOR_COMPONENTS)
        windows = overdispersion.windows
        # Estimates of 1 that are at least 1 are too large by this on average.
        surplus = _MEAN_POSITIVE * math.sqrt(2 / windows)
        varies = moments[2] > 0
        mean = max(float(variation[varies].mean()) - surplus, 1.0)
        self._null = MeansNull(moments, np.full(MINOR_COMPONENTS, mean), windows)
        self._total = self._null.total(reference.arrays[MINOR_SPECTRUM])
        self._components = int(varies.sum())
        self._kurtosis = max(float(moments[4, varies].mean()) / _NORMAL_KURTOSIS - 1, 0.0)
        self._group_kurtosis = overdispersion.kurtosis
        self._degrees = float(np.median(self._null.degrees[varies]))

    def test(self, tally: Tally) -> MinorShift:
        means, count = tally[MINOR_SUMS] / tally.count, tally.count
        differences, errors = self._null.differences(means), self._null.errors(count)
        inverse = inverse_degrees(self._kurtosis / count + self._group_kurtosis)
        squares = np.square(differences / errors).sum() / (1 - 2 * inverse)
        lengths, noise = (
            float(np.square(each / self._null.deviations).sum())
            for each in (differences, errors * self._null.varies)
        )
        return MinorShift(lengths - noise, self._total.tail(float(squares), inverse))

    def least(self, count: int, level: float) -> float:
        noise = float(np.square(self._null.errors(count) / self._null.deviations).mean())
        return shift_needed(self._components, self._components + self._degrees, level) * noise

    def standardized(self, tally: Tally) -> NDArray[np.float64]:
        return self._null.standardized(tally[MINOR_SUMS] / tally.count, tally.count)
