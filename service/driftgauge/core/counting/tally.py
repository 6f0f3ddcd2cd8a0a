"""The tally of a pane or window: additive statistics in one vector of integers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.hashing import HASH_BINS
from driftgauge.core.counting.projection import SPREADS

__all__ = ["Tally", "tally_batch"]


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """The additive statistics of events: the tallies of any split of the events add up to the same.

    Attributes:
        values: (2 k + B + r + 4,) int64: the number of events of each cluster, the number of outliers (events
            beyond the cluster's radius) of each, the number of events of each hash, the sum of the events'
            coordinates along each component, in fixed point, the sums of their two spreads, and the sums of
            the outliers' spreads.
        clusters: k, the number of clusters.
        bins: B, the number of hashes; 0 for a segment, whose hashes are not counted.
    """

    values: NDArray[np.int64]
    clusters: int
    bins: int = HASH_BINS

    @property
    def counts(self) -> NDArray[np.int64]:
        """(k,) int64, the number of events of each cluster."""
        return self.values[: self.clusters]

    @property
    def count(self) -> int:
        """The number of events."""
        return int(self.counts.sum())

    @property
    def outliers(self) -> NDArray[np.int64]:
        """(k,) int64, the number of events beyond the radius of each cluster."""
        return self.values[self.clusters : 2 * self.clusters]

    @property
    def hash_counts(self) -> NDArray[np.int64]:
        """(B,) int64, the number of events of each hash; see `hash_vectors`."""
        return self.values[2 * self.clusters :][: self.bins]

    @property
    def sums(self) -> NDArray[np.int64]:
        """(r,) int64, the sum of the events' coordinates along the components; see `Projection`."""
        return self.values[2 * self.clusters + self.bins : -2 * SPREADS]

    @property
    def spreads(self) -> NDArray[np.int64]:
        """(2,) int64, the sums of the events' spreads; see `Projection.measure`."""
        return self.values[-2 * SPREADS : -SPREADS]

    @property
    def outlier_spreads(self) -> NDArray[np.int64]:
        """(2,) int64, the sums of the outliers' spreads."""
        return self.values[-SPREADS:]


def tally_batch(
    group: NDArray[np.intp],
    groups: int,
    clusters: int,
    *,
    cluster: NDArray[np.intp],
    outliers: NDArray[np.bool_],
    coordinates: NDArray[np.int64],
    spreads: NDArray[np.int64],
    hashes: NDArray[np.intp] | None,
) -> NDArray[np.int64]:
    """Return the values of the tallies of several groups of n events, (groups, 2 k + B + r + 4) int64.

    Args:
        group: (n,), the group of each event, from 0; none of the groups is empty.
        groups: The number of groups.
        clusters: k, the number of clusters.
        cluster: (n,), the cluster of each event.
        outliers: (n,), whether each event lies beyond its cluster's radius.
        coordinates: (n, r) int64, the coordinates of each event along the components.
        spreads: (n, 2) int64, the spreads of each event.
        hashes: (n,), the hash of each event's vector; None: the tallies hold none.
    """
    parts = [
        _count(group, groups, cluster, clusters),
        _count(group[outliers], groups, cluster[outliers], clusters),
    ]
    if hashes is not None:
        parts.append(_count(group, groups, hashes, HASH_BINS))
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(groups))
    own = np.hstack([coordinates, spreads, spreads * outliers[:, None]])
    # The sums are of integers, so they do not depend on the order.
    return np.hstack([*parts, np.add.reduceat(own[order], starts, axis=0)])


def _count(
    group: NDArray[np.intp], groups: int, values: NDArray[np.intp], below: int
) -> NDArray[np.int64 | np.intp]:
    """Return the number of each value, from 0 and below a limit, in each group, (groups, limit)."""
    return np.bincount(group * below + values, minlength=groups * below).reshape(groups, below)
