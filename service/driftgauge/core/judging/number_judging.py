"""What a window says of a number beside the embedding: its mean, and how and where it has changed.

How much a mean varies without a change follows from the windows themselves. The difference of the means of
two windows that follow one another is squared and divided by the variance that independent values would give
it; the median of the latest such ratios, over that of chi-squared with one degree of freedom, is the
overdispersion. Slow changes hardly count in differences, and a sudden one in only one of them (J. von
Neumann, Distribution of the ratio of the mean square successive difference, Annals of Mathematical Statistics
12(4), 1941). The windows of a baseline that was fitted with times see cycles as well. The larger one counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt
from statistics import median

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.numbers import Number, NumberTally
from driftgauge.core.statistics.number_change import Estimate, NumberChange, explain_change

__all__ = ["NumberMemory", "NumberResult", "judge_number", "remember"]

# As of verdicts: a single odd window alerts nobody.
_RECENT_WINDOWS, _ALERT_WINDOWS = 3, 2
_MOST_RATIOS, _FEWEST_RATIOS = 24, 8
_MEDIAN_OF_CHI2 = 0.454936
_MOST_MOVERS = 3


@dataclass(frozen=True, slots=True)
class NumberMemory:
    """What is remembered of the windows before.

    Attributes:
        number: The number as it was configured then; None before any window.
        recent: Whether each of the last two windows exceeded a declared size, the oldest first.
        mean: The mean of the last of them, and its variance if values are independent; None before any.
        ratios: The squared differences of the latest windows' means, over their variances.
        fires: Two of the last three windows exceeded a declared size.
    """

    number: Number | None = None
    recent: tuple[bool, ...] = ()
    mean: tuple[float, float] | None = None
    ratios: tuple[float, ...] = ()
    fires: bool = False

    def of(self, number: Number) -> "NumberMemory":
        """Return what holds of a number as it is now: nothing has exceeded other limits yet."""
        if self.number is None or self.number.key != number.key:
            return NumberMemory(number)
        return self if self.number == number else replace(self, number=number, recent=(), fires=False)

    @property
    def overdispersion(self) -> float:
        """How many times as much as means of independent values those of windows vary, at least 1."""
        if len(self.ratios) < _FEWEST_RATIOS:
            return 1.0
        return max(1.0, median(self.ratios) / _MEDIAN_OF_CHI2)

    def after(self, mean: float, variance: float, *, exceeds: bool) -> "NumberMemory":
        """Return the memory after one more window, by its mean and that mean's variance."""
        ratios = self.ratios
        if self.mean is not None:
            ratios += ((mean - self.mean[0]) ** 2 / (self.mean[1] + variance),)
        recent = (*self.recent, exceeds)
        return NumberMemory(
            self.number,
            recent[1 - _RECENT_WINDOWS :],
            (mean, variance),
            ratios[-_MOST_RATIOS:],
            sum(recent) >= _ALERT_WINDOWS,
        )


@dataclass(frozen=True, slots=True, eq=False)
class NumberResult:
    """What a window says of a number.

    Attributes:
        count: The number of values.
        missing: The number of events without one.
        clipped: The number of values outside the range, which count as its nearer end.
        is_partial: Some events are neither: a replica that did not know the number counted them.
        mean: The mean with its error; None without a value.
        baseline_mean: That of the baseline; None if the baseline does not know the number.
        change: The change against the baseline; None likewise.
        means, baseline_means: (k,) float64, the means of the clusters, NaN without a value; of the baseline
            empty likewise.
        overdispersion: How many times as much as means of independent values those of windows vary, at least
            1, by the windows before or by those of the baseline.
        exceeds: The window exceeds a declared size.
        before: What was remembered when the window was judged.
        after: What is remembered for the next window.
    """

    count: int
    missing: int
    clipped: int
    is_partial: bool
    mean: Estimate | None
    baseline_mean: float | None
    change: NumberChange | None
    means: NDArray[np.float64]
    baseline_means: NDArray[np.float64]
    overdispersion: float
    exceeds: bool
    before: NumberMemory
    after: NumberMemory

    @property
    def fires(self) -> bool:
        """Whether the alert fires: as it did before, if the window has too few values or is in doubt."""
        return self.after.fires

    @property
    def has_changed(self) -> bool:
        """Whether the 95 % interval of the change excludes 0."""
        return self.change is not None and self.change.total.is_clear

    @property
    def movers(self) -> tuple[int, ...]:
        """The clusters that hold most of the change, the largest part first."""
        if self.change is None or not self.change.total.value:
            return ()
        parts = self.change.by_cluster / self.change.total.value
        largest = np.argsort(-parts, kind="stable")[:_MOST_MOVERS].tolist()
        return tuple(cluster for cluster in largest if parts[cluster] > 0)


def judge_number(
    number: Number,
    tally: NumberTally,
    baseline: NumberTally | None,
    before: NumberMemory,
    *,
    events: int,
    is_conclusive: bool,
    fewest: int,
    between: float = 0.0,
) -> NumberResult:
    """Return what a window says of a number.

    Args:
        number: The number.
        tally: Its tally.
        baseline: That of the baseline; None if the baseline does not know the number.
        before: What is remembered of the windows before.
        events: The number of the window's events.
        is_conclusive: The window has enough events, and all of them: only such a window may alert, and is
            remembered.
        fewest: The least number of values of such a window.
        between: The variance between the means of the baseline's windows, beyond that of independent values;
            0 if it says nothing of windows of this length.
    """
    before = before.of(number)
    baseline = baseline if baseline is not None and baseline.count else None
    is_partial = tally.count + tally.missing < events
    overdispersion = before.overdispersion
    mean = change = None
    # The next window does not follow one that is not remembered.
    exceeds, after = False, replace(before, mean=None)
    if tally.count:
        variance = tally.mean_variance
        # A cycle hardly shows between neighbours.
        overdispersion = max(overdispersion, 1 + between / variance)
        mean = Estimate(tally.mean, sqrt(variance * overdispersion))
        if baseline is not None:
            change = explain_change(tally, baseline, overdispersion)
        if is_conclusive and not is_partial and tally.count >= fewest:
            exceeds = (number.alert_below is not None and mean.value < number.alert_below) or (
                number.alert_change is not None
                and change is not None
                and abs(change.total.value) > number.alert_change
            )
            after = before.after(mean.value, variance, exceeds=exceeds)
    return NumberResult(
        count=tally.count,
        missing=tally.missing,
        clipped=tally.clipped,
        is_partial=is_partial,
        mean=mean,
        baseline_mean=None if baseline is None else baseline.mean,
        change=change,
        means=tally.means,
        baseline_means=np.empty(0) if baseline is None else baseline.means,
        overdispersion=overdispersion,
        exceeds=exceeds,
        before=before,
        after=after,
    )


def remember(results: Mapping[str, NumberResult], missed: int) -> Mapping[str, NumberMemory]:
    """Return what is remembered of numbers after a window, and after so many windows without a result."""
    quiet = (False,) * min(missed, _RECENT_WINDOWS)
    return {
        name: replace(
            each.after,
            recent=(*each.after.recent, *quiet)[1 - _RECENT_WINDOWS :],
            mean=None if missed else each.after.mean,
        )
        for name, each in results.items()
    }
