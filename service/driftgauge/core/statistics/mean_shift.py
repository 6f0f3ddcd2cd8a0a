"""Whether and how far the mean of a window's vectors has moved from the baseline's."""

import math
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.quadratic_form import QuadraticForm, freedom

__all__ = ["MeanShift", "MeanShiftNull"]


@dataclass(frozen=True, slots=True, eq=False)
class MeanShift:
    """How the mean of a window differs from the baseline's.

    Attributes:
        t2: The squared length of the shift in standard errors, each component in its own, summed:
            about r without drift.
        p_value: How often t2 is as large without drift, in (0, 1].
        centroid_distance: The length of the shift along the components, in the embedding's units.
        centroid_p_value: How often that is as large without drift, in (0, 1].
        excess: The squared length of the shift in the baseline's standard deviations (Mahalanobis), less
            what is expected of it without drift: the size of the drift, whatever the count. Below 0
            where there is less than noise.
        shares: (r,) float64, each component's part of that squared length; they sum to 1.
    """

    t2: float
    p_value: float
    centroid_distance: float
    centroid_p_value: float
    excess: float
    shares: NDArray[np.float64]


class MeanShiftNull:
    """The distribution of the shift between a window's mean and the baseline's while nothing drifts.

    The mean of n events is taken to be normal, and its difference from that of the baseline's m to
    have (1/n + 1/m) times the covariance of one event if events are independent. With that
    covariance S estimated from the m events, T2 is Hotelling's, and (m - r) / (r (m - 1)) T2 is F with r
    and m - r degrees of freedom (T. W. Anderson, An Introduction to Multivariate Statistical Analysis,
    3rd edition, Wiley, 2003, chapter 5).

    Related events inflate the variance, some components' more than others'. T2 then counts each component
    in its own standard error, with inflations that never rise from the leading component to the last and
    are never below 1: what comes together shares its topic, and topics are what varies most. Their
    correlations it does not remove but allows for. To divide by the whole covariance, as Hotelling's
    T2 does, would need many times as many clean windows as components for its level to hold.

    T2 with overdispersion and the squared centroid distance are sums of squares of correlated normal
    variables: weighted sums of chi-squared variables, the weights being the eigenvalues of the
    covariance. Its size is an estimate, too: from W windows the sum of the weights is known as well
    as from W g squares of a normal variable, with g the degrees of freedom of a chi-squared variable
    that varies as much (F. E. Satterthwaite, Biometrics Bulletin 2, 1946). T2, whose inflations are
    fitted to these same windows, has r/b in place of g if that is less, b being how many inflations are
    different: so many means of squares were fitted.
    """

    def __init__(
        self, covariance: NDArray[np.float64], baseline_count: int, overdispersion: Overdispersion | None
    ) -> None:
        """Take the baseline.

        Args:
            covariance: (r, r) float64, S, of one event along the components, the leading first.
            baseline_count: m, the events it and the baseline's mean were estimated from, more than r.
            overdispersion: How related events are; None for independent ones, or where it is not known.

        Raises:
            ValueError: The covariance is not positive definite, or of too few events.
        """
        components = len(covariance)
        if baseline_count <= components:
            message = f"{baseline_count} events are too few for the covariance of {components} components"
            raise ValueError(message)
        try:
            deviations = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError as error:
            message = "the covariance is not positive definite"
            raise ValueError(message) from error
        self._baseline_count = baseline_count
        self._whitening = np.linalg.inv(deviations)
        self._inflations = np.ones(components)
        self._dependent: QuadraticForm | None = None
        # Hotelling's T2 has no mean where m is r + 2 or less.
        self._expected = components * (baseline_count - 1) / max(baseline_count - components - 2, 1)
        inflated = covariance
        samples = baseline_count - 1
        if overdispersion is not None:
            means, samples = overdispersion.means, overdispersion.windows
            falling, blocks = _falling(np.diag(means))
            self._inflations = np.maximum(falling, 1.0)
            scales = np.sqrt(self._inflations)
            self._dependent = _form(means / np.outer(scales, scales), samples, components / blocks)
            self._expected = float(np.trace(means))
            inflated = deviations @ means @ deviations.T
        self._distance = _form(inflated, samples, components)

    def test(self, shift: NDArray[np.float64], count: int) -> MeanShift:
        """Compare a window's mean with the baseline's.

        Args:
            shift: (r,) float64, the window's mean less the baseline's along the components, in the
                embedding's units.
            count: n, the window's events, at least 1.
        """
        spread = 1 / count + 1 / self._baseline_count
        squares = np.square(self._whitening @ shift)
        length = float(squares.sum())
        t2 = float((squares / self._inflations).sum()) / spread
        distance = float(shift @ shift)
        return MeanShift(
            t2=t2,
            p_value=self._hotelling(t2) if self._dependent is None else self._dependent.tail(t2),
            centroid_distance=math.sqrt(distance),
            centroid_p_value=self._distance.tail(distance / spread),
            excess=length - self._expected * spread,
            shares=squares / length if length > 0 else np.full(len(shift), 1 / len(shift)),
        )

    def _hotelling(self, t2: float) -> float:
        components = len(self._inflations)
        degrees = self._baseline_count - components
        ratio = t2 * degrees / (components * (self._baseline_count - 1))
        return max(float(fdtrc(components, degrees, ratio)), sys.float_info.min)


def _form(covariance: NDArray[np.float64], samples: int, most: float) -> QuadraticForm:
    """Return the distribution of a normal variable's squared length, given its estimated covariance.

    Args:
        covariance: (r, r) float64.
        samples: The number of vectors it was estimated from.
        most: The most squares that one of them counts for.
    """
    weights = np.maximum(np.linalg.eigvalsh(covariance), 0.0)
    return QuadraticForm(weights, samples * min(freedom(weights), most))


def _falling(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Return the closest values that never rise, by squares, and how many different ones these are.

    Neighbours that rise are replaced by their mean until none do (pool adjacent violators: M. Ayer
    et al., An empirical distribution function for sampling with incomplete information, Annals of
    Mathematical Statistics 26, 1955).
    """
    blocks: list[tuple[float, int]] = []
    for value in values.tolist():
        total, length = value, 1
        while blocks and blocks[-1][0] * length <= total * blocks[-1][1]:
            before, more = blocks.pop()
            total, length = total + before, length + more
        blocks.append((total, length))
    means, lengths = [total / length for total, length in blocks], [length for _, length in blocks]
    return np.repeat(means, lengths), len(blocks)
