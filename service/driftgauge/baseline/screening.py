"""Screening of vectors before a fit: rows that are zero, repeated, or far beyond the tail of all others.

A rare class lies far from all others too, but its rows lie as close together as other rows do. Ten or more
such rows are kept. So the screening cannot tell a fault that moves ten rows or more by the same amount from a
class, nor a class of fewer rows from a fault; and of many rows of tight clusters that are scaled, some may
pass for classes.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from driftgauge.baseline.clustering import named
from driftgauge.baseline.moments import blocks, moments, shrink, squared_distances
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.errors import BaselineError

__all__ = ["count_beyond_gap", "count_copies", "find_odd_rows", "screen"]

# Rows that are left out without asking, as a share of all; one row may always be.
_MOST = 0.01
# Up to this share, rows beyond a gap are odd; more are a part of the stream that lies apart.
_SEARCHED = 0.05

# A gap is so wide that one of 100,000 spacings is as wide by chance. Only those at the top of a tail may be.
_RARITY = math.log(1e5)
# The spacings below a gap that tell its width: of a twentieth of all, from ten to a hundred.
_BELOW = (10, 100)
# Rows less than this many times as far as all others do little harm.
_LEAST_FACTOR = 1.5

# The few most frequent vectors are odd if they appear this many times as often as the next one: the
# frequencies of popular items fall without such a step.
_REPEATED = 10
_FEW = 5

# Popular items come at all rates. If most vectors come equally often, each was written or read so often.
_USUAL = 0.8
_WORTH_SAYING = 0.01

# The fewest rows that are a class, and how much wider than others they may lie: bad rows are scaled by more.
_LEAST_CLASS = 10
_WIDEST = 1.5

# Rows that tell the middle, the directions and the density of all.
_SAMPLE = 20_000

# Why rows are odd, in words.
_WORDS = {
    "zero": "are of length zero in float32",
    "repeated": "repeat one vector",
    "far": "lie far from all others and are not ten or more that lie close together, as a rare class does",
}


def screen(
    vectors: NDArray[np.float32],
    metric: DistanceMetric,
    event_ids: Sequence[str | None] | None,
    progress: Callable[[str], None],
    *,
    keep_all: bool,
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Leave out the odd rows of (n, d) float32 finite vectors, at most 1 % of them.

    Args:
        vectors: The vectors.
        metric: The metric of the clusters.
        event_ids: n event ids, which are named beside the rows' numbers; None without ids.
        progress: Receives a warning for each reason, with the first rows, and how many rows are copies.
        keep_all: Keep the odd rows, but for those that the metric cannot compare.

    Returns:
        (n,), which rows are kept; and the number of others by the reason: "zero", "repeated" or "far".

    Raises:
        BaselineError: More than 1 % of the rows are odd; the message names reasons, rows and remedies.
    """
    copies, count = count_copies(vectors), len(vectors)
    odd = find_odd_rows(vectors, copies)
    if keep_all:
        # A vector of length zero has no direction, which the cosine metric compares.
        odd = {why: rows for why, rows in odd.items() if why == "zero" and metric is DistanceMetric.COSINE}
    found = [
        f"{len(rows):,} of {count:,} vectors, which {_WORDS[why]} ({named(rows, 'row', event_ids)})"
        for why, rows in odd.items()
    ]
    total = sum(map(len, odd.values()))
    if total > max(_MOST * count, 1):
        message = (
            f"{total / count:.1%} of the vectors would spoil the baseline: {'; '.join(found)}; remove them, "
            "or, if the stream has such vectors all the time, keep them with --keep-all (those of length "
            "zero only with --metric euclidean)"
        )
        raise BaselineError(message)
    kept = np.ones(count, dtype=np.bool_)
    for line, rows in zip(found, odd.values(), strict=True):
        kept[rows] = False
        progress(f"warning: left out {line}; if the stream has such vectors all the time, use --keep-all")
    _report_copies(copies[kept], progress)
    return kept, {why: len(rows) for why, rows in odd.items()}


def count_copies(vectors: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return how often each vector of (n, d) float32 occurs among them, (n,), 1 or more."""
    # Two vectors share a hash of 64 bits with a probability below 2^-32.
    hashes = np.fromiter((hash(vector.tobytes()) for vector in vectors), np.int64, len(vectors))
    _, numbers, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    return np.asarray(counts[numbers])


def _report_copies(copies: NDArray[np.intp], progress: Callable[[str], None]) -> None:
    """Report how many of n vectors are copies of others, by how often each occurs, (n,)."""
    times, rows = np.unique(copies, return_counts=True)
    distinct = rows // times
    total, usual = int(distinct.sum()), int(distinct.argmax())
    line = f"{len(copies) - total:,} of {len(copies):,} vectors repeat another one; {total:,} are distinct"
    if times[usual] > 1 and distinct[usual] >= _USUAL * total:
        progress(
            f"warning: {line}, and most occur {times[usual]} times: if events were written or read as "
            "often, remove the copies; otherwise the baseline takes its noise for smaller than it is"
        )
    elif len(copies) - total >= _WORTH_SAYING * len(copies):
        progress(line)


def find_odd_rows(vectors: NDArray[np.float32], copies: NDArray[np.intp]) -> dict[str, NDArray[np.intp]]:
    """Return the odd rows of (n, d) float32 finite vectors by the reason; no reason is without rows.

    `copies` are those of `count_copies`.

    Far rows are found by their distances from the middle in standard deviations, along the leading
    components and of what these leave. Middle and directions are those of vectors shrunk to the median
    distance from the middle, so that a few wild rows do not rule them (nearly the spatial sign covariance:
    S. Visuri, V. Koivunen and H. Oja, Sign and rank covariance matrices, Journal of Statistical Planning and
    Inference 91, 2000). A rare class among the far rows is kept.
    """
    # As the cosine metric sees them.
    lengths = [np.linalg.norm(vectors[rows], axis=1) for rows in blocks(np.arange(len(vectors)))]
    is_zero = np.concatenate(lengths) == 0
    others = np.flatnonzero(~is_zero)
    is_repeated = _are_repeated(copies[others])
    left = others[~is_repeated]
    are_far = _are_far(vectors, left)
    far, near = left[are_far], left[~are_far]
    odd = {
        "zero": np.flatnonzero(is_zero),
        "repeated": others[is_repeated],
        "far": far[~_are_of_class(vectors, far, near)],
    }
    return {why: rows for why, rows in odd.items() if len(rows)}


def count_beyond_gap(distances: NDArray[np.float64], searched: int) -> int:
    """Return how many of n distances, (n,) and not negative, lie beyond a gap in their tail; 0 without one.

    In the logarithm, i times the i-th spacing from the top of a tail that falls like a power is exponential,
    with the same mean for all i (A. Renyi, On the theory of order statistics, Acta Mathematica Hungarica 4,
    1953); tails that fall faster have narrower spacings at the top. A gap is much wider than the spacings
    below it tell. One exponential variable is above w times the mean of b others with the probability
    (1 + w / b)^-b.

    Args:
        distances: The distances.
        searched: The most that may lie beyond the gap.
    """
    logarithms = np.sort(np.log(distances[distances > 0]))[::-1]
    below = int(np.clip(len(logarithms) // 20, *_BELOW))
    searched = min(searched, len(logarithms) - below - 1)
    if searched < 1:
        return 0
    gaps = -np.diff(logarithms[: searched + below + 1])
    spacings = gaps * np.arange(1, len(gaps) + 1)
    sums = np.append(0.0, np.cumsum(spacings))
    typical = (sums[below + 1 :] - sums[1 : searched + 1]) / below
    width = below * math.expm1(_RARITY / below)
    is_gap = (spacings[:searched] > width * typical) & (gaps[:searched] > math.log(_LEAST_FACTOR))
    return int(np.flatnonzero(is_gap).max(initial=-1)) + 1


def _are_far(vectors: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which of some rows lie beyond a gap, (rows,) bool."""
    far = np.zeros(len(rows), dtype=np.bool_)
    if not len(rows):
        return far
    searched = math.ceil(_SEARCHED * len(rows))
    sample = rows
    if len(rows) > _SAMPLE:
        sample = np.sort(np.random.default_rng(0).choice(rows, _SAMPLE, replace=False))
    shrunk = shrink(vectors[sample])
    if (shrunk.max(axis=0) == shrunk.min(axis=0)).all():
        return far
    for squares in squared_distances(vectors, rows, moments(shrunk, np.arange(len(shrunk)))).T:
        number = count_beyond_gap(np.sqrt(squares), searched)
        far[np.argsort(squares)[len(rows) - number :]] = True
    return far


def _are_of_class(
    vectors: NDArray[np.float32], far: NDArray[np.intp], near: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Return which of some far rows belong to a rare class, (far,) bool.

    A row of a class has nine others about as near as a row has among as many of the near ones.
    """
    if min(len(far), len(near)) < _LEAST_CLASS:
        return np.zeros(len(far), dtype=np.bool_)
    random = np.random.default_rng(0)
    size = min(len(far), len(near), _SAMPLE)
    own, others = (vectors[random.choice(rows, size, replace=False)] for rows in (far, near))
    are_close: NDArray[np.bool_] = _reach(vectors[far], own) <= _WIDEST * np.median(_reach(others, others))
    return are_close


def _reach(vectors: NDArray[np.float32], among: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the distance of n vectors from the tenth nearest of others, (n,); each may be among them."""
    distances, _ = NearestNeighbors(n_neighbors=_LEAST_CLASS).fit(among).kneighbors(vectors)
    return np.asarray(distances[:, -1], np.float64)


def _are_repeated(copies: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which of n rows hold one of a few vectors that occur ten times as often as others, (n,)."""
    times, rows = np.unique(copies, return_counts=True)
    falling = np.repeat(times, rows // times)[::-1][: _FEW + 1]
    often = np.flatnonzero(falling[:-1] >= _REPEATED * falling[1:])
    least = falling[often.max()] if len(often) else len(copies) + 1
    repeated: NDArray[np.bool_] = copies >= least
    return repeated
