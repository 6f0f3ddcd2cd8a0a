"""Families of embeddings, and drift of every kind planted in them; nothing here knows the service.

A family is drawn once. A split's baseline has half of its vectors, and its windows come from the others. The
changes work on any family: along its principal axes, or on its classes, floats and events.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from tests.bench.embeddings import IMAGES, TEXTS, Array, Rows, Vectors, load, load_vectors

SEED = 40
VECTORS = 10_000
CLASSES = 8
HEAVY_FLOATS, HEAVY_DEGREES = 64, 4
FAR = 5.0  # from the mean
NEIGHBOURS = 100
ANGLE = np.radians(20)
DEAD = 8
TRAILING = 50

Classes = NDArray[np.int64]
Family = Callable[[np.random.Generator, Path], tuple[Array, Classes]]
"""Draws a family's vectors, with their classes."""
Draw = Callable[[np.random.Generator, int], Rows]
"""Draws a window of so many events: the rows of its vectors."""


def draw_classes(random: np.random.Generator) -> Classes:
    """Return the classes of vectors, the last seven times as frequent as the first."""
    shares = np.linspace(1, 7, CLASSES)
    return random.choice(CLASSES, VECTORS, p=shares / shares.sum())


def stored(
    file: str, vectors: str, classes: str
) -> Callable[[np.random.Generator, Path], tuple[Array, Classes]]:
    """Return what loads a family from these arrays of a file."""
    return lambda _, folder: (
        load_vectors(folder, file, vectors)[0].astype(np.float64),
        load(folder, file, classes)[0].astype(np.int64),
    )


def digits(*_: object) -> tuple[Array, Classes]:
    return load_digits(return_X_y=True)


def heavy_tails(random: np.random.Generator, _: Path) -> tuple[Array, Classes]:
    """Return multivariate t about eight means."""
    classes = random.integers(8, size=VECTORS)
    scale = np.arange(1, HEAVY_FLOATS + 1) ** -0.5
    lengths = np.sqrt(random.chisquare(HEAVY_DEGREES, (VECTORS, 1)) / HEAVY_DEGREES)
    own = random.standard_normal((VECTORS, HEAVY_FLOATS)) / lengths
    return (random.standard_normal((8, HEAVY_FLOATS))[classes] + own) * scale, classes


def rectified(random: np.random.Generator, _: Path) -> tuple[Array, Classes]:
    """Return a random layer of rectified units over normal distributions."""
    classes = draw_classes(random)
    inner = 1.2 * random.standard_normal((CLASSES, 24))[classes] + random.standard_normal((VECTORS, 24))
    return np.maximum(inner @ random.standard_normal((24, 96)) / 5, 0), classes


def sphere(random: np.random.Generator, _: Path) -> tuple[Array, Classes]:
    """Return unit vectors about directions, as embeddings of texts are."""
    classes = draw_classes(random)
    vectors = 0.5 * random.standard_normal((CLASSES, 128))[classes] + random.standard_normal((VECTORS, 128))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), classes


def factors(random: np.random.Generator, _: Path) -> tuple[Array, Classes]:
    """Return skewed factors with noise."""
    classes = draw_classes(random)
    inner = random.gamma(2.0, size=(VECTORS, 10)) + 2 * np.eye(CLASSES, 10)[classes]
    return inner @ random.standard_normal((10, 48)) + random.standard_normal((VECTORS, 48)), classes


def words(random: np.random.Generator, _: Path) -> tuple[Array, Classes]:
    """Return the roots of counts of 64 words, in documents of topics."""
    classes = draw_classes(random)
    rates = random.gamma(0.5, 4.0, size=(CLASSES, 64))[classes] * random.gamma(8.0, 1 / 8, (VECTORS, 1))
    return np.sqrt(random.poisson(rates)), classes


FAMILIES: Mapping[str, Family] = {
    "images": stored(IMAGES, "test", "test_label"),
    "texts": stored(TEXTS, "emb", "topic"),
    "sparse": rectified,
    "cosine": sphere,
    "digits": digits,
    "heavy tails": heavy_tails,
    # Written by somebody without part in any tuning, in which they were not looked at.
    "factors": factors,
    "words": words,
}
HELD_OUT = ("factors", "words")
BY_COSINE = ("cosine",)
WITH_TEXTS = ("texts", "words")


@dataclass(frozen=True)
class Case:
    """What replaces a clean stream.

    Attributes:
        kind: The kind of drift by its name in the service; None: no single one.
        vectors: (N, d) float32, to draw from.
        draw: Draws windows.
    """

    kind: str | None
    vectors: Vectors
    draw: Draw


@dataclass(frozen=True)
class Split:
    """A baseline's vectors and classes, and the cases, the clean one first."""

    vectors: Vectors
    classes: Classes
    cases: Mapping[str, Case]


def whole(available: int) -> Draw:
    """Return a draw without replacement."""
    return lambda random, count: random.choice(available, min(count, available), replace=False)


def some_replaced(available: int, share: float, by: Draw) -> Draw:
    """Return a draw without replacement, of which others replace a share."""

    def draw(random: np.random.Generator, count: int) -> Rows:
        rows = whole(available)(random, count)
        taken = random.random(len(rows)) < share
        rows[taken] = by(random, int(taken.sum()))
        return rows

    return draw


class Axes:
    """The principal axes of a family, by which vectors become coordinates of unit variance."""

    def __init__(self, vectors: Array) -> None:
        self.mean = vectors.mean(axis=0)
        _, lengths, axes = np.linalg.svd(vectors - self.mean, full_matrices=False)
        held = lengths > 1e-6 * lengths[0]
        self._axes, self._deviations = axes[held], lengths[held] / np.sqrt(len(vectors))

    def along(self, shift: Array) -> Array:
        """Return the vector of a shift along the first axes, in their deviations."""
        return (shift * self._deviations[: len(shift)]) @ self._axes[: len(shift)]

    def change(self, vectors: Array, change: Callable[[Array, Array], None]) -> Array:
        """Return vectors whose coordinates, (N, axes), a function has changed in place."""
        coordinates = (vectors - self.mean) @ self._axes.T / self._deviations
        before = coordinates.copy()
        change(coordinates, self._deviations)
        return vectors + ((coordinates - before) * self._deviations) @ self._axes


def correlate(coordinates: Array, _: Array) -> None:
    """Correlate the second coordinate with the first by one half."""
    coordinates[:, 1] = 0.5 * coordinates[:, 0] + np.sqrt(0.75) * coordinates[:, 1]


def _rotate(coordinates: Array, deviations: Array) -> None:
    for plane in ((0, 1), (2, 3), (4, 5), (6, 7)):
        one, other = (coordinates[:, plane] * deviations[list(plane)]).T
        rotated = [np.cos(ANGLE) * one - np.sin(ANGLE) * other, np.sin(ANGLE) * one + np.cos(ANGLE) * other]
        coordinates[:, plane] = np.column_stack(rotated) / deviations[list(plane)]


def _new_kind(live: Array, random: np.random.Generator) -> tuple[Array, Draw]:
    """Return events with others close together, beyond the neighbours of one of them."""
    distances = np.square(live - live[random.integers(len(live))]).sum(axis=1)
    near = live[distances.argpartition(NEIGHBOURS)[:NEIGHBOURS]]
    own = near - near.mean(axis=0)
    new = near.mean(axis=0) + 2 * own[np.square(own).sum(axis=1).argmax()] + 0.3 * own
    return np.r_[live, new], some_replaced(
        len(live), 0.03, lambda random, count: len(live) + random.integers(NEIGHBOURS, size=count)
    )


def _cases(
    live: Array, classes: Classes, axes: Axes, random: np.random.Generator, near: str | None
) -> Iterator[tuple[str, str | None, Array, Draw]]:
    draw, mean, one = whole(len(live)), axes.mean, random.choice(np.unique(classes))
    of_one = np.flatnonzero(classes == one)
    yield "clean", None, live, draw
    more = some_replaced(len(live), 0.1, lambda random, count: random.choice(of_one, count))
    yield "a class +10 %", "mix", live, more
    weights = np.where(classes == one, 2.0, 1.0) / (len(live) + len(of_one))
    yield "a class doubled", "mix", live, lambda random, count: random.choice(len(live), count, p=weights)
    direction = random.standard_normal(8)
    yield "shift, leading", "shift", live + axes.along(0.6 * direction / np.linalg.norm(direction)), draw
    if live.shape[1] > TRAILING:
        yield "shift, axis 50", "detail", live + axes.along(np.eye(TRAILING)[-1]), draw
    far = np.where(random.random((len(live), 1)) < 0.02, FAR, 1.0)
    yield "2 % outliers", "novelty", mean + (live - mean) * far, draw
    yield "a new kind 3 %", "novelty", *_new_kind(live, random)
    yield "spread x .95", "spread", mean + (live - mean) * 0.95, draw
    yield "spread x 1.1", "spread", mean + (live - mean) * 1.1, draw
    item = random.integers(len(live))
    yield (
        "one item 5 %",
        "duplicates",
        live,
        some_replaced(len(live), 0.05, lambda _, count: np.full(count, item)),
    )
    noise = 0.02 * live.std(axis=0) * random.standard_normal((1_000, live.shape[1]))
    yield (
        "near one item 5 %",
        near,
        np.r_[live, live[item] + noise],
        some_replaced(len(live), 0.05, lambda random, count: len(live) + random.integers(1_000, size=count)),
    )
    yield "correlation .5", "relations", axes.change(live, correlate), draw
    yield "four planes by 20°", "relations", axes.change(live, _rotate), draw
    # Fifteen levels over six standard deviations.
    step = 6 * live.std(axis=0) / 15
    yield "four bits a float", None, np.rint(live / np.where(step, step, 1)) * step, draw
    yield "length x 1.02", None, 1.02 * live, draw
    dead = live.copy()
    dead[:, random.choice(live.shape[1], DEAD, replace=False)] = 0
    yield f"{DEAD} dead floats", None, dead, draw
    lengths = np.sqrt(np.square((live - mean) / np.maximum(live.std(axis=0), 1e-9)).mean(axis=1))
    stretched = np.power(lengths, 0.25)
    stretched *= np.sqrt(np.square(lengths).mean() / np.square(lengths * stretched).mean())
    yield "heavier tails", "spread", mean + (live - mean) * stretched[:, None], draw


def splits_of(family: str, folder: Path, splits: int) -> Iterator[Split]:
    """Yield splits of a family."""
    vectors, classes = FAMILIES[family](np.random.default_rng([SEED, sum(family.encode())]), folder)
    axes = Axes(vectors)
    for number in range(splits):
        random = np.random.default_rng([SEED, number])
        fitted, rows = np.split(random.permutation(len(vectors)), [len(vectors) // 2])
        cases = {
            name: Case(kind, changed.astype(np.float32), draw)
            for name, kind, changed, draw in _cases(
                vectors[rows], classes[rows], axes, random, "duplicates" if family in WITH_TEXTS else None
            )
        }
        yield Split(vectors[fitted].astype(np.float32), classes[fitted], cases)
