"""Weights of the tests by cross-validation: `python -m tests.bench.weights`, ten minutes.

Families of vectors and drift of each kind that no other program here uses. They were committed before any
weights were compared.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images
from tests.bench.embeddings import IMAGES, load, load_vectors

SEED = 2611
VECTORS = 10_000  # of a family; a split's baseline has half of them
COUNTS = (150, 500)  # events of a window
CLASSES = 8

Array = NDArray[np.float64]
Family = tuple[Array, NDArray[np.int64]]
"""Vectors, (N, d), and their classes, (N,)."""


def draw_classes(random: np.random.Generator) -> NDArray[np.int64]:
    """Return the classes of vectors, the last seven times as frequent as the first."""
    shares = np.linspace(1, 7, CLASSES)
    return random.choice(CLASSES, VECTORS, p=shares / shares.sum())


def animals(random: np.random.Generator, folder: Path) -> Family:
    """Return training images of the six classes of animals."""
    (vectors,), (labels,) = load_vectors(folder, IMAGES, "train"), load(folder, IMAGES, "train_label")
    rows = random.permutation(np.flatnonzero((labels > 1) & (labels < 8)))[:VECTORS]
    return vectors[rows].astype(np.float64), labels[rows].astype(np.int64)


def patches(random: np.random.Generator, _: Path) -> Family:
    """Return squares of 8 pixels out of two photographs; the class says which, and the third of it."""
    images = np.stack(load_sample_images().images)
    image, row, column = (random.integers(limit, size=VECTORS) for limit in (2, 419, 632))
    offset = np.arange(8)
    squares = images[
        image[:, None, None], row[:, None, None] + offset[:, None], column[:, None, None] + offset
    ]
    return squares.reshape(VECTORS, -1) / 255, 3 * image + row // 140


def rectified(random: np.random.Generator, _: Path) -> Family:
    """Return a random layer of rectified units over normal distributions."""
    classes = draw_classes(random)
    inner = 1.2 * random.standard_normal((CLASSES, 24))[classes] + random.standard_normal((VECTORS, 24))
    return np.maximum(inner @ random.standard_normal((24, 96)) / 5, 0), classes


def sphere(random: np.random.Generator, _: Path) -> Family:
    """Return unit vectors about directions, as embeddings of texts are."""
    classes = draw_classes(random)
    vectors = 0.5 * random.standard_normal((CLASSES, 128))[classes] + random.standard_normal((VECTORS, 128))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), classes


def factors(random: np.random.Generator, _: Path) -> Family:
    """Return skewed factors with noise."""
    classes = draw_classes(random)
    inner = random.gamma(2.0, size=(VECTORS, 10)) + 2 * np.eye(CLASSES, 10)[classes]
    return inner @ random.standard_normal((10, 48)) + random.standard_normal((VECTORS, 48)), classes


def words(random: np.random.Generator, _: Path) -> Family:
    """Return the roots of counts of 64 words, in documents of topics."""
    classes = draw_classes(random)
    rates = random.gamma(0.5, 4.0, size=(CLASSES, 64))[classes] * random.gamma(8.0, 1 / 8, (VECTORS, 1))
    return np.sqrt(random.poisson(rates)), classes


FAMILIES = (animals, patches, rectified, sphere, factors, words)

Change = Callable[[Array, NDArray[np.int64], np.random.Generator], Array | tuple[Array, Array]]
"""Changes principal coordinates of unit variance, (N, d), of events with classes, (N,).

Returns changed coordinates, and where the events are not equally frequent their weights, (N,).
"""


def more_of_a_class(factor: float) -> Change:
    """Return a change that makes one class more frequent."""
    return lambda own, classes, random: (own, np.where(classes == random.choice(classes), factor, 1.0))


def shifted(length: float, axes: int) -> Change:
    """Return a shift in a random direction of the leading axes, of a length in standard deviations."""

    def change(own: Array, _: NDArray[np.int64], random: np.random.Generator) -> Array:
        direction = np.zeros(own.shape[1])
        direction[:axes] = random.standard_normal(axes)
        return own + length * direction / np.linalg.norm(direction)

    return change


def scaled(share: float, factor: float) -> Change:
    """Return a change that multiplies a share of the events' distances from the mean."""
    return lambda own, _, random: np.where(random.random((len(own), 1)) < share, factor, 1.0) * own


def repeated(share: float) -> Change:
    """Return a change that adds as many copies of one event."""

    def change(own: Array, _: NDArray[np.int64], random: np.random.Generator) -> Array:
        copies = round(share / (1 - share) * len(own))
        return np.concatenate([own, np.repeat(own[[random.integers(len(own))]], copies, axis=0)])

    return change


def correlated(correlation: float, one: int, other: int) -> Change:
    """Return a change that correlates one coordinate with another."""

    def change(own: Array, *_: object) -> Array:
        changed = own.copy()
        changed[:, other] *= np.sqrt(1 - correlation**2)
        changed[:, other] += correlation * own[:, one]
        return changed

    return change


CASES: dict[str, tuple[Change, ...]] = {
    "js_divergence": (more_of_a_class(1.4), more_of_a_class(1.7), more_of_a_class(2.2)),
    "mean_shift": (shifted(0.2, 5), shifted(0.3, 5), shifted(0.35, 25), shifted(0.5, 25)),
    "novelty": (
        scaled(0.015, 3),
        scaled(0.03, 3),
        scaled(0.04, -1.7),
        scaled(0.08, -1.7),
    ),
    "spread": tuple(scaled(1, factor) for factor in (1.03, 1.06, 0.97, 0.94)),
    "duplicates": (repeated(0.025), repeated(0.04), repeated(0.06)),
    "relations": (
        correlated(0.25, 0, 3),
        correlated(0.4, 0, 3),
        correlated(0.3, 2, 5),
        correlated(0.45, 2, 5),
    ),
}
"""Drift by the statistic that is to find it."""


def splits_of(family: Callable[..., Family], folder: Path, splits: int) -> Iterator[tuple[Array, ...]]:
    """Yield the baseline's vectors, and of the others principal coordinates, classes, mean and axes."""
    random = np.random.default_rng([SEED, sum(family.__name__.encode())])
    vectors, classes = family(random, folder)
    mean = vectors.mean(axis=0)
    _, lengths, axes = np.linalg.svd(vectors - mean, full_matrices=False)
    # An axis without variance would be noise of rounding.
    held = lengths > 1e-6 * lengths[0]
    axes = axes[held] * (lengths[held] / np.sqrt(len(vectors)))[:, None]
    coordinates = (vectors - mean) @ np.linalg.pinv(axes)
    for _ in range(splits):
        fitted, rows = np.split(random.permutation(len(vectors)), 2)
        yield vectors[fitted], coordinates[rows], classes[rows], mean, axes
