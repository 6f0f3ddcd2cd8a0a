"""The warm-up: what the windows of a time that is declared clean show, and the reference that they make."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.projection import SPREAD_STEP, SPREADS, Projection
from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Reference, Segment, SegmentReference
from driftgauge.core.statistics.novelty import shares_beyond_own_radius
from driftgauge.core.statistics.overdispersion import Overdispersion, OverdispersionEstimator
from driftgauge.core.statistics.spread import SpreadMoments
from driftgauge.core.windows.distance_tests import deviations_of

__all__ = ["Offset", "WarmUp", "recentre"]

_Spreads = tuple[SpreadMoments | None, SpreadMoments | None]


@dataclass(frozen=True, slots=True, eq=False)
class WarmUp:
    """The windows of a warm-up, of all events or of a segment.

    A baseline of other documents, users or days differs from every later window by the same offset, which the
    warm-up measures.

    Attributes:
        values: The sum of its windows' tallies, int64; empty before the first window.
        windows: The estimator of their overdispersion around their own mean.
    """

    values: NDArray[np.int64]
    windows: OverdispersionEstimator

    @classmethod
    def empty(cls, clusters: int, components: int) -> "WarmUp":
        """Return the warm-up before its first window, for k clusters and r components."""
        return cls(np.zeros(0, np.int64), OverdispersionEstimator.empty(clusters, components))

    def add(
        self, tally: Tally, reference: Reference | SegmentReference, shift: NDArray[np.float64]
    ) -> "WarmUp":
        """Return the warm-up with one more window.

        Args:
            tally: The window's tally.
            reference: The baseline or segment that it is compared with.
            shift: (r,) float64, the window's mean along the components, in standard deviations.
        """
        return WarmUp(
            self.values + tally.values if len(self.values) else tally.values,
            self.windows.add(tally.counts, *deviations_of(tally, reference, shift)),
        )

    def _tally(self, clusters: int, components: int) -> Tally:
        """Return the sum of its windows' tallies, for k clusters and r components."""
        return Tally(self.values, clusters, len(self.values) - 2 * clusters - components - 2 * SPREADS)

    def offset(self, baseline: Reference, part: Reference | SegmentReference) -> "Offset | None":
        """Return the offset from a baseline, or a segment of it; None: the windows are too few to measure it.

        Windows that hold whole groups vary as groups do, or as the warm-up shows where that is more.
        """
        windows, groups = self.windows.overdispersion(), baseline.groups_overdispersion
        if windows is None:
            return None
        least = baseline.overdispersion
        if groups is not None and least is not None and np.trace(least.means) > np.trace(windows.means):
            windows = least
        return Offset(
            self._tally(len(part.counts), baseline.components),
            windows,
            groups,
            groups or part.overdispersion or windows,
            part.counts,
            part.mean_count,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Offset:
    """The offset of a warm-up from a baseline or segment.

    However many the windows are, they may hold few groups, such as articles that come again. Counts do not
    show how many: as many are assumed as the baseline has.

    Attributes:
        tally: The tally of all windows of the warm-up.
        windows: The overdispersion of windows around their own mean.
        groups: That of the baseline by its groups; None: there are none.
        baseline: That of the baseline.
        counts: (k,) int64, the histogram of the baseline.
        mean_count: M, the events of its mean.
    """

    tally: Tally
    windows: Overdispersion
    groups: Overdispersion | None
    baseline: Overdispersion
    counts: NDArray[np.int64]
    mean_count: int

    @property
    def overdispersion(self) -> Overdispersion:
        """The overdispersion of the warm-up as one window, and of the baseline that it is compared with."""
        return replace(self._of_all, baseline=self.baseline)

    @property
    def share(self) -> float:
        """The weight of the warm-up in its mean with the baseline, by the inverse of their variances.

        0 where groups are known: later windows may hold others than the warm-up does.
        """
        if self.groups is not None:
            return 0.0
        of_warm_up, of_baseline = (
            float(np.trace(overdispersion.means)) / count
            for overdispersion, count in (
                (self.windows, self.tally.count),
                (self.baseline, self.mean_count),
            )
        )
        return of_baseline / (of_baseline + of_warm_up)

    def recentred(self, share: float) -> Overdispersion:
        """Return the overdispersion of later windows, and of the reference with this share of the warm-up."""
        total = self.tally.count + self.mean_count
        own, other = total * share**2 / self.tally.count, total * (1 - share) ** 2
        reference = self._of_all.plus(
            self.baseline, (own, other / int(self.counts.sum())), (own, other / self.mean_count)
        )
        return replace(self.windows, baseline=reference)

    @property
    def _of_all(self) -> Overdispersion:
        """The overdispersion of the mean of all windows."""
        if self.groups is None:
            return self.windows
        share = self.tally.count / self.mean_count
        independent = Overdispersion.independent(len(self.groups.means))
        excess = self.groups.plus(independent, (share, -share), (share, -share))
        return self.windows.plus(excess, (1, 1), (1, 1))

    def histogram(self, share: float) -> NDArray[np.int64]:
        """Return the histogram of warm-up and baseline by their weights, (k,), of as many events as both."""
        shares = share * self.tally.counts / self.tally.count + (1 - share) * self.counts / self.counts.sum()
        counts: NDArray[np.int64] = np.rint((self.tally.count + self.mean_count) * shares).astype(np.int64)
        return counts


def recentre(
    baseline: Reference, offsets: Mapping[Segment | None, Offset], shares: Mapping[Segment | None, float]
) -> Reference:
    """Return a baseline re-centred: its expectations are a weighted mean with those of the warm-up.

    Args:
        baseline: The baseline.
        offsets: The offset of the warm-up by segment, None for all events; other segments stay as they are.
        shares: The weight of the warm-up in each.
    """
    whole, share = offsets[None], shares[None]
    tally = whole.tally
    before = shares_beyond_own_radius(baseline.counts)
    # The cluster's events, and as many of the baseline as hold one outlier.
    rates = (tally.outliers + 1) / (tally.counts + 1 / before)
    counts = whole.histogram(share)
    return replace(
        baseline,
        counts=counts,
        mean_count=int(counts.sum()),
        spreads=_spreads(baseline.spreads, tally, share),
        offset=share * baseline.projection.shift(tally.sums, tally.count),
        outlier_rates=share * rates + (1 - share) * before,
        segments=tuple(
            segment
            if (key := (segment.key, segment.value)) not in offsets
            else _recentre_segment(segment, offsets[key], shares[key], baseline.projection)
            for segment in baseline.segments
        ),
    )


def _recentre_segment(
    segment: SegmentReference, offset: Offset, share: float, projection: Projection
) -> SegmentReference:
    tally = offset.tally
    counts = offset.histogram(share)
    outliers = share * int(tally.outliers.sum()) / tally.count
    outliers += (1 - share) * segment.outliers / int(segment.counts.sum())
    return replace(
        segment,
        counts=counts,
        mean=share * projection.shift(tally.sums, tally.count) + (1 - share) * segment.mean,
        outliers=round(outliers * int(counts.sum())),
        spreads=_spreads(segment.spreads, tally, share),
    )


def _spreads(before: _Spreads, tally: Tally, share: float) -> _Spreads:
    """Return the moments of the spreads about the weighted mean."""
    means, outliers = (sums * SPREAD_STEP / tally.count for sums in (tally.spreads, tally.outlier_spreads))
    along, residual = (
        moments
        and replace(
            moments,
            count=tally.count + moments.count,
            # A spread is above 0.
            mean=max(share * mean + (1 - share) * moments.mean, SPREAD_STEP),
            outliers=share * part + (1 - share) * moments.outliers,
        )
        for moments, mean, part in zip(before, means.tolist(), outliers.tolist(), strict=True)
    )
    return along, residual
