"""Weights of the tests by cross-validation: `python -m tests.bench.weights`, five minutes.

Families of vectors and drift of each kind that no other program here uses. They were committed before any
weights were compared. For each family, weights are searched for on the others, from those as shipped.

Windows are found beyond the 1 % quantile of clean windows, whatever the weights. The loss of a kind is the
power by the best single test of each case, less the power of the weights; the criterion is the mean loss of
the kinds and a part of the largest.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images
from tests.bench.embeddings import IMAGES, Array, load, load_vectors, parser_with_data
from tests.bench.judged import LEVEL, Scored
from tests.bench.tables import mean_and_error, say_header, say_row
from tests.output import say

from driftgauge.core.statistics import registry

SEED = 2611
VECTORS = 10_000  # of a family; a split's baseline has half of them
COUNTS = (150, 500)  # events of a window, in turns by split
CLASSES = 8
CLEAN = 2_000  # windows of a split
WINDOWS = 100  # of a split and case
WORST = 0.5  # the part of the largest loss in the criterion
STEP = 2.0  # between the weights that are tried
STEPS = 2  # of a search; more gained nothing more on the family that is left out

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


SHIPPED = np.array([weight for each in registry.STATISTICS for weight in each.weights])
NAMES = [f"{each.name} {number}" for each in registry.STATISTICS for number in range(len(each.weights))]


@dataclass(frozen=True)
class Evidence:
    """The Cauchy variables of a family's tests, which weights average.

    Attributes:
        clean: (splits, windows, tests).
        drifted: (splits, cases, windows, tests).
    """

    clean: Array
    drifted: Array

    def power(self, weights: Array) -> Array:
        """Return the share of windows found of each case, (cases,)."""
        thresholds = np.quantile(self.clean @ weights, 1 - LEVEL, axis=1)
        power: Array = (self.drifted @ weights > thresholds[:, None, None]).mean(axis=(0, 2))
        return power

    def losses(self, weights: Array) -> Array:
        """Return the loss of each kind, (kinds,)."""
        best = np.max([self.power(alone) for alone in np.eye(len(SHIPPED))], axis=0)
        first = np.cumsum([0, *map(len, CASES.values())])[:-1]
        losses = np.add.reduceat(best - self.power(weights), first)
        return losses / [len(changes) for changes in CASES.values()]


def variables(baseline: Scored, vectors: Array, weights: Array, windows: int, seed: list[int]) -> Array:
    """Return the Cauchy variables of windows, (windows, tests), drawn without replacement."""
    random, count = np.random.default_rng(seed), COUNTS[seed[0] % len(COUNTS)]
    # The first of as many exponential waiting times.
    rows = np.stack(
        [
            (random.exponential(size=len(vectors)) / weights).argpartition(count)[:count]
            for _ in range(windows)
        ]
    )
    scores = baseline.scores(vectors.astype(np.float32), rows)
    p_values = [
        # A test that the baseline does not allow says nothing.
        0.5 if p_value is None else p_value
        for score in scores
        for each in registry.STATISTICS
        for p_value in score.findings.of(each).p_values
    ]
    return 1 / np.tan(np.pi * np.clip(p_values, 1e-300, 0.99)).reshape(windows, -1)


def measure(family: Callable[..., Family], folder: Path, splits: int) -> Evidence:
    """Return the evidence of windows of a family."""
    clean, drifted = [], []
    for number, (fitted, own, classes, mean, axes) in enumerate(splits_of(family, folder, splits)):
        baseline, equal = Scored(fitted.astype(np.float32), number), np.ones(len(own))
        clean.append(variables(baseline, mean + own @ axes, equal, CLEAN, [number, SEED]))
        cases = []
        for case, change in enumerate(change for changes in CASES.values() for change in changes):
            changed = change(own, classes, np.random.default_rng([number, case, SEED]))
            changed, weights = changed if isinstance(changed, tuple) else (changed, np.ones(len(changed)))
            cases.append(variables(baseline, mean + changed @ axes, weights, WINDOWS, [number, case, SEED]))
        drifted.append(cases)
    return Evidence(np.array(clean), np.array(drifted))


def criterion(weights: Array, families: Sequence[Evidence]) -> float:
    """Return the mean loss of the kinds and a part of the largest."""
    losses = np.mean([each.losses(weights) for each in families], axis=0)
    return float(losses.mean() + WORST * losses.max())


def search(families: Sequence[Evidence]) -> Array:
    """Return the weights of the least criterion, a few steps of one weight from those as shipped."""
    best, least = SHIPPED, criterion(SHIPPED, families)
    for _ in range(STEPS):
        tried = [best * factor for factor in STEP ** np.concatenate([np.eye(len(best)), -np.eye(len(best))])]
        values = [criterion(weights, families) for weights in tried]
        if min(values) < least:
            best, least = tried[int(np.argmin(values))], min(values)
    return best


def main() -> None:
    parser = parser_with_data(__doc__)
    parser.add_argument("--splits", type=int, default=4, help="default: 4")
    options = parser.parse_args()
    families = [measure(family, options.data, options.splits) for family in FAMILIES]
    say("By weights searched for on the other families, less those as shipped\n")
    say_header("family", "criterion", *CASES, "weights times")
    rows = []
    for number, family in enumerate(families):
        found = search(families[:number] + families[number + 1 :])
        losses = family.losses(found) - family.losses(SHIPPED)
        rows.append([criterion(found, [family]) - criterion(SHIPPED, [family]), *losses])
        changed = [
            f"{name} {factor:g}" for name, factor in zip(NAMES, found / SHIPPED, strict=True) if factor != 1
        ]
        say_row(FAMILIES[number].__name__, *(f"{value:+.3f}" for value in rows[-1]), ", ".join(changed))
    say_row("mean [standard error]", *map(mean_and_error, np.transpose(rows).tolist()), "")
    for name, weights in {"shipped": SHIPPED, "equal": np.ones(len(SHIPPED))}.items():
        losses = np.mean([each.losses(weights) for each in families], axis=0)
        kinds = ", ".join(f"{kind} {loss:.3f}" for kind, loss in zip(CASES, losses, strict=True))
        say(f"\n{name}: criterion {criterion(weights, families):.3f}; losses {kinds}")


if __name__ == "__main__":
    main()
