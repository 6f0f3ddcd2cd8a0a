"""The base class of statistics: what each adds to a tally, how windows vary without drift, what it finds.

One module defines one statistic. `driftgauge.core.statistics.registry` lists them, and everything else goes
over that list: counting, scoring, overdispersion, artifact, records, metrics, page, report and plan. Their
words for people are in `driftgauge.statistic_words`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.measurement import MeasuredEvents
from driftgauge.core.counting.tally import Directions, Tally
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.statistics.combination import combine
from driftgauge.core.statistics.overdispersion import Overdispersion

__all__ = ["ArrayLayout", "Finding", "Findings", "Null", "Statistic"]

ArrayLayout = tuple[str, Sequence[str | int], float]
"""An array of a baseline: dtype, axes by letter (k clusters, r components) or length, and least value."""


class Finding:
    """The result of a statistic's tests of one window: a frozen dataclass of numbers and arrays.

    It has `excess`, the size of the drift less its expectation without drift, in the unit of `smallest`; and
    `p_value`, or several `tests` that have both.

    Attributes:
        always_counts: The excess counts for a verdict whatever its p-value; that of others is often noise.
    """

    __slots__ = ()

    always_counts: ClassVar[bool] = False

    @property
    def tests(self) -> tuple[Any, ...]:
        """The results of its tests, each with an excess and a p-value; None without such a test."""
        return (self,)

    @property
    def p_values(self) -> tuple[float | None, ...]:
        """The p-values, one for each of the statistic's weights; None: the baseline allows no such test."""
        return tuple(None if each is None else each.p_value for each in self.tests)

    def significant_excess(self, level: float) -> float:
        """Return the excess that counts for a verdict: the largest of a test that is significant at a level.

        It is 0 without any, unless it `always_counts`.
        """
        tested = (each for each in self.tests if each is not None)
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
        """Return the least size that a window finds with the target power; infinity if it finds none.

        None if the baseline allows no such test.

        Args:
            count: The window's events, 1 or more.
            level: The level of the statistic's first test alone.
        """

    def standardized(self, _tally: Tally) -> NDArray[np.float64]:
        """Return what the overdispersion squares and averages, (w,): w is the statistic's `variances`.

        Deviations of a window's means from any fixed point, in standard errors of means of as many
        independent events; 0 if there is no test.
        """
        return np.zeros(0)


class Statistic(ABC, Generic[FindingT]):
    """A statistic of windows of events.

    Attributes:
        name: The name, in records, configuration and labels.
        kind: The kind of drift that its evidence names, unless another statistic explains it.
        finding: The type of its findings.
        fields: The length of each of its fields of a tally, by name; "k" is that of clusters, "r" that of
            components, "h" that of hashes.
        smallest: The smallest drift worth finding, unless configured.
        largest: The largest that may be configured; None: any.
        weights: The weight of each of its p-values in the combined one, each above 0.
        decides_alone: A window may be drift by this statistic without the windows before.
        in_segments: Segments are counted and tested too.
        arrays: The arrays that its null distribution needs of a baseline, beside those that every baseline
            has. A baseline without them was fitted before the statistic was there: it is not tested. So a new
            statistic with `variances` has one at least.
        segment_arrays: The same of each segment.
        variances: The number of its overdispersions, each of one number of `Null.standardized`.
        is_within_windows: It compares the events of a window with each other, so that windows together say
            nothing. Its overdispersions are mean squares, and the baseline has no part in them.
    """

    name: ClassVar[str]
    kind: ClassVar[str]
    finding: ClassVar[type[Finding]]
    fields: ClassVar[Mapping[str, str | int]]
    smallest: ClassVar[float]
    largest: ClassVar[float | None] = None
    weights: ClassVar[tuple[float, ...]]
    decides_alone: ClassVar[bool] = False
    in_segments: ClassVar[bool] = True
    arrays: ClassVar[Mapping[str, ArrayLayout]] = {}
    segment_arrays: ClassVar[Mapping[str, ArrayLayout]] = {}
    variances: ClassVar[int] = 0
    is_within_windows: ClassVar[bool] = False

    @abstractmethod
    def measure(self, events: MeasuredEvents) -> tuple[NDArray[Any] | Directions, ...]:
        """Return what n events add to each field, as `tally_batch` takes it."""

    def fit(
        self, measured: Mapping[str, NDArray[Any]], outliers: NDArray[np.bool_]
    ) -> dict[str, NDArray[Any]]:
        """Return what it fits on the vectors of a baseline or of a segment, by the arrays' names.

        Of a baseline only `arrays` are kept, of a segment only `segment_arrays`. Neither centroids nor
        components were fitted on these vectors.

        Args:
            measured: What `measure` returned of them, by the fields' names, `Directions` as their numbers.
            outliers: (m,), which of them lie beyond the radius of their cluster as it is without them.
        """
        return {}

    def varies(self, _arrays: Mapping[str, NDArray[Any]]) -> bool:
        """Return whether vectors vary in what it counts, by the arrays of their baseline.

        If they do not, it is not counted against the baseline.
        """
        return True

    @abstractmethod
    def null(
        self, reference: Reference, segment: SegmentReference | None, overdispersion: Overdispersion
    ) -> Null[FindingT]:
        """Return the null distribution against a baseline, or the segment if one is given."""

    def recentre(
        self, reference: Reference, segment: SegmentReference | None, tally: Tally, share: float
    ) -> dict[str, NDArray[Any]]:
        """Return those of its arrays whose expectations a warm-up changes, by the warm-up's windows together.

        Args:
            reference: The baseline.
            segment: The segment; None for all events.
            tally: The tally of these windows.
            share: Its weight in the mean with the baseline, 0 to 1.
        """
        return {}

    def shown(self, finding: FindingT) -> float | None:
        """Return the number of a finding that charts show; None if the baseline has none."""
        return finding.significant_excess(math.inf)

    def numbers(self, finding: FindingT) -> dict[str, Any]:
        """Return the further numbers of a finding by name, each a number, or numbers by part."""
        return {}

    def columns(self, measured: Mapping[str, NDArray[Any]]) -> NDArray[np.float64] | None:
        """Return the numbers of n measured events whose means over windows show the overdispersions.

        Their shape is (n, variances). None: there are no overdispersions, or it `is_within_windows`.

        Args:
            measured: What `measure` returned of them, by the fields' names.
        """
        return None

    def by_windows(
        self, measured: Mapping[str, NDArray[Any]], windows: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Return the squares of each window at the rate of all n events, (windows, variances).

        Only a statistic that `is_within_windows` has them.

        Args:
            measured: As for `columns`.
            windows: (n,), the window of each event, from 0 without gaps.
        """
        raise NotImplementedError

    def by_groups(
        self, measured: Mapping[str, NDArray[Any]], groups: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Return the same of groups instead of windows, (groups, variances), times the events of each."""
        raise NotImplementedError

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
