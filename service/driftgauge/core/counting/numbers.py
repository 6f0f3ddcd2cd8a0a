"""Numbers beside the embedding, such as a confidence, counted by cluster: exact over any split."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_NUMBERS", "TALLY_ROWS", "Number", "NumberTally"]

MAX_NUMBERS = 2
"""The most numbers of a stream."""

TALLY_ROWS = 5
"""The rows of a tally: how many values, their sum, the sum of their squares, how many missing, how many
clipped."""

# A float64 of weights adds whole numbers exactly below 2^53, and a batch has far fewer than 2^21 events.
_STEPS = 65_535


@dataclass(frozen=True, slots=True)
class Number:
    """A number of a stream's events.

    Attributes:
        name: Its name.
        low, high: The ends of its range.
        alert_below: The mean of a window below which it counts for the alert; None: no mean does.
        alert_change: The change of the mean against the baseline, in either direction, above which a window
            counts for the alert; None: no change does.
    """

    name: str
    low: float
    high: float
    alert_below: float | None = None
    alert_change: float | None = None

    @property
    def key(self) -> str:
        """The number in partials and changelog; another range is another number, whose sums do not add up."""
        return f"{self.name}[{self.low!r},{self.high!r}]"

    @property
    def width(self) -> float:
        """The width of the range."""
        return self.high - self.low

    @property
    def step(self) -> float:
        """The distance of two neighbouring values, of 16 bits."""
        return self.width / _STEPS

    def count(self, values: NDArray[np.float64], place: NDArray[np.intp], places: int) -> NDArray[np.int64]:
        """Return the tally of n values, (TALLY_ROWS, places) int64, the sums in steps from the low end.

        A value outside the range counts as the end that is nearer, and as clipped. An infinite one counts as
        missing, as in vectors: no scale has it.

        Args:
            values: (n,), NaN if the value is missing.
            place: (n,), the place of each, such as its cluster.
            places: The number of places.
        """
        is_there = np.isfinite(values)
        inside = np.clip(np.where(is_there, values, self.low), self.low, self.high)
        steps = np.rint((inside - self.low) / self.step)
        is_clipped = is_there & (inside != values)
        rows = is_there, steps, steps * steps, ~is_there, is_clipped
        return np.array([np.bincount(place, row, places) for row in rows], np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class NumberTally:
    """The tally of a number, read in the number's own unit.

    Attributes:
        number: The number.
        values: (TALLY_ROWS, k) int64, by cluster.
        between: Of a baseline, the variance between the means of its windows; see `variance_between`.
    """

    number: Number
    values: NDArray[np.int64]
    between: float = 0.0

    @property
    def counts(self) -> NDArray[np.int64]:
        """(k,) int64, the number of values of each cluster."""
        counts: NDArray[np.int64] = self.values[0]
        return counts

    @property
    def count(self) -> int:
        """The number of values."""
        return int(self.counts.sum())

    @property
    def missing(self) -> int:
        """The number of events without a value."""
        return int(self.values[3].sum())

    @property
    def clipped(self) -> int:
        """The number of values outside the range."""
        return int(self.values[4].sum())

    @property
    def means(self) -> NDArray[np.float64]:
        """(k,) float64, the mean of each cluster; NaN without a value."""
        with np.errstate(invalid="ignore"):
            means: NDArray[np.float64] = self.number.low + self.number.step * self.values[1] / self.counts
        return means

    @property
    def squares(self) -> NDArray[np.float64]:
        """(k,) float64, the sum of the squared deviations from the mean of each cluster."""
        count, total, squares = self.values[:3].astype(np.float64)
        deviations: NDArray[np.float64] = squares - total * total / np.maximum(count, 1)
        return np.maximum(deviations, 0) * self.number.step**2

    @property
    def mean(self) -> float:
        """The mean of all values; there is one at least."""
        return self.number.low + self.number.step * int(self.values[1].sum()) / self.count

    @property
    def mean_variance(self) -> float:
        """The variance of `mean` if values are independent; there is one value at least.

        One more value at the other end of the range counts in it: n equal values do not show that no other
        ones exist, only that these are about one in n at most.
        """
        count, total, squares = (int(each) for each in self.values[:3].sum(axis=1))
        # Python's integers are exact even if the squares of sums do not fit into 64 bits.
        deviations = (count * squares - total * total) / count * self.number.step**2
        return (deviations + self.number.width**2) / count**2

    @property
    def variance_between(self) -> float:
        """The variance between the columns' means beyond that of independent values, by their analysis."""
        counts = self.counts[self.counts > 0].astype(np.float64)
        free = len(counts) - 1
        if free < 1:
            return 0.0
        between = counts @ (self.means[self.counts > 0] - self.mean) ** 2 / free
        within = self.squares.sum() / max(self.count - len(counts), 1)
        usual = (self.count - counts @ counts / self.count) / free
        return max(float((between - within) / usual), 0.0)
