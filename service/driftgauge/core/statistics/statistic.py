"""The interface of a statistic: its integers in a tally, its null distribution, its finding, its words.

One module defines one statistic. `driftgauge.core.statistics.registry` lists them, and everything else goes
over that list: counting, scoring, overdispersion, artifact, records, metrics, page, report and plan.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.measurement import MeasuredEvents
from driftgauge.core.counting.tally import Tally, TallyField
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.statistics.combination import combine
from driftgauge.core.statistics.overdispersion import Overdispersion

__all__ = ["ArrayLayout", "Finding", "Findings", "FittingSample", "Kind", "Null", "Number", "Statistic"]

ArrayLayout = tuple[str, Sequence[str | int], float]
"""An array of a baseline: dtype, axes by letter (k clusters, r components) or length, and least value."""


class Finding:
    """The result of a statistic's tests of one window: a frozen dataclass of numbers and arrays.

    It has `excess`, the size of the drift less its expectation without drift, in the unit of `smallest`; and
    `p_value`, or several parts that have both.

    Attributes:
        always_counts: The excess counts for a verdict whatever its p-value; that of others is often noise.
    """

    __slots__ = ()

    always_counts: ClassVar[bool] = False

    @property
    def parts(self) -> tuple[Any, ...]:
        """The parts with an excess and a p-value each; None where the baseline allows no such test."""
        return (self,)

    @property
    def p_values(self) -> tuple[float | None, ...]:
        """The p-values, one for each of the statistic's weights; None: the baseline allows no such test."""
        return tuple(None if each is None else each.p_value for each in self.parts)

    def significant_excess(self, level: float) -> float:
        """Return the excess that counts for a verdict: the largest of a part that is significant at a level.

        It is 0 without any, unless it `always_counts`.
        """
        tested = (each for each in self.parts if each is not None)
        return max(
            (each.excess for each in tested if self.always_counts or each.p_value < level), default=0.0
        )


FindingT = TypeVar("FindingT", bound=Finding)
FindingT_co = TypeVar("FindingT_co", bound=Finding, covariant=True)


class Null(Protocol[FindingT_co]):
    """The null distribution of a statistic against one baseline or segment, under an overdispersion."""

    def test(self, tally: Tally) -> FindingT_co:
        """Return the finding of a window with one event or more."""

    def least(self, count: int, level: float) -> float | None:
        """Return the least size that a window finds with the target power; infinity where it finds none.

        None where the baseline allows no such test.

        Args:
            count: The window's events, 1 or more.
            level: The level of the statistic's first test alone.
        """

    def standardized(self, _tally: Tally) -> NDArray[np.float64]:
        """Return what the overdispersion squares and averages, (w,): w is the statistic's `variances`.

        Deviations of a window's means from any fixed point, in standard errors of means of as many
        independent events; 0 where there is no test.
        """
        return np.zeros(0)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of drift in words.

    Attributes:
        name: The name, in records, labels and headings.
        sentence: What happened to the events, such as "an item is repeated".
        advice: What to look for, as a sentence.
        by_sign: What happened where the number of the finding is above 0, and where it is below; empty where
            the sentence says it.
    """

    name: str
    sentence: str
    advice: str
    by_sign: tuple[str, ...] = ()

    def describe(self, value: float | None) -> str:
        """Return what happened to the events, by the number of the finding; None where it has none."""
        return self.by_sign[value < 0] if self.by_sign and value else self.sentence


@dataclass(frozen=True, slots=True)
class Number(Generic[FindingT]):
    """A number of a finding that results hold by itself.

    Attributes:
        name: The name.
        unit: The unit, in words.
        help: The meaning, in whole sentences.
        value_of: Returns the number, or the numbers by part; None where the window has none.
        parts: The names of the parts; empty for a single number.
    """

    name: str
    unit: str
    help: str
    value_of: Callable[[FindingT], Any]
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class FittingSample:
    """The m reference vectors of a baseline: neither centroids nor components were fitted on them.

    Attributes:
        counted: What `Statistic.measure` returned of them, by the fields' names.
        outliers: (m,), which of them lie beyond the radius of their cluster as it is without them.
    """

    counted: Mapping[str, NDArray[Any]]
    outliers: NDArray[np.bool_]


_ByParts = Callable[[Mapping[str, NDArray[Any]], NDArray[np.intp]], NDArray[np.float64]]


def _no_arrays(*_: Any) -> dict[str, NDArray[Any]]:
    return {}


@dataclass(frozen=True, eq=False, kw_only=True)
class Statistic(Generic[FindingT]):
    """A statistic of windows of events.

    Attributes:
        name: The name, in records, configuration and labels.
        kind: The kind of drift that its evidence names, unless another statistic explains it.
        title: What its numbers are headed with.
        text: What `shown` says, in a sentence.
        smallest: The smallest drift worth finding, unless configured.
        smallest_text: What that is a size of, as a sentence.
        largest: The largest that may be configured; None: any.
        weights: The weight of each of its p-values in the combined one, each above 0.
        finding: The type of its findings.
        fields: Returns its fields of a tally for k clusters and r components.
        measure: Returns what n events add to each field. Either (n,), the place in the field that each event
            counts in, -1 for none; or (n, length) int64, the numbers that each event adds.
        null: Returns the null distribution against a baseline, or the segment where one is given, under an
            overdispersion.
        numbers: What is exported of a finding.
        shown: Returns the number of a finding that charts show; None where the baseline has none.
        signs: The signs that this number may have.
        is_share: This number is a share, shown in per cent.
        decides_alone: A window may be drift by this statistic without the windows before.
        in_segments: Segments are tested too.
        arrays: The arrays that its null distribution needs of a baseline, beside those that every baseline
            has. A baseline without them was fitted before the statistic was there: it is not tested. So a new
            statistic with `variances` has one at least.
        segment_arrays: The same of each segment.
        fit: Returns its arrays of a baseline.
        fit_segment: Returns its arrays of a segment, from the sample of the segment's vectors.
        recentre: Returns those of its arrays whose expectations a warm-up changes, for a baseline or the
            segment where one is given, by the tally of the warm-up's windows together and its weight in the
            mean with the baseline, 0 to 1.
        variances: The number of its overdispersions, each of one number of `Null.standardized`.
        columns: Returns the numbers of n measured events whose means over windows show the overdispersions,
            (n, variances) float64; None where they are measured in another way, or there are none.
        by_windows: Of a statistic that `is_within_windows`: returns the squares of each window, at the rate
            of all n events, (windows, variances), from these as measured and the window of each, (n,), from 0
            without gaps.
        by_groups: The same of groups instead of windows, (groups, variances), times the events of each.
    """

    name: str
    kind: Kind
    title: str
    text: str
    smallest: float
    smallest_text: str
    largest: float | None = None
    weights: tuple[float, ...]
    finding: type[FindingT]
    fields: Callable[[int, int], tuple[TallyField, ...]]
    measure: Callable[[MeasuredEvents], tuple[NDArray[Any], ...]]
    null: Callable[[Reference, SegmentReference | None, Overdispersion], Null[FindingT]]
    numbers: tuple[Number[FindingT], ...] = ()
    shown: Callable[[FindingT], float | None] = attrgetter("excess")
    signs: tuple[int, ...] = (1,)
    is_share: bool = False
    decides_alone: bool = False
    in_segments: bool = True
    arrays: Mapping[str, ArrayLayout] = field(default_factory=dict)
    segment_arrays: Mapping[str, ArrayLayout] = field(default_factory=dict)
    fit: Callable[[FittingSample], dict[str, NDArray[Any]]] = _no_arrays
    fit_segment: Callable[[FittingSample], dict[str, NDArray[Any]]] = _no_arrays
    recentre: Callable[[Reference, SegmentReference | None, Tally, float], dict[str, NDArray[Any]]] = (
        _no_arrays
    )
    variances: int = 0
    columns: Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float64]] | None = None
    by_windows: _ByParts | None = None
    by_groups: _ByParts | None = None

    @property
    def is_within_windows(self) -> bool:
        """Whether it compares the events of a window with each other, so that windows together say nothing.

        Its overdispersions are mean squares, and the baseline has no part in them.
        """
        return self.by_windows is not None

    def weighted(self, finding: FindingT) -> list[tuple[float, float]]:
        """Return the p-values of a finding with their weights."""
        pairs = zip(finding.p_values, self.weights, strict=True)
        return [(p_value, weight) for p_value, weight in pairs if p_value is not None]

    def p_value(self, finding: FindingT) -> float:
        """Return the combined p-value of the tests of this statistic; 1 without any."""
        weighted = self.weighted(finding)
        return combine(*zip(*weighted, strict=True)) if weighted else 1.0


class Findings(dict[str, Any]):
    """The findings of a window by the statistic's name, of those statistics that were tested."""

    def of(self, statistic: Statistic[FindingT]) -> FindingT:
        """Return the finding of a statistic.

        Raises:
            KeyError: It was not tested.
        """
        finding: FindingT = self[statistic.name]
        return finding
