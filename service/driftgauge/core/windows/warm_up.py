"""The warm-up: what the windows of a time that is declared clean show, and the reference that they make."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.tally import Tally, TallyField
from driftgauge.core.reference import Reference, Segment, SegmentReference
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.duplicates import HASH_COUNTS, repeat_rate
from driftgauge.core.statistics.mean_shift import CLIPPED_COORDINATE_SUMS
from driftgauge.core.statistics.overdispersion import MIN_WINDOWS, Overdispersion, OverdispersionEstimator

__all__ = ["Offset", "WarmUp", "recentre"]


@dataclass(frozen=True, slots=True, eq=False)
class WarmUp:
    """The windows of a warm-up, of all events or of a segment.

    A baseline of other documents, users or days differs from every later window by the same offset, which the
    warm-up measures.

    Attributes:
        values: The sum of its windows' tallies, int64.
        windows: The estimator of their overdispersion around their own mean.
    """

    values: NDArray[np.int64]
    windows: OverdispersionEstimator

    @classmethod
    def empty(cls, fields: Sequence[TallyField], components: int) -> "WarmUp":
        """Return the warm-up before its first window, for the fields of its tallies and r components."""
        length = sum(field.length for field in fields)
        return cls(np.zeros(length, np.int64), OverdispersionEstimator.empty(fields[0].length, components))

    def add(self, tally: Tally, reference: Reference, segment: SegmentReference | None = None) -> "WarmUp":
        """Return the warm-up with one more window, compared with the baseline or a segment of it."""
        standardized = _standardized(tally, reference, segment)
        return WarmUp(self.values + tally.values, self.windows.add(tally.counts, *standardized))

    def offset(
        self,
        fields: tuple[TallyField, ...],
        baseline: Reference,
        segment: SegmentReference | None = None,
        least: int = MIN_WINDOWS,
    ) -> "Offset | None":
        """Return the offset from a baseline, or a segment of it; None: there are fewer windows than `least`.

        Windows that hold whole groups vary as groups do, or as the warm-up shows where that is more, with the
        tails of few groups.
        """
        if self.windows.windows < least:
            return None
        tally, part = Tally(self.values, fields), segment or baseline
        standardized = _standardized(tally, baseline, segment, are_together=True)
        windows = self.windows.overdispersion(tally.counts, *standardized)
        groups, expected = baseline.groups, baseline.overdispersion
        known = groups or part.overdispersion or windows
        if groups is not None and expected is not None:
            known = expected.baseline or groups
            if expected.baseline is None:
                windows = max(groups, windows, key=lambda each: float(np.trace(each.means)))
                windows = replace(windows, kurtosis=expected.kurtosis)
        of_warm_up, of_baseline = (
            float(np.trace(each.means)) / count
            for each, count in ((windows, tally.count), (known, part.mean_count))
        )
        # Where groups are known later windows may hold others than the warm-up does.
        share = of_baseline / (of_baseline + of_warm_up) if groups is None else 0.0
        return Offset(tally, part, windows, groups, known, share)


@dataclass(frozen=True, slots=True, eq=False)
class Offset:
    """The offset of a warm-up from a baseline or segment.

    However many the windows are, they may hold few groups, such as articles that come again. Counts do not
    show how many: as many are assumed as the baseline has, or fewer where few items come again.

    Attributes:
        tally: The tally of all windows of the warm-up.
        part: The baseline or segment.
        windows: The overdispersion of windows around their own mean.
        groups: That of the baseline by its groups; None: there are none.
        baseline: That of the baseline, and of what later windows have in common.
        share: The weight of the warm-up in its mean with the baseline, 0 to 1, by the inverse of their
            variances; 0 where groups are known.
    """

    tally: Tally
    part: Reference | SegmentReference
    windows: Overdispersion
    groups: Overdispersion | None
    baseline: Overdispersion
    share: float

    @property
    def overdispersion(self) -> Overdispersion:
        """The overdispersion of the warm-up as one window, and of the baseline that it is compared with."""
        return replace(self._of_all, baseline=self.groups or self.baseline)

    @property
    def recentred(self) -> Overdispersion:
        """The overdispersion of later windows, and of the reference with the warm-up's share."""
        mean_count = self.part.mean_count
        total = self.tally.count + mean_count
        own, other = total * self.share**2 / self.tally.count, total * (1 - self.share) ** 2
        reference = self._of_all.plus(
            self.baseline, (own, other / int(self.part.counts.sum())), (own, other / mean_count)
        )
        return replace(self.windows, baseline=reference)

    @property
    def _of_all(self) -> Overdispersion:
        """The overdispersion of the mean of all windows."""
        if self.groups is None:
            return self.windows
        # The rate at which two events are the same item is one over the number of items that come again. The
        # mean varies as that of so many events does, on top of how windows of them vary around it.
        hashes = self.part.arrays.get(HASH_COUNTS)
        repeated = 0.0 if hashes is None else repeat_rate(self.tally[HASH_COUNTS]) - repeat_rate(hashes)
        of_items = self.tally.count * max(repeated, 0.0)
        of_groups = max(of_items, self.tally.count / self.part.mean_count)
        independent = Overdispersion.independent(len(self.groups.means))
        weights = of_groups, of_items - of_groups
        excess = self.groups.plus(independent, weights, weights)
        return self.windows.plus(excess, (1, 1), (1, 1))


def recentre(baseline: Reference, offsets: Mapping[Segment | None, Offset]) -> Reference:
    """Return a baseline re-centred: its expectations are a weighted mean with those of the warm-up.

    Args:
        baseline: The baseline.
        offsets: The offset of the warm-up by segment, None for all events; other segments stay as they are.
    """
    segments = tuple(
        replace(segment, **_changes(offsets[key], baseline, segment))
        if (key := (segment.key, segment.value)) in offsets
        else segment
        for segment in baseline.segments
    )
    changes = _changes(offsets[None], baseline)
    return replace(baseline, mean_count=int(changes["counts"].sum()), segments=segments, **changes)


def _changes(offset: Offset, baseline: Reference, segment: SegmentReference | None = None) -> dict[str, Any]:
    """Return the histogram, of as many events as warm-up and baseline, and the other expectations."""
    tally, part, share = offset.tally, offset.part, offset.share
    shares = share * tally.counts / tally.count + (1 - share) * part.counts / part.counts.sum()
    shift = baseline.projection.shift(tally[CLIPPED_COORDINATE_SUMS], tally.count)
    arrays = dict(part.arrays)
    for statistic in registry.counted(baseline.arrays):
        if segment is None or statistic.in_segments:
            arrays |= statistic.recentre(baseline, segment, tally, share)
    return {
        "counts": np.rint((tally.count + part.mean_count) * shares).astype(np.int64),
        "mean": share * shift + (1 - share) * part.mean,
        "arrays": arrays,
    }


def _standardized(
    tally: Tally, reference: Reference, segment: SegmentReference | None, *, are_together: bool = False
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Return what the estimator takes of a window beside its counts, or of several windows together."""
    shift = reference.projection.shift(tally[CLIPPED_COORDINATE_SUMS], tally.count)
    independent = Overdispersion.independent(reference.components)
    return (segment or reference).standardized(shift) * math.sqrt(tally.count), {
        each.name: each.null(reference, segment, independent).standardized(tally)
        for each in registry.counted(reference.arrays)
        if each.variances
        and (segment is None or each.in_segments)
        and not (are_together and each.is_within_windows)
    }
