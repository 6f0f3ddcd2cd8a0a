"""Groups of related vectors, such as the paragraphs of a document: their numbers and overdispersion."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.statistics.overdispersion import Overdispersion, OverdispersionEstimator
from driftgauge.errors import InputError

__all__ = ["measure_groups", "number_groups"]


def number_groups(labels: Sequence[Mapping[str, str]] | None, key: str) -> NDArray[np.intp]:
    """Return the group of each of n vectors by a segment key, (n,), from 0 without gaps.

    A vector without the key is a group of its own.

    Raises:
        InputError: No vector has the key; the message states the remedy.
    """
    if labels is None or not any(key in own for own in labels):
        message = (
            f"no vector has a group {key!r}; name a segment key of the events, or for a table a column of "
            f"this name (or --segment-column {key}=COLUMN), or leave out --group"
        )
        raise InputError(message)
    numbers: dict[str | int, int] = {}
    own = (labels_of.get(key, row) for row, labels_of in enumerate(labels))
    return np.fromiter((numbers.setdefault(name, len(numbers)) for name in own), np.intp, len(labels))


def measure_groups(
    groups: NDArray[np.intp],
    ids: NDArray[np.intp],
    coordinates: NDArray[np.float64],
    lengths: NDArray[np.float64],
) -> Overdispersion | None:
    """Return the overdispersion by groups; None where there are fewer than 20.

    The design effect of a sample of whole groups: the variance of a mean, from the squared sum of each
    group's deviations, over that of independent vectors (L. Kish, Survey Sampling, Wiley, 1965). It divides
    the events of baseline and window: a baseline of few groups is uncertain however large the window, and a
    window is taken to hold groups as large as the baseline's.

    Args:
        groups: (m,), the group of each reference vector, from 0.
        ids: (m,), its cluster; no cluster is empty.
        coordinates: (m, r) float64, its coordinates from the mean of all, in standard deviations.
        lengths: (m, 3) float64, whether it is an outlier, and its spreads.
    """
    count, number = len(groups), int(groups.max()) + 1
    shares = np.bincount(ids) / count
    clusters = np.zeros((number, len(shares)))
    np.add.at(clusters, (groups, ids), 1)
    clusters -= np.bincount(groups)[:, None] * shares
    deviations = lengths.std(axis=0)
    deviations[deviations == 0] = np.inf
    sums, distances = (
        np.stack([np.bincount(groups, weights=column) for column in columns.T], axis=1)
        for columns in (coordinates, (lengths - lengths.mean(axis=0)) / deviations)
    )
    # Sums over groups, as the estimator's are over windows.
    scale = number / count
    estimator = OverdispersionEstimator(
        number,
        float((np.square(clusters) / shares).sum()) / (len(shares) - 1) * scale,
        np.asarray(sums.T @ sums * scale, np.float64),
        np.square(distances).sum(axis=0) * scale,
    )
    return estimator.overdispersion()
