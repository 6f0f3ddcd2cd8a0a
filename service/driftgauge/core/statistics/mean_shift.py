"""Tests of the mean along the leading components: Hotelling's T2, and the centroid distance."""

import math
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.measurement import MeasuredEvents
from driftgauge.core.counting.projection import Projection
from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.statistics import special
from driftgauge.core.statistics.nulls.quadratic_form import QuadraticForm, effective_degrees
from driftgauge.core.statistics.overdispersion import Overdispersion, inverse_degrees
from driftgauge.core.statistics.power import effective_count, shift_needed
from driftgauge.core.statistics.spread import kurtosis_of_events
from driftgauge.core.statistics.statistic import Finding, Null, Statistic

__all__ = ["CLIPPED_COORDINATE_SUMS", "MEAN_SHIFT", "MeanShift", "MeanShiftNull"]

CLIPPED_COORDINATE_SUMS = "clipped_coordinate_sums"
"""The sums of the events' fixed-point coordinates along the components, r integers."""


@dataclass(frozen=True, slots=True, eq=False)
class MeanShift(Finding):
    """The shift of a window's mean from the baseline's, and its tests.

    Attributes:
        t2: The squared shift in standard errors, summed over the components: about r without drift.
        p_value: The probability of a t2 this large or larger without drift, in (0, 1].
        centroid_distance: The length of the shift along the components, in the embedding's units.
        centroid_p_value: The probability of a distance this large or larger without drift, in (0, 1].
        excess: The squared Mahalanobis length of the shift (in the baseline's standard deviations) less
            its expectation without drift: the size of the drift at any count. Negative if the shift is
            smaller than noise.
    """

    always_counts = True

    t2: float
    p_value: float
    centroid_distance: float
    centroid_p_value: float
    excess: float

    @property
    def p_values(self) -> tuple[float, float]:
        """The p-values of t2 and of the centroid distance."""
        return self.p_value, self.centroid_p_value


class _MeanShiftStatistic(Statistic[MeanShift]):
    """The shift of the mean along the components; its overdispersion is that of the means."""

    name = "mean_shift"
    kind = "shift"
    finding = MeanShift
    fields: ClassVar = {CLIPPED_COORDINATE_SUMS: "r"}
    smallest = 0.05
    # A class or a topic that is twice as frequent is found mostly by the centroid distance.
    weights = (0.75, 3.0)
    decides_alone = True

    def measure(self, events: MeasuredEvents) -> tuple[NDArray[np.int64]]:
        return (events.coordinates,)

    def null(
        self, reference: Reference, segment: SegmentReference | None, overdispersion: Overdispersion
    ) -> Null[MeanShift]:
        return _Null(reference.projection, segment or reference, overdispersion)

    def numbers(self, finding: MeanShift) -> dict[str, float]:
        return {
            "mean_shift_t2": finding.t2,
            "mean_shift_excess": finding.excess,
            "mean_shift_p_value": finding.p_value,
            "centroid_distance": finding.centroid_distance,
            "centroid_p_value": finding.centroid_p_value,
        }


MEAN_SHIFT = _MeanShiftStatistic()


class MeanShiftNull:
    """The null distribution of the shift between a window's mean and the baseline's.

    The mean of n events is assumed normal. For independent events, its difference from the mean of the
    baseline's M events has (1/n + 1/M) times the covariance of one event. With that covariance S estimated
    from m of them, T2 is Hotelling's, and (m - r) / (r (m - 1)) T2 is F with r and m - r degrees of
    freedom (T. W. Anderson, An Introduction to Multivariate Statistical Analysis, 3rd edition, Wiley,
    2003, chapter 5).

    Correlated events inflate the variance, of some components more than of others. T2 then divides each
    component by its own standard error. The overdispersions never rise from the leading component to the last
    and are never below 1, since correlated events share a topic and topics vary most. The null
    distribution of T2 accounts for the correlations of the components; T2 does not remove them. Dividing
    by the full covariance, as Hotelling's T2 does, holds its level only with many times as many clean
    windows as components.

    T2 with overdispersion and the squared centroid distance are sums of squares of correlated normal
    variables: weighted sums of chi-squared variables, the weights being the eigenvalues of the
    covariance. The sum of the weights is estimated from W windows, with W g degrees of freedom, where g
    is that of a chi-squared variable with the same relative variance (F. E. Satterthwaite, Biometrics
    Bulletin 2, 1946). For T2, whose overdispersions are fitted to the same windows, g is r/b at most, with b
    the number of different overdispersions.

    The mean of few events with heavy tails is not normal: the longest of them decide how far it varies. With
    a kurtosis K of elliptical events, that of a mean of n is K / n, to which that of few groups is added; see
    `Overdispersion`. The test has the degrees of freedom of `inverse_degrees`; the inverses add up.
    """

    def __init__(
        self,
        covariance: NDArray[np.float64],
        baseline_count: int,
        overdispersion: Overdispersion,
        mean_count: int | None = None,
        kurtosis: float = 0.0,
    ) -> None:
        """Prepare the distribution for a baseline.

        Args:
            covariance: (r, r) float64, S, of one event along the components, the leading first; positive
                definite.
            baseline_count: m, the events from which S was estimated, more than r.
            overdispersion: The overdispersion.
            mean_count: M, the events from which the baseline's mean was estimated; None: the same m.
            kurtosis: K, the mean fourth power of an event's Mahalanobis length over that of normal events,
                less 1; 0 or more.
        """
        components = len(covariance)
        deviations = np.linalg.cholesky(covariance)
        self._degrees = baseline_count - 1
        self._kurtosis = kurtosis
        self._group_kurtosis = overdispersion.kurtosis
        self._mean_count = baseline_count if mean_count is None else mean_count
        self._whitening = np.linalg.inv(deviations)
        self._overdispersions = np.ones(components)
        # The distribution of T2 under overdispersion.
        self._overdispersed: QuadraticForm | None = None
        # Hotelling's T2 has no finite mean if m is r + 2 or less.
        self._expected = components * (baseline_count - 1) / max(baseline_count - components - 2, 1)
        inflated = covariance
        samples: float = baseline_count - 1
        if math.isfinite(overdispersion.windows):
            means, samples = overdispersion.means, overdispersion.windows
            falling = _fit_falling(np.diag(means))
            self._overdispersions = np.maximum(falling, 1.0)
            scales = np.sqrt(self._overdispersions)
            scaled = means / np.outer(scales, scales)
            self._overdispersed = _squared_length(scaled, samples, components / len(np.unique(falling)))
            self._expected = overdispersion.of_mean
            inflated = deviations @ means @ deviations.T
        self._squared_distance = _squared_length(inflated, samples, components)

    def test(self, shift: NDArray[np.float64], count: int) -> MeanShift:
        """Compare a window's mean with the baseline's.

        Args:
            shift: (r,) float64, the window's mean less the baseline's along the components, in the
                embedding's units.
            count: n, the window's events, at least 1.
        """
        spread = 1 / count + 1 / self._mean_count
        squares = np.square(self._whitening @ shift)
        length = float(squares.sum())
        terms = squares / self._overdispersions / spread
        t2 = float(terms.sum())
        distance = float(shift @ shift)
        inverse = inverse_degrees(self._kurtosis / count + self._group_kurtosis)
        # F and the like have a larger mean by one over this.
        known = 1 - 2 * inverse
        return MeanShift(
            t2=t2,
            p_value=self._p_value(t2 / known, inverse),
            centroid_distance=math.sqrt(distance),
            centroid_p_value=self._squared_distance.tail(distance / spread / known, inverse),
            excess=length - self._expected * spread,
        )

    def _p_value(self, t2: float, inverse: float) -> float:
        """Return the p-value of T2; `inverse` is one over the degrees of freedom by the kurtosis."""
        if self._overdispersed is not None:
            return self._overdispersed.tail(t2, inverse)
        components = len(self._overdispersions)
        degrees = self._degrees + 1 - components
        ratio = t2 * degrees / (components * self._degrees)
        return max(float(special.fdtrc(components, 1 / (1 / degrees + inverse), ratio)), sys.float_info.min)


def _squared_length(covariance: NDArray[np.float64], samples: float, most: float) -> QuadraticForm:
    """Return the distribution of the squared length of a normal vector with an estimated covariance.

    Args:
        covariance: (r, r) float64.
        samples: The number of vectors from which the covariance was estimated.
        most: The most degrees of freedom that one of these vectors adds.
    """
    weights = np.maximum(np.linalg.eigvalsh(covariance), 0.0)
    return QuadraticForm(weights, samples * min(effective_degrees(weights), most))


def _fit_falling(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the non-increasing least-squares fit (isotonic regression), (r,) float64.

    Rising neighbours are pooled into their mean until none are left (pool adjacent violators: M. Ayer
    et al., An empirical distribution function for sampling with incomplete information, Annals of
    Mathematical Statistics 26, 1955).
    """
    # scipy.optimize.isotonic_regression differs in the last bit and would add 23 MiB to the service, to save
    # 11 us for each baseline that is loaded.
    blocks: list[tuple[float, int]] = []
    for value in values.tolist():
        total, length = value, 1
        while blocks and blocks[-1][0] * length <= total * blocks[-1][1]:
            before, more = blocks.pop()
            total, length = total + before, length + more
        blocks.append((total, length))
    means, lengths = [total / length for total, length in blocks], [length for _, length in blocks]
    return np.repeat(means, lengths)


class _Null(Null[MeanShift]):
    """The null distribution against a baseline or segment."""

    def __init__(
        self, projection: Projection, reference: Reference | SegmentReference, overdispersion: Overdispersion
    ) -> None:
        self._projection, self._reference, self._overdispersion = projection, reference, overdispersion
        self._null = MeanShiftNull(
            reference.covariance,
            reference.covariance_count,
            overdispersion,
            reference.mean_count,
            kurtosis_of_events(reference),
        )

    def test(self, tally: Tally) -> MeanShift:
        shift = self._projection.shift(tally[CLIPPED_COORDINATE_SUMS], tally.count)
        return self._null.test(shift - self._reference.mean, tally.count)

    def least(self, count: int, level: float) -> float:
        components = len(self._reference.mean)
        known = self._overdispersion.reduce(self._reference.covariance_count - components)
        needed = shift_needed(components, components + known, level)
        return needed / effective_count(count, self._reference.mean_count, self._overdispersion.largest_mean)
