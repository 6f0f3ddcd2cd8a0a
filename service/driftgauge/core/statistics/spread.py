"""The tests of spread: whether events lie further from the baseline's mean than its vectors, or nearer."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from driftgauge.core.counting.projection import SPREAD_STEP, SPREADS
from driftgauge.core.counting.tally import Tally, TallyField
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.statistics.gamma import skewed_quantile, skewed_tail
from driftgauge.core.statistics.halving import halve
from driftgauge.core.statistics.novelty import CLUSTER_OUTLIERS
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.statistic import ArrayLayout, FittingSample, Kind, Number, Statistic
from driftgauge.core.statistics.student import student_p_value, student_quantile
from driftgauge.core.statistics.target_power import POWER

__all__ = [
    "OUTLIER_SPREAD_SUMS",
    "SPREAD",
    "SPREAD_MOMENTS",
    "SPREAD_SUMS",
    "Spread",
    "SpreadChange",
    "SpreadMoments",
    "SpreadNull",
    "read_moments",
    "write_moments",
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
"""(2, 6) float64, the fields of `SpreadMoments` of both spreads; zeros where a spread does not vary."""

# A spread is 16 at most.
_MOST_GROWTH = 15.0

# The fewest vectors whose moments describe a spread; of fewer it is not tested.
_FEWEST = 20
# The mean absolute value of a standard normal variable.
_MEAN_ABSOLUTE = math.sqrt(2 / math.pi)


@dataclass(frozen=True, slots=True)
class SpreadMoments:
    """The distribution of one spread over vectors on which the components were not fitted.

    On those on which they were, the residual is shorter than that of new events.

    Attributes:
        count: The number of vectors, m.
        mean: The mean of the spread, above 0.
        variance: Its variance, above 0.
        skewness: Its third standardized moment.
        kurtosis: Its fourth standardized moment.
        outliers: The part of the mean that comes from vectors beyond the radius of their cluster.
    """

    count: int
    mean: float
    variance: float
    skewness: float
    kurtosis: float
    outliers: float

    @classmethod
    def of(cls, spreads: NDArray[np.float64], outliers: NDArray[np.bool_]) -> "SpreadMoments | None":
        """Return the moments of m vectors; None where there are too few, or all spreads are the same.

        The kurtosis of few vectors is bounded by their number, and with it how uncertain the variance is:
        from 20 vectors on 1.2 % of clean windows are found at 1 %, from 5 vectors 3.5 %.

        Args:
            spreads: (m,) float64.
            outliers: (m,), which of the vectors lie beyond the radius of their cluster.
        """
        # Of equal spreads rounding makes a variance.
        if len(spreads) < _FEWEST or spreads.min() == spreads.max():
            return None
        mean, variance = float(spreads.mean()), float(spreads.var(ddof=1))
        standardized = (spreads - mean) / spreads.std()
        skewness, kurtosis = (float(np.power(standardized, order).mean()) for order in (3, 4))
        # The least kurtosis of any distribution, which rounding may miss.
        kurtosis = max(kurtosis, 1 + skewness**2)
        part = float(spreads[outliers].sum()) / len(spreads)
        return cls(len(spreads), mean, variance, skewness, kurtosis, part)

    def kurtosis_of_events(self, components: int) -> float:
        """Return the mean fourth power of an event's length over that of normal events, less 1; 0 or more.

        The spread is the mean of so many squared coordinates, and of normal events its relative variance is 2
        over their number.
        """
        return max((1 + self.variance / self.mean**2) / (1 + 2 / components) - 1, 0.0)


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
class Spread:
    """The changes of a window's spreads.

    Attributes:
        components: The change of the mean squared distance along the components; None where the baseline's
            does not vary.
        residual: The same of what the components leave; None also where they leave nothing.
    """

    components: SpreadChange | None
    residual: SpreadChange | None

    @property
    def changes(self) -> tuple[SpreadChange | None, SpreadChange | None]:
        """Both changes."""
        return self.components, self.residual

    @property
    def excess(self) -> float:
        """The larger excess; 0 without any."""
        return max((change.excess for change in self.changes if change is not None), default=0.0)

    @property
    def p_values(self) -> tuple[float | None, float | None]:
        """The p-values of both changes."""
        components, residual = (None if change is None else change.p_value for change in self.changes)
        return components, residual

    def significant_excess(self, level: float) -> float:
        """Return the larger excess of those that are significant; 0 without any."""
        return max(
            (change.excess for change in self.changes if change is not None and change.p_value < level),
            default=0.0,
        )


class SpreadNull:
    """The null distribution of the mean of one spread over a window's events.

    It is a shifted gamma distribution with the mean, variance and skewness of a mean of n events less a mean
    of the baseline's m: its upper tail is exact for squared lengths of normal vectors, and near for any whose
    tails the three moments describe. The overdispersion phi divides the events: bursts and their skewness are
    those of n / phi.

    The variance is an estimate: from m vectors with 2 m / (kurtosis - 1) degrees of freedom, and its
    overdispersion from W windows with W. The inverses add up.

    The vectors that the components were fitted on lie further along them, and less far from them, than new
    ones. Windows of either are clean, so the change that is tested is that beyond the means of both.
    """

    def __init__(
        self,
        moments: SpreadMoments,
        overdispersion: float,
        windows: float,
        fitted_mean: float | None = None,
    ) -> None:
        """Prepare the distribution.

        Args:
            moments: The baseline's moments.
            overdispersion: phi, the variance of the mean relative to independent events, 1 or more.
            windows: The clean windows behind the overdispersion; infinite where it is known.
            fitted_mean: The mean of the vectors that the components were fitted on; None: not known.
        """
        self._moments = moments
        self._count = moments.count
        self._of_fitted = 0.0 if fitted_mean is None else fitted_mean / moments.mean - 1
        self._overdispersion = overdispersion
        inverse = 1 / windows + (moments.kurtosis - 1) / (2 * moments.count)
        self._degrees = 1 / inverse if inverse > 0 else math.inf

    def standard_error(self, count: int) -> float:
        """Return the standard error of the change of a window of n events."""
        variance = self._moments.variance * self._overdispersion * (1 / count + 1 / self._count)
        return math.sqrt(variance) / self._moments.mean

    def test(self, mean: float, outliers: float, count: int) -> SpreadChange:
        """Return the change of a window of n events.

        Args:
            mean: The mean spread.
            outliers: The part of it that comes from outliers.
            count: n.
        """
        change = mean / self._moments.mean - 1
        error = self.standard_error(count)
        least, most = sorted((self._of_fitted, 0.0))
        beyond = change - min(max(change, least), most)
        tail = float(skewed_tail(np.array(beyond / error), np.array(self._skewness(count))))
        one_sided = student_p_value(tail, self._degrees)
        return SpreadChange(
            change=change,
            outliers=(outliers - self._moments.outliers) / self._moments.mean,
            excess=abs(change) - _MEAN_ABSOLUTE * error,
            p_value=min(2 * one_sided, 1.0),
        )

    def power(self, change: float, count: int, level: float) -> float:
        """Return the probability that a window finds a growth of all squared distances.

        Args:
            change: The growth, 0 or more.
            count: n, 1 or more.
            level: The level of this test alone.
        """
        error = self.standard_error(count)
        tail = float(ndtr(student_quantile(level / 2, self._degrees)))
        found = skewed_quantile(tail, self._skewness(count)) * error + max(self._of_fitted, 0.0)
        # The noise grows with the distances.
        return float(ndtr((change - found) / (error * (1 + change))))

    def _skewness(self, count: int) -> float:
        one, other = 1 / count, 1 / self._count
        noise = one + other
        shape = (one * one - other * other) / (noise * math.sqrt(noise))
        # A window of n events is one burst at most.
        return self._moments.skewness * math.sqrt(min(self._overdispersion, count)) * shape


def write_moments(moments: tuple[SpreadMoments | None, SpreadMoments | None]) -> NDArray[np.float64]:
    """Return the moments of both spreads as an array, (2, 6) float64; zeros where a spread does not vary."""
    return np.array([np.zeros(6) if each is None else astuple(each) for each in moments])


def read_moments(rows: NDArray[np.float64]) -> tuple[SpreadMoments | None, SpreadMoments | None]:
    """Return the moments of both spreads from an array, (2, 6) float64."""
    components, residual = (
        SpreadMoments(int(count), *moments) if count else None for count, *moments in rows.tolist()
    )
    return components, residual


class _Null:
    """The null distributions of both spreads."""

    def __init__(
        self,
        reference: Reference,
        segment: SegmentReference | None,
        overdispersion: Overdispersion,
    ) -> None:
        self._moments = read_moments((reference if segment is None else segment).arrays[SPREAD_MOMENTS])
        variations = overdispersion.of(SPREAD.name, SPREADS).tolist()
        fitted = reference.arrays.get(_FITTED_MEANS, np.full(SPREADS, _FITTED_MEAN)).tolist()
        # A segment's are a part of these.
        means = fitted if segment is None else [None] * SPREADS
        self._nulls = tuple(
            None if each is None else SpreadNull(each, variation, overdispersion.windows, mean)
            for each, variation, mean in zip(self._moments, variations, means, strict=True)
        )

    def test(self, tally: Tally) -> Spread:
        return Spread(
            *(
                None if null is None else null.test(mean, part, tally.count)
                for null, mean, part in zip(self._nulls, *_means(tally), strict=True)
            )
        )

    def least(self, count: int, level: float) -> float | None:
        # The least growth of all squared distances that one of the spreads finds, taken as independent.
        nulls = [
            (null, weight)
            for null, weight in zip(self._nulls, SPREAD.weights, strict=True)
            if null is not None
        ]
        if not nulls:
            return None

        def is_found(change: float) -> bool:
            missed = (
                1 - null.power(change, count, level * weight / SPREAD.weights[0]) for null, weight in nulls
            )
            return math.prod(missed) <= 1 - POWER

        return halve(is_found, 0.0, _MOST_GROWTH) if is_found(_MOST_GROWTH) else math.inf

    def standardized(self, tally: Tally) -> NDArray[np.float64]:
        means, _ = _means(tally)
        return np.array(
            [
                0.0 if each is None else (mean - each.mean) / math.sqrt(each.variance / tally.count)
                for each, mean in zip(self._moments, means, strict=True)
            ]
        )


def _means(tally: Tally) -> tuple[list[float], list[float]]:
    """Return both mean spreads, and the part of each that comes from outliers."""
    means, outliers = (
        (tally[name] * SPREAD_STEP / tally.count).tolist() for name in (SPREAD_SUMS, OUTLIER_SPREAD_SUMS)
    )
    return means, outliers


def _recentre(
    reference: Reference, segment: SegmentReference | None, tally: Tally, share: float
) -> dict[str, NDArray[Any]]:
    moments = read_moments((reference if segment is None else segment).arrays[SPREAD_MOMENTS])
    means, outliers = _means(tally)
    components, residual = (
        each
        and replace(
            each,
            count=each.count + tally.count,
            # A spread is above 0.
            mean=max(share * mean + (1 - share) * each.mean, SPREAD_STEP),
            outliers=share * part + (1 - share) * each.outliers,
        )
        for each, mean, part in zip(moments, means, outliers, strict=True)
    )
    fitted = share * np.array(means) + (1 - share) * _FITTED_MEAN
    return {SPREAD_MOMENTS: write_moments((components, residual)), _FITTED_MEANS: fitted}


_PARTS = ("components", "residual")


def _columns(measured: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    return np.asarray(measured[SPREAD_SUMS] * np.float64(SPREAD_STEP))


def _fit(sample: FittingSample) -> dict[str, NDArray[Any]]:
    # The components were fitted on the vectors of the histogram, so that their residual is shorter.
    outliers = sample.fitted[CLUSTER_OUTLIERS] >= 0
    components, residual = (SpreadMoments.of(column, outliers) for column in _columns(sample.fitted).T)
    return {SPREAD_MOMENTS: write_moments((components, residual))}


def _by_part(values: Iterable[Any]) -> dict[str, Any]:
    return dict(zip(_PARTS, values, strict=True))


_ARRAYS: dict[str, ArrayLayout] = {SPREAD_MOMENTS: ("float64", (2, 6), -math.inf)}

SPREAD = Statistic(
    name="spread",
    kind=Kind(
        "spread",
        "all events lie further from the baseline's mean, or nearer",
        "Look for noise, compression, or vectors that are scaled or normalised otherwise.",
    ),
    title="Spread",
    text="The change of the mean squared distance from the baseline's mean.",
    smallest=0.1,
    smallest_text="Relative change of the mean squared distance from the baseline's mean.",
    # Chosen by cross-validation (`tests/bench/weights.py`): at 0.25, as of the residual, a change of all
    # distances by 3 to 6 % is found less often by 0.03, and other kinds as often.
    weights=(1.0, 0.25),
    finding=Spread,
    fields=lambda *_: (TallyField(SPREAD_SUMS, SPREADS), TallyField(OUTLIER_SPREAD_SUMS, SPREADS)),
    measure=lambda events: (events.spreads, events.spreads * events.are_outliers[:, None]),
    null=_Null,
    numbers=(
        Number(
            "spread_change_ratio",
            "ratio, -1 or more",
            "Mean squared distance of the events from the baseline's mean, over the baseline's, minus 1."
            " Parts: components (the leading ones), residual (all other directions). Absent where the window"
            " was not scored, or where the baseline has no such part.",
            lambda found: _by_part(each and each.change for each in found.changes),
            _PARTS,
        ),
        Number(
            "spread_excess_ratio",
            "ratio, -1 or more",
            "Absolute value of the change minus its expectation without drift. Absent as the change is.",
            lambda found: _by_part(each and each.excess for each in found.changes),
            _PARTS,
        ),
        Number(
            "spread_p_value",
            "probability",
            "p-value of the spread: the probability of a change this large without drift. Absent as the"
            " change is.",
            lambda found: _by_part(found.p_values),
            _PARTS,
        ),
    ),
    shown=lambda found: max((each.change for each in found.changes if each), key=abs, default=None),
    signs=(1, -1),
    is_share=True,
    arrays=_ARRAYS,
    segment_arrays=_ARRAYS,
    fit=_fit,
    fit_segment=_fit,
    recentre=_recentre,
    variances=SPREADS,
    columns=_columns,
)
"""The mean squared distance from the baseline's mean, along the components and in the residual."""
