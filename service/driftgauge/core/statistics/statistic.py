"""The interface of a statistic: its integers in a tally, its null distribution, its finding, its words.

One module defines one statistic. `driftgauge.core.statistics.registry` lists them, and everything else goes
over that list: counting, scoring, overdispersion, artifact, records, metrics, page and report.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.measurement import MeasuredEvents
from driftgauge.core.counting.tally import Tally, TallyField
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.statistics.overdispersion import Overdispersion

__all__ = ["ArrayLayout", "Finding", "FittingSample", "Kind", "Null", "Number", "Statistic"]

ArrayLayout = tuple[str, str, float]
"""An array of a baseline: its dtype; its axes, k clusters, r components, h hashes or digits; its least value."""


class Finding(Protocol):
    """The result of a statistic's tests of one window: a frozen dataclass of numbers and arrays."""

    @property
    def p_values(self) -> tuple[float | None, ...]:
        """The p-values, one for each of the statistic's weights; None: the baseline allows no such test."""

    @property
    def excess(self) -> float:
        """The size of the drift less its expectation without drift, in the unit of `smallest`."""

    def significant_excess(self, level: float) -> float:
        """Return the excess that counts for a verdict; 0 where the noise may be as large, by a level."""


FindingT = TypeVar("FindingT", bound=Finding)
FindingT_co = TypeVar("FindingT_co", bound=Finding, covariant=True)


class Null(Protocol[FindingT_co]):
    """The null distribution of a statistic against one baseline or segment, under an overdispersion."""

    def test(self, tally: Tally) -> FindingT_co:
        """Return the finding of a window with one event or more."""

    def least(self, count: int, level: float) -> float:
        """Return the least size that a window finds with the target power; infinity where it finds none.

        Args:
            count: The window's events, 1 or more.
            level: The window's level for a test of weight 1: a test has its weight times as much.
        """

    def standardized(self, tally: Tally) -> NDArray[np.float64]:
        """Return what the overdispersion squares and averages, (w,): w is the statistic's `variances`.

        Deviations from the expectation, in standard errors for independent events; 0 where there is no test.
        """


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of drift in words.

    Attributes:
        name: The name, in records, labels and headings.
        sentence: What happened to the events, such as "an item is repeated".
        advice: What to look for, as a sentence.
    """

    name: str
    sentence: str
    advice: str


@dataclass(frozen=True, slots=True)
class Number(Generic[FindingT]):
    """A number of a finding that is exported by itself.

    Attributes:
        name: The name; the metric is `driftgauge_window_` and this.
        unit: The unit, in words.
        help: The meaning, in whole sentences.
        value_of: Returns the number, or one for each of the parts; None where the window has none.
        parts: The values of the label `part`; empty for a single number.
    """

    name: str
    unit: str
    help: str
    value_of: Callable[[FindingT], Any]
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class FittingSample:
    """What `Statistic.measure` returned of a baseline's vectors, by the fields' names.

    Attributes:
        fitted: Of the vectors that the centroids were fitted on, and the components were not.
        counted: Of the vectors of the histogram, that the components were fitted on.
    """

    fitted: Mapping[str, NDArray[Any]]
    counted: Mapping[str, NDArray[Any]]


class Statistic(ABC, Generic[FindingT]):
    """A statistic of windows of events.

    Attributes:
        name: The name, in records, configuration and labels.
        kind: The kind of drift that its evidence names, unless another statistic explains it.
        finding: The type of its findings.
        weights: The weight of each of its p-values in the combined one, each above 0.
        smallest: The smallest drift worth finding, unless configured.
        numbers: What is exported of a finding.
        decides_alone: A window may be drift by this statistic without the windows before.
        in_segments: Segments are tested too. Their tallies hold the fields of these statistics only.
        variances: The number of its overdispersions, each of one number of `Null.standardized`.
        arrays: The arrays that its null distribution needs of a baseline, beside those that every baseline
            has. A baseline without one of them was fitted before the statistic was there: it is not tested.
        segment_arrays: The same of each segment.
    """

    name: ClassVar[str]
    kind: ClassVar[Kind]
    finding: ClassVar[type[Any]]
    weights: ClassVar[tuple[float, ...]]
    smallest: ClassVar[float]
    numbers: ClassVar[tuple[Number[Any], ...]] = ()
    decides_alone: ClassVar[bool] = False
    in_segments: ClassVar[bool] = True
    variances: ClassVar[int] = 0
    arrays: ClassVar[Mapping[str, ArrayLayout]] = {}
    segment_arrays: ClassVar[Mapping[str, ArrayLayout]] = {}
    largest: ClassVar[float] = inf

    @abstractmethod
    def fields(self, clusters: int, components: int) -> tuple[TallyField, ...]:
        """Return its fields of a tally."""

    @abstractmethod
    def measure(self, events: MeasuredEvents) -> tuple[NDArray[Any], ...]:
        """Return what n events add to each field.

        Either (n,), the place in the field that each event counts in, -1 for none; or (n, length) int64, the
        numbers that each event adds.
        """

    def fit(self, sample: FittingSample) -> dict[str, NDArray[Any]]:  # noqa: ARG002 - for those with arrays
        """Return its arrays of a baseline."""
        return {}

    @abstractmethod
    def null(
        self,
        reference: Reference,
        segment: SegmentReference | None,
        overdispersion: Overdispersion | None,
    ) -> Null[FindingT] | None:
        """Return the null distribution; None where the baseline has no array for it.

        Args:
            reference: The baseline.
            segment: The segment of the baseline; None: all events.
            overdispersion: The overdispersion; None: events are independent.
        """
