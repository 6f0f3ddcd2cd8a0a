"""Detectors of drift that keep raw vectors, beside which `compared.py` measures the service.

Each returns a number a window, larger where it differs more from the baseline; what is significant, clean
windows show.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from tests.bench.embeddings import Array, Rows, Vectors

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the median squared distance
CLASS_AXES = 12  # of each of DriftLens' classes
BLOCK = 1_000

Windows = Sequence[Rows]


def squared(one: Vectors, other: Vectors) -> Vectors:
    """Return squared distances of all pairs."""
    lengths = [np.square(each).sum(axis=1) for each in (one, other)]
    return np.maximum(lengths[0][:, None] + lengths[1] - 2 * one @ other.T, 0)


class Frechet:
    """The Fréchet distance of vectors from a normal distribution along principal axes."""

    def __init__(self, vectors: Array, axes: int) -> None:
        self._mean = vectors.mean(axis=0)
        _, lengths, directions = np.linalg.svd(vectors - self._mean, full_matrices=False)
        held = min(axes, int((lengths > 1e-4 * lengths[0]).sum()))
        self._axes = directions[:held].T
        self._variances = np.square(lengths[:held]) / len(vectors)

    def distance(self, vectors: Array) -> float:
        own = (vectors - self._mean) @ self._axes
        mean = own.mean(axis=0)
        scaled = (own - mean) / np.sqrt(len(own))
        # The trace of the root of the product of both covariances is the sum of these singular values.
        common = np.linalg.svd(scaled * np.sqrt(self._variances), compute_uv=False).sum()
        return float(mean @ mean + self._variances.sum() + np.square(scaled).sum() - 2 * common)


class Detectors:
    """The detectors of one baseline."""

    def __init__(self, vectors: Vectors, classes: NDArray[np.int64], seed: int) -> None:
        self._random = np.random.default_rng([seed, 7])
        self._mean = vectors.mean(axis=0)
        centred = vectors - self._mean
        # Kernels and classifiers compare with a part of the baseline.
        chosen = self._random.choice(len(vectors), min(1_000, len(vectors)), replace=False)
        self._references = centred[chosen]
        among = squared(self._references, self._references)
        self._width = float(np.median(among))
        everything = centred.astype(np.float64)
        self._whole = Frechet(everything, 64)
        # The label of a classifier is taken to be the class with the nearest mean.
        self._class_means = np.stack([centred[classes == each].mean(axis=0) for each in np.unique(classes)])
        labels = self._label(centred)
        self._of_classes = {
            label: Frechet(everything[labels == label], CLASS_AXES)
            for label in np.unique(labels).tolist()
            if (labels == label).sum() > CLASS_AXES
        }
        _, lengths, directions = np.linalg.svd(everything, full_matrices=False)
        held = min(128, int((lengths > 1e-4 * lengths[0]).sum()))
        self._whitening = directions[:held].T / lengths[:held] * np.sqrt(len(vectors))
        self._white = self._references @ self._whitening

    def measure(self, vectors: Vectors, windows: Windows) -> dict[str, Array]:
        """Return the numbers of each detector of windows, each the rows of its vectors.

        Those that combine several have a column for each.
        """
        centred = vectors - self._mean
        white, labels = centred @ self._whitening, self._label(centred)
        return {
            "quadratic": np.array([self._classify(white[rows], _quadratic) for rows in windows]),
            "linear": np.array([self._classify(white[rows], lambda own: own) for rows in windows]),
            "MMD": self._kernels(centred, windows),
            "DriftLens": np.array([self._by_class(centred[rows], labels[rows]) for rows in windows]),
        }

    def _label(self, centred: Vectors) -> NDArray[np.intp]:
        means = self._class_means
        return (centred @ means.T * 2 - np.square(means).sum(axis=1)).argmax(axis=1)

    def _by_class(self, centred: Vectors, labels: NDArray[np.intp]) -> list[float]:
        """Return the distances of the batch and of its classes; NaN of those with too few events."""
        own = [
            found.distance(centred[labels == label]) if (labels == label).sum() >= 5 else np.nan
            for label, found in self._of_classes.items()
        ]
        return [self._whole.distance(centred), *own]

    def _kernels(self, centred: Vectors, windows: Windows) -> Array:
        """Return the squared mean discrepancy at each scale, up to constants."""
        used, inverse = np.unique(np.concatenate(windows), return_inverse=True)
        weights = np.zeros((len(used), len(windows)), np.float32)
        start = 0
        for number, rows in enumerate(windows):
            np.add.at(weights[:, number], inverse[start : start + len(rows)], 1 / len(rows))
            start += len(rows)
        drawn, result = centred[used], np.zeros((len(windows), len(SCALES)))
        for first in range(0, len(drawn), BLOCK):
            block = slice(first, first + BLOCK)
            # From the widest kernel on each is a power of the one before.
            within, across = (
                np.exp(squared(drawn[block], other) / (-2 * SCALES[-1] * self._width))
                for other in (drawn, self._references)
            )
            for part in reversed(range(len(SCALES))):
                result[:, part] += (weights[block] * (within @ weights)).sum(axis=0)
                result[:, part] -= 2 * weights[block].T @ across.mean(axis=1)
                within, across = np.square(within), np.square(across)
        return result

    def _classify(self, window: Array, features: Callable[[Array], Array]) -> float:
        """Return the area under the curve of a ridge classifier, in two folds, of window and baseline."""
        both = np.concatenate([features(window), features(self._white)])
        both = (both - both.mean(axis=0)) / (both.std(axis=0) + 1e-9)
        both = np.concatenate([both, np.ones((len(both), 1))], axis=1)
        is_window = np.arange(len(both)) < len(window)
        weights = np.where(is_window, 1 / len(window), 1 / len(self._white))
        folds = self._random.integers(2, size=len(both))
        scores = np.zeros(len(both))
        for fold in (0, 1):
            fitted, held = folds != fold, folds == fold
            weighed = both[fitted] * weights[fitted, None]
            products = both[fitted].T @ weighed
            products += 0.05 * np.trace(products) / len(products) * np.eye(len(products))
            scores[held] = both[held] @ np.linalg.solve(products, weighed.T @ (2.0 * is_window[fitted] - 1))
            scores[held] -= scores[held].mean()
        ranks = rankdata(scores)[is_window].sum() - len(window) * (len(window) + 1) / 2
        return float(ranks / (len(window) * len(self._white)))


def _quadratic(own: Array) -> Array:
    """Return coordinates, products of the leading ones, squares and the logarithm of the length."""
    leading = own[:, :8].clip(-5, 5)
    one, other = np.triu_indices(leading.shape[1])
    squares = np.square(own[:, 8:32]).clip(0, 20)
    length = np.log(np.square(own).sum(axis=1) + 1)[:, None]
    return np.concatenate([own[:, :32], leading[:, one] * leading[:, other], squares, length], 1)


def standings(clean: Mapping[str, Array], found: Mapping[str, Array]) -> dict[str, Array]:
    """Return one number a window by each detector: of several, the largest in deviations of clean ones."""
    return {
        name: each
        if each.ndim == 1
        else np.nanmax(
            np.nan_to_num(
                (each - np.nanmean(clean[name], axis=0)) / np.nanstd(clean[name], axis=0), nan=-np.inf
            ),
            axis=1,
        )
        for name, each in found.items()
    }
