"""The tally of a pane or window: additive statistics in one vector of integers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tally", "tally_batch"]


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """The additive statistics of events: the tallies of any split of the events add up to the same.

    Attributes:
        values: (k + 1 + r,) int64: the number of events of each cluster, the number beyond their cluster's
            radius, and the sum of the events' coordinates along each component, in fixed point.
        clusters: k, the number of clusters.
    """

    values: NDArray[np.int64]
    clusters: int

    @property
    def counts(self) -> NDArray[np.int64]:
        """(k,) int64, the number of events of each cluster."""
        return self.values[: self.clusters]

    @property
    def count(self) -> int:
        """The number of events."""
        return int(self.counts.sum())

    @property
    def outliers(self) -> int:
        """The number of events beyond the radius of their cluster."""
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
        groups: The number of groups.
        clusters: k, the number of clusters.
        cluster: (n,), the cluster of each event.
        outliers: (n,), whether each event lies beyond its cluster's radius.
        coordinates: (n, r) int64, the coordinates of each event along the components.
    """
    counts = np.bincount(group * clusters + cluster, minlength=groups * clusters)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(groups))
    tallies = np.empty((groups, clusters + 1 + coordinates.shape[1]), dtype=np.int64)
    tallies[:, :clusters] = counts.reshape(groups, clusters)
    tallies[:, clusters] = np.bincount(group[outliers], minlength=groups)
    # The sums are of integers, so they do not depend on the order.
    tallies[:, clusters + 1 :] = np.add.reduceat(coordinates[order], starts, axis=0)
    return tallies
