"""Groups of vectors that belong together, such as the paragraphs of an article, and their overdispersion."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.quality import overdispersion_reading
from driftgauge.baseline.windows import LEAST_WINDOWS, MAX_WINDOW_SHARE, by_statistic, standardize
from driftgauge.core.counting.tally import CLUSTER_COUNTS
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.mean_shift import CLIPPED_COORDINATE_SUMS
from driftgauge.core.statistics.overdispersion import (
    MIN_WINDOWS,
    Overdispersion,
)
from driftgauge.errors import InputError

__all__ = [
    "groups_of_ids",
    "measure_groups",
    "number_groups",
    "pool",
    "pool_sides",
    "report_groups",
]

# A prefix that few ids share says nothing of how vectors belong together.
_LEAST_SHARED = 0.5
_ALL_BUT_LAST = re.compile(r".+[-_/:#.](?=[^-_/:#.]*$)")


def groups_of_ids(event_ids: Sequence[str | None] | None) -> NDArray[np.intp] | None:
    """Return the groups of n vectors whose ids share all but their last part, (n,), from 0 without gaps.

    The parts are separated by - _ / : # or a dot: document-7#2 and document-7#3 are of one group. A vector
    without an id, or with an id of one part, is a group of its own.

    Returns:
        The groups; None if there are no ids, if fewer than half of the vectors share their group, or if
        the groups are too few or too large to be measured.
    """
    if event_ids is None:
        return None
    names = [
        row if event_id is None or not (match := _ALL_BUT_LAST.match(event_id)) else match[0]
        for row, event_id in enumerate(event_ids)
    ]
    numbers: dict[str | int, int] = {}
    groups = np.fromiter((numbers.setdefault(name, len(numbers)) for name in names), np.intp, len(names))
    sizes = np.bincount(groups)
    are_shared = sizes[sizes > 1].sum() >= _LEAST_SHARED * len(names)
    are_many = len(sizes) >= LEAST_WINDOWS and sizes.max() <= MAX_WINDOW_SHARE * len(names)
    return groups if are_shared and are_many else None


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
    columns: Mapping[str, NDArray[np.float64]],
    measured: Mapping[str, NDArray[Any]],
    first: int = 0,
) -> Overdispersion:
    """Return the overdispersion by groups.

    The design effect of a sample of whole groups: the variance of a mean, from the squared sum of each
    group's deviations, over that of independent vectors (L. Kish, Survey Sampling, Wiley, 1965). It divides
    the events of baseline and window: a baseline of few groups is uncertain however large the window, and a
    window is taken to hold groups as large as the baseline's. Each group is compared with the others.

    Large groups count most, so the estimate is as uncertain as one from fewer groups of one size:
    (sum of s^2)^2 / sum of s^4, with s the sizes. That is the number of windows that it states, at least 20:
    a few articles of most of the paragraphs would otherwise leave a baseline without any correction.

    Args:
        groups: (m,), the group of each vector, from 0.
        ids: (m,), its cluster; no cluster is empty.
        coordinates: (m, r) float64, its coordinates from the mean of all, in standard deviations.
        columns: As in `observe`.
        measured: What the service counts of each vector, by the fields of a tally.
        first: The number of vectors of the first of two sides, from whose means numbers are taken; see
            `pool_sides`.
    """
    sizes = np.bincount(groups).astype(np.float64)
    count = len(groups)
    shares = np.bincount(ids) / count
    clusters = np.zeros((len(sizes), len(shares)))
    np.add.at(clusters, (groups, ids), 1)
    clusters -= sizes[:, None] * shares
    sums, others = (
        np.stack([np.bincount(groups, weights=column) for column in numbers.T], axis=1)
        for numbers in (coordinates, standardize(columns))
    )
    # A group's deviation from the whole, which contains it, is 1 - s/m times that from the others, and has
    # 1 - s/m times the variance of independent vectors.
    weights = 1 / (1 - sizes / count)
    sides = np.where(np.bincount(groups[:first], minlength=len(sizes)) > 0, first, count - first)
    of_numbers = 1 / (1 - sizes / sides)
    effective = int(np.square(np.square(sizes).sum()) / np.power(sizes, 4).sum())
    return Overdispersion.estimate(
        max(effective, MIN_WINDOWS),
        float(weights @ (np.square(clusters) / shares).sum(axis=1)) / (len(shares) - 1) / count,
        np.asarray((sums * of_numbers[:, None]).T @ sums / count, np.float64),
        by_statistic(columns, of_numbers @ np.square(others) / count)
        | {
            each.name: weights @ each.by_groups(measured, groups) / count
            for each in registry.STATISTICS
            if each.is_within_windows
        },
    )


def pool(fitted: NDArray[Any], counted: NDArray[Any]) -> NDArray[np.float64]:
    """Return numbers of both sides from the means of their side, with the deviations of the second.

    Along the components, the vectors that these were fitted on differ more than new ones do.

    Args:
        fitted: (n, w), of the vectors that centroids and components were fitted on.
        counted: (m, w), of the others.
    """
    one, other = (np.asarray(each - each.mean(axis=0), np.float64) for each in (fitted, counted))
    scale = one.std(axis=0)
    return np.concatenate([one * (other.std(axis=0) / np.where(scale > 0, scale, np.inf)), other])


def pool_sides(
    fitted: Mapping[str, NDArray[Any]], counted: Mapping[str, NDArray[Any]], deviations: NDArray[np.float64]
) -> tuple[
    NDArray[np.intp], NDArray[np.float64], dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]], int
]:
    """Return what `measure_groups` takes of all vectors beside their groups.

    Args:
        fitted: What the service counts of the vectors that centroids and components were fitted on, by the
            fields of a tally.
        counted: The same of the others.
        deviations: (r,) float64, the standard deviations along the components, in steps of a coordinate.
    """
    measured = {name: np.concatenate([fitted[name], counted[name]]) for name in counted}
    return (
        measured[CLUSTER_COUNTS],
        pool(fitted[CLIPPED_COORDINATE_SUMS], counted[CLIPPED_COORDINATE_SUMS]) / deviations,
        {
            each.name: pool(one, other)
            for each in registry.STATISTICS
            if (one := each.columns(fitted)) is not None and (other := each.columns(counted)) is not None
        },
        measured,
        len(fitted[CLUSTER_COUNTS]),
    )


def report_groups(
    overdispersion: Overdispersion, progress: Callable[[str], None], *, mixed_windows: bool
) -> None:
    """Report what the groups show, and how windows hold them."""
    held = (
        "a few events of many groups"
        if mixed_windows
        else "whole groups; if they hold a few events of many, give --mixed-windows"
    )
    progress(
        f"groups, worth {overdispersion.windows} of one size: "
        f"{overdispersion_reading(overdispersion.counts, overdispersion.largest_mean)}; "
        f"windows are taken to hold {held}"
    )
