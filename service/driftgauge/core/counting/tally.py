"""What is counted of a pane or window, as one vector of integers, so that adding it is one operation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tally", "tally_batch"]


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """The events of a stretch of event time, without the events: any split of them adds up to the same.

    Attributes:
        values: (k + 1 + r,) int64: the events of each cluster, the events beyond their cluster's
            radius, and the sum of the events' coordinates along each component, in fixed point.
        clusters: k, the number of clusters.
    """

    values: NDArray[np.int64]
    clusters: int

    @property
    def counts(self) -> NDArray[np.int64]:
        """(k,) int64, the events of each cluster."""
        return self.values[: self.clusters]

    @property
    def count(self) -> int:
        """The events."""
        return int(self.counts.sum())

    @property
    def outliers(self) -> int:
        """The events that lie beyond the radius of their cluster."""
        return int(self.values[self.clusters])

    @property
    def sums(self) -> NDArray[np.int64]:
        """(r,) int64, the sum of the events' coordinates along the components; see `Projection`."""
        return self.values[self.clusters + 1 :]


def tally_batch(
    group: NDArray[np.intp],
    groups: int,
    clusters: int,
    *,
    cluster: NDArray[np.intp],
    outliers: NDArray[np.bool_],
    coordinates: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the values of the tallies of several groups of n events, (groups, k + 1 + r) int64.

    Args:
        group: (n,), the group of each event, from 0; none of the groups is empty.
        groups: How many there are.
        clusters: k.
        cluster: (n,), the cluster of each event.
        outliers: (n,), whether it lies beyond its cluster's radius.
        coordinates: (n, r) int64, its coordinate along each component.
    """
    counts = np.bincount(group * clusters + cluster, minlength=groups * clusters)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(groups))
    tallies = np.empty((groups, clusters + 1 + coordinates.shape[1]), dtype=np.int64)
    tallies[:, :clusters] = counts.reshape(groups, clusters)
    tallies[:, clusters] = np.bincount(group[outliers], minlength=groups)
    # Integers, whose sums do not depend on their order.
    tallies[:, clusters + 1 :] = np.add.reduceat(coordinates[order], starts, axis=0)
    return tallies
