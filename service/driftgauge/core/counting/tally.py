"""The tally of a pane or window: additive statistics in one vector of integers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLUSTER_COUNTS", "Directions", "Tally", "TallyField", "tally_batch"]

CLUSTER_COUNTS = "cluster_counts"
"""The field with the number of events of each cluster, which every tally begins with."""


class TallyField(NamedTuple):
    """A field of a tally.

    Attributes:
        name: Its name.
        length: The number of its integers.
        in_segments: The tallies of segments have it too.
    """

    name: str
    length: int
    in_segments: bool = True


class Directions(NamedTuple):
    """What events add to a field, along directions that are taken of the sums of their vectors.

    Attributes:
        vectors: (n, d) float64 whole numbers.
        directions: (d, length of the field) float64 whole numbers; each event adds the product of both.
    """

    vectors: NDArray[np.float64]
    directions: NDArray[np.float64]


# The dimensions of what events add to a field; an array of one holds the place in which each event counts.
_NUMBERS, _FACTORS = 2, 3


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """The additive statistics of events: the tallies of any split of the events add up to the same.

    Attributes:
        values: (length,) int64, the fields one after the other.
        fields: The fields; see `Statistic.fields`.
    """

    values: NDArray[np.int64]
    fields: tuple[TallyField, ...]

    def __getitem__(self, name: str) -> NDArray[np.int64]:
        """Return the integers of a field, (its length,) int64.

        Raises:
            KeyError: The tally has no such field.
        """
        start = 0
        for field in self.fields:
            if field.name == name:
                return self.values[start : start + field.length]
            start += field.length
        raise KeyError(name)

    @property
    def counts(self) -> NDArray[np.int64]:
        """(k,) int64, the number of events of each cluster."""
        return self[CLUSTER_COUNTS]

    @property
    def count(self) -> int:
        """The number of events."""
        return int(self.counts.sum())


def tally_batch(
    group: NDArray[np.intp],
    groups: int,
    fields: Sequence[TallyField],
    measured: Sequence[NDArray[Any] | Directions],
) -> NDArray[np.int64]:
    """Return the values of the tallies of several groups of n events, (groups, length) int64.

    Args:
        group: (n,), the group of each event, from 0; none of the groups is empty.
        groups: The number of groups.
        fields: The fields.
        measured: What each event adds to each field: (n,), the place in the field that it counts in, -1 for
            none; or (n, length of the field) int64, the numbers that it adds; or (n, a, q) float64 whole
            numbers, of which it adds the products of all pairs of q, those of each of a together; or
            `Directions`.
    """
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(groups))
    arrays = [added for added in measured if not isinstance(added, Directions)]
    sums = [added[order] for added in arrays if added.ndim == _NUMBERS]
    # The sums are of integers, so they do not depend on the order.
    summed = np.add.reduceat(np.hstack(sums), starts, axis=0) if sums else np.zeros((groups, 0), np.int64)
    values = np.empty((groups, sum(field.length for field in fields)), np.int64)
    start = taken = 0
    for field, added in zip(fields, measured, strict=True):
        end = start + field.length
        if isinstance(added, Directions):
            values[:, start:end] = _sum_vectors(added.vectors, order, starts) @ added.directions
        elif added.ndim == _FACTORS:
            values[:, start:end] = _sum_products(added, order, starts)
        elif added.ndim == _NUMBERS:
            values[:, start:end] = summed[:, taken : taken + field.length]
            taken += field.length
        else:
            values[:, start:end] = _count(group, groups, added, field.length)
        start = end
    return values


def _sum_vectors(
    vectors: NDArray[np.float64], order: NDArray[np.intp], starts: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the sums of the vectors of each group, (groups, d): whole numbers, exact in any order."""
    if len(starts) == 1:
        return np.asarray(vectors.sum(axis=0, keepdims=True))
    return np.stack([vectors[rows].sum(axis=0) for rows in np.split(order, starts[1:])])


def _count(group: NDArray[np.intp], groups: int, places: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Return the number of events in each place of a field in each group, (groups, length)."""
    counted = places >= 0
    numbers = (group * length + places)[counted]
    return np.bincount(numbers, minlength=groups * length).reshape(groups, length)


def _sum_products(
    factors: NDArray[np.float64], order: NDArray[np.intp], starts: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the sums of the products of pairs of each group, (groups, a q (q + 1) / 2) whole numbers.

    Args:
        factors: (n, a, q), whole numbers, whose sums of products stay below 2^53 and so are exact.
        order: (n,), the events in the order of their groups.
        starts: (groups,), where each group starts in that order.
    """
    by_coordinate = factors.transpose(1, 2, 0)
    parts = [by_coordinate]
    # The sum of all events needs no order.
    if len(starts) > 1:
        parts = [np.take(by_coordinate, rows, axis=2) for rows in np.split(order, starts[1:])]
    one, other = _pairs(factors.shape[-1])
    return np.stack([(part @ part.transpose(0, 2, 1))[:, one, other].ravel() for part in parts])


@lru_cache(maxsize=8)
def _pairs(length: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    # Cached, since they take as long as the sums.
    return np.triu_indices(length)
