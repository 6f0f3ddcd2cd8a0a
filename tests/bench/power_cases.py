"""The cases of `power.py`: drift planted in real embeddings, and MMD to compare with.

A split halves the vectors: on one half the baseline is fitted, windows of 200 events are drawn from the
other. Images: spread about the mean of all images times 1.1 and 0.9, 2 % of events moved five times as far
from the mean, noise of half a standard deviation along every axis, one image repeated in 5 % of events, a
class doubled, and the milder published corruptions. Texts: a topic that the baseline never saw in 10 and 20 %
of events, and a topic of the baseline doubled. Both: 3 % of events of a kind that lies beside one cluster.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tests.bench.embeddings import IMAGES, TEXTS, load, load_vectors

COUNT = 200
REFERENCES = 1_000
OUTLIERS = 0.02
FAR = 5.0
NEW_KIND = 0.03
NEAR = 100

Array = NDArray[np.float64]
Windows = NDArray[np.intp]
"""The rows of windows, (windows, COUNT)."""


@dataclass(frozen=True)
class Case:
    """What replaces a clean stream.

    Attributes:
        vectors: (N, d) float32, to draw from.
        draw: Returns the rows of windows.
    """

    vectors: NDArray[np.float32]
    draw: Callable[[np.random.Generator, int], Windows]


@dataclass(frozen=True)
class Split:
    """The baseline's vectors, the clean vectors of the other half, and the cases."""

    reference: NDArray[np.float32]
    live: NDArray[np.float32]
    cases: Mapping[str, Case]


class Mmd:
    """The squared maximum mean discrepancy of windows, which keeps raw vectors of the baseline.

    With a Gaussian kernel of the median distance. Source: A. Gretton et al., A kernel two-sample test,
    Journal of Machine Learning Research 13, 2012.
    """

    def __init__(self, reference: NDArray[np.float32], seed: int) -> None:
        random = np.random.default_rng([seed, 8])
        choice = random.choice(len(reference), min(REFERENCES, len(reference)), replace=False)
        self._references = reference[choice].astype(np.float64)
        among = _squared(self._references, self._references)
        self._bandwidth = float(np.median(among[np.triu_indices(len(among), 1)]))

    def statistic(self, vectors: NDArray[np.float32], windows: Windows) -> Array:
        """Return that of windows, (windows,), up to a constant: larger is further from the baseline."""
        used, inverse = np.unique(windows, return_inverse=True)
        rows = inverse.reshape(windows.shape)
        drawn = vectors[used].astype(np.float64)
        weights = np.zeros((len(windows), len(used)))
        for window, row in zip(weights, rows, strict=True):
            np.add.at(window, row, 1 / windows.shape[1])
        scale = -2 * self._bandwidth
        to_references = np.exp(_squared(drawn, self._references) / scale).mean(axis=1)
        among = np.exp(_squared(drawn, drawn) / scale)
        result: Array = np.einsum("wn,wn->w", weights @ among, weights) - 2 * weights @ to_references
        return result


def _squared(one: Array, other: Array) -> Array:
    result: Array = np.square(one).sum(axis=1)[:, None] + np.square(other).sum(axis=1) - 2 * one @ other.T
    return result


def weighted(weights: Array) -> Callable[[np.random.Generator, int], Windows]:
    """Return a draw with replacement by these weights."""
    probabilities = weights / weights.sum()
    return lambda random, windows: random.choice(len(weights), (windows, COUNT), p=probabilities)


def whole(available: int) -> Callable[[np.random.Generator, int], Windows]:
    """Return a draw without replacement within a window."""
    return lambda random, windows: (
        random.random((windows, available)).argpartition(COUNT, axis=1)[:, :COUNT].astype(np.intp)
    )


def new_kind(live: NDArray[np.float32], random: np.random.Generator) -> Case:
    """Return events of which some lie close together, beyond those that are near one of the others."""
    distances = np.square(live - live[random.integers(len(live))]).sum(axis=1)
    near = live[distances.argpartition(NEAR)[:NEAR]]
    middle = near.mean(axis=0)
    own = near - middle
    farthest = own[np.square(own).sum(axis=1).argmax()]
    new = (middle + 2 * farthest + np.float32(0.3) * own).astype(np.float32)
    weights = np.repeat([(1 - NEW_KIND) / len(live), NEW_KIND / NEAR], [len(live), NEAR])
    return Case(np.r_[live, new], weighted(weights))


def images(folder: Path, splits: int) -> Iterator[Split]:
    test, blurred, darkened = load_vectors(folder, IMAGES, "test", "blurred_mild", "darkened_mild")
    (labels,) = load(folder, IMAGES, "test_label")
    for number in range(splits):
        random = np.random.default_rng([number, 0])
        fitted, rows = np.split(random.permutation(len(test)), 2)
        live, mean, deviation = test[rows], test.mean(axis=0), test.std(axis=0)
        draw = whole(len(live))
        far = np.where(random.random((len(live), 1)) < OUTLIERS, np.float32(FAR), np.float32(1))
        repeated = np.r_[live, live[:1]]
        yield Split(
            test[fitted],
            live,
            {
                "clean": Case(live, draw),
                "spread x 1.1": Case(mean + (live - mean) * np.float32(1.1), draw),
                "spread x 0.9": Case(mean + (live - mean) * np.float32(0.9), draw),
                "2 % outliers": Case(mean + (live - mean) * far, draw),
                "noise on every axis": Case(
                    live + (0.5 * deviation * random.standard_normal(live.shape)).astype(np.float32), draw
                ),
                "one image in 5 %": Case(
                    repeated, weighted(np.r_[np.full(len(live), 0.95 / len(live)), 0.05])
                ),
                "a new kind": new_kind(live, random),
                "a class doubled": Case(live, weighted(np.where(labels[rows] == number % 10, 2.0, 1.0))),
                "blurred, radius 0.5": Case(blurred[rows], draw),
                "darkened, to 0.6": Case(darkened[rows], draw),
            },
        )


def texts(folder: Path, splits: int) -> Iterator[Split]:
    (vectors,), (topics,) = load_vectors(folder, TEXTS, "emb"), load(folder, TEXTS, "topic")
    for number in range(splits):
        random = np.random.default_rng([number, 1])
        unseen = number % 3
        known = random.permutation(np.flatnonzero(topics != unseen))
        fitted, rows = np.split(known, [len(known) // 2])
        others = np.flatnonzero(topics == unseen)
        live = vectors[rows]
        mixed = np.concatenate([live, vectors[others]])
        doubled = topics[rows] == (unseen + 1) % 3

        def mixture(share: float, own: int = len(rows), other: int = len(others)) -> Array:
            return np.r_[np.full(own, (1 - share) / own), np.full(other, share / other)]

        yield Split(
            vectors[fitted],
            live,
            {
                "clean": Case(live, whole(len(live))),
                "an unseen topic in 10 %": Case(mixed, weighted(mixture(0.1))),
                "an unseen topic in 20 %": Case(mixed, weighted(mixture(0.2))),
                "a new kind": new_kind(live, random),
                "a topic doubled": Case(live, weighted(np.where(doubled, 2.0, 1.0))),
            },
        )
