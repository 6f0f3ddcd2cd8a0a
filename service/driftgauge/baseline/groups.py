"""Groups of related vectors, such as the paragraphs of a document: their numbers and overdispersion."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.quality import overdispersion_reading
from driftgauge.baseline.repetition import by_groups
from driftgauge.core.statistics.overdispersion import (
    MIN_WINDOWS,
    Overdispersion,
    OverdispersionEstimator,
)
from driftgauge.errors import InputError

__all__ = ["measure_groups", "number_groups", "report_groups"]


def number_groups(
    labels: Sequence[Mapping[str, str]] | None, key: str, progress: Callable[[str], None]
) -> NDArray[np.intp]:
    """Return the group of each of n vectors by a segment key, (n,), from 0 without gaps.

    A vector without the key is a group of its own; their share is a warning.

    Raises:
        InputError: No vector has the key; the message states the remedy.
    """
    if labels is None or not any(key in own for own in labels):
        message = (
            f"no vector has a group {key!r}; name a segment key of the events, or a column of a table, or "
            "leave out --group"
        )
        raise InputError(message)
    alone = sum(key not in own for own in labels)
    if alone:
        progress(
            f"warning: {alone / len(labels):.1%} of the vectors have no {key}; each is a group of its own"
        )
    numbers: dict[str | int, int] = {}
    own = (labels_of.get(key, row) for row, labels_of in enumerate(labels))
    return np.fromiter((numbers.setdefault(name, len(numbers)) for name in own), np.intp, len(labels))


def measure_groups(
    groups: NDArray[np.intp],
    ids: NDArray[np.intp],
    coordinates: NDArray[np.float64],
    lengths: NDArray[np.float64],
    hashes: NDArray[np.intp],
) -> Overdispersion | None:
    """Return the overdispersion by groups; None where there are fewer than 20.

    The design effect of a sample of whole groups: the variance of a mean, from the squared sum of each
    group's deviations, over that of independent vectors (L. Kish, Survey Sampling, Wiley, 1965). It divides
    the events of baseline and window: a baseline of few groups is uncertain however large the window, and a
    window is taken to hold groups as large as the baseline's. Each group is compared with the others.

    Large groups count most, so the estimate is as uncertain as one from fewer groups of one size:
    (sum of s^2)^2 / sum of s^4, with s the sizes. That is the number of windows that it states, at least 20:
    a few articles of most of the paragraphs would otherwise leave a baseline without any correction.

    Args:
        groups: (m,), the group of each reference vector, from 0.
        ids: (m,), its cluster; no cluster is empty.
        coordinates: (m, r) float64, its coordinates from the mean of all, in standard deviations.
        lengths: (m, 3) float64, whether it is an outlier, and its spreads.
        hashes: (m,), its hash.
    """
    sizes = np.bincount(groups).astype(np.float64)
    count = len(groups)
    shares = np.bincount(ids) / count
    clusters = np.zeros((len(sizes), len(shares)))
    np.add.at(clusters, (groups, ids), 1)
    clusters -= sizes[:, None] * shares
    deviations = lengths.std(axis=0)
    deviations[deviations == 0] = np.inf
    sums, distances = (
        np.stack([np.bincount(groups, weights=column) for column in columns.T], axis=1)
        for columns in (coordinates, (lengths - lengths.mean(axis=0)) / deviations)
    )
    # A group's deviation from the whole, which contains it, is 1 - s/m times that from the others, and has
    # 1 - s/m times the variance of independent vectors.
    weights = 1 / (1 - sizes / count)
    effective = int(np.square(np.square(sizes).sum()) / np.power(sizes, 4).sum())
    if len(sizes) >= MIN_WINDOWS:
        effective = max(effective, MIN_WINDOWS)
    # Sums over groups, as the estimator's are over windows.
    scale = effective / count
    estimator = OverdispersionEstimator(
        effective,
        float(weights @ (np.square(clusters) / shares).sum(axis=1)) / (len(shares) - 1) * scale,
        np.asarray((sums * weights[:, None]).T @ sums * scale, np.float64),
        np.append(weights @ np.square(distances), weights @ by_groups(groups, hashes)) * scale,
    )
    return estimator.overdispersion()


def report_groups(overdispersion: Overdispersion | None, progress: Callable[[str], None]) -> None:
    """Report what the groups show; too few are a warning."""
    if overdispersion is None:
        progress(
            f"warning: the overdispersion is not known: fewer than {MIN_WINDOWS} groups are held out; "
            "give more groups"
        )
    else:
        progress(
            f"groups, worth {overdispersion.windows} of one size: "
            f"{overdispersion_reading(overdispersion.counts, overdispersion.largest_mean)}"
        )
