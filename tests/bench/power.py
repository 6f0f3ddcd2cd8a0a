"""Power on real embeddings, compared with MMD: `python tests/bench/power.py`, about four minutes.

Events are CIFAR-10 embeddings of the test images. A split halves the images. On one half the baseline is
fitted as the service does (20 clusters on half of it, counts and 32 components on the rest), and 1,000
references for MMD are taken. Windows are drawn from the other half, without replacement within a window. MMD
has the RBF kernel with the median distance of the references as bandwidth, and keeps raw vectors.

Corruptions: each statistic's threshold is its 99 % quantile on clean windows of the same half, so that all
statistics have the same false alarm rate and the difference of the halves adds no power. "p < .01" is the
combined p-value without such a threshold; its rate on clean windows includes the difference of the halves.
All statistics test the same windows.

Change of mix: one class has double weight, or none, in windows drawn with replacement. It is found if a
p-value is below .01. "foremost" is the share of windows found by the combined p-value in which the first
mover is a cluster dominated by that class and moved in the right direction; "in three", the share in which
one of the first three movers is.

Intervals are 95 % by Student's t, of the mean over splits.
"""

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.output import say  # noqa: E402

from driftgauge.baseline.fitting import fit_baseline, split_indices  # noqa: E402
from driftgauge.core.counting.assignment import Centroids  # noqa: E402
from driftgauge.core.statistics.combination import JS_WEIGHT, MEAN_WEIGHTS, combine  # noqa: E402
from driftgauge.core.statistics.divergence import js_contributions  # noqa: E402
from driftgauge.core.statistics.divergence_null import DivergenceNull  # noqa: E402
from driftgauge.core.statistics.mean_shift import MeanShiftNull  # noqa: E402
from driftgauge.core.windows.result import MAX_MOVERS  # noqa: E402

EMBEDDINGS = ROOT / "../shared/data/cifar10-resnet18-fc1.npz"
CLUSTERS = 20
CLASSES = 10
COUNTS = (200, 1_000)
SPLITS = 40
CLEAN_WINDOWS = 1_500
WINDOWS = 200
MIX_WINDOWS = 20  # for each class
REFERENCES = 1_000
LEVEL = 0.01
CORRUPTIONS = ("blurred_mild", "darkened_mild")
TESTS = ("JSD", "T2", "leading", "centroid", "combined")

Rows = NDArray[np.intp]
"""The rows of windows, (windows, n)."""


class Detectors:
    """A baseline of one half of the images, and the references of MMD."""

    def __init__(self, vectors: NDArray[np.float32], labels: NDArray[np.uint8], split: int) -> None:
        baseline = fit_baseline(
            vectors,
            stream="bench",
            model_version=None,
            clusters=CLUSTERS,
            seed=split,
            created_ms=0,
            progress=lambda _: None,
        )
        self.centroids: Centroids = baseline.centroids
        self.counts = baseline.counts
        self._mean, self._components = baseline.mean, baseline.components.astype(np.float64)
        self._count_null = DivergenceNull(self.counts, 1.0)
        self._mean_null = MeanShiftNull(
            np.diag(baseline.variances), int(self.counts.sum()), None, baseline.metadata.mean_count
        )
        counted = split_indices(len(vectors), split)[1]
        ids = self.centroids.assign(vectors[counted])
        members = np.zeros((CLUSTERS, CLASSES))
        np.add.at(members, (ids, labels[counted]), 1)
        self.dominant = members.argmax(axis=1)
        self._references = vectors[np.random.default_rng([split, 1]).choice(len(vectors), REFERENCES, False)]
        distances = _squared_distances(self._references, self._references)
        self._bandwidth = float(np.median(distances[np.triu_indices(REFERENCES, 1)]))

    def p_values(self, vectors: NDArray[np.float32], rows: Rows) -> NDArray[np.float64]:
        """Return the p-values of windows by each of `TESTS`, (windows, 5)."""
        ids = self.centroids.assign(vectors)
        coordinates = (vectors - self._mean) @ self._components.T
        count, found = rows.shape[1], []
        for window in rows:
            counts = np.bincount(ids[window], minlength=CLUSTERS).astype(np.int64)
            divergence = min(math.fsum(js_contributions(counts, self.counts)), 1.0)
            shift = self._mean_null.test(coordinates[window].mean(axis=0), count)
            single = [self._count_null.of(counts).p_value(divergence), *shift.p_values]
            found.append([*single, combine(single, [JS_WEIGHT, *MEAN_WEIGHTS])])
        return np.array(found)

    def mmd(self, vectors: NDArray[np.float32], windows: list[Rows]) -> list[NDArray[np.float64]]:
        """Return the squared MMD of the windows, up to a constant for each count."""
        to_references = self._kernel(vectors, self._references).mean(axis=1)
        among = self._kernel(vectors, vectors)
        found = []
        for rows in windows:
            weights = np.zeros((len(rows), len(vectors)), np.float32)
            np.put_along_axis(weights, rows, 1 / rows.shape[1], axis=1)
            found.append(np.einsum("wn,wn->w", weights @ among, weights) - 2 * weights @ to_references)
        return found

    def movers(self, vectors: NDArray[np.float32], rows: Rows) -> NDArray[np.intp]:
        """Return the dominant class of the first three movers, (windows, 3); -1 - class if it shrank."""
        ids, found = self.centroids.assign(vectors), []
        for window in rows:
            counts = np.bincount(ids[window], minlength=CLUSTERS).astype(np.int64)
            foremost = np.argsort(-js_contributions(counts, self.counts), kind="stable")[:MAX_MOVERS]
            grew = counts[foremost] * self.counts.sum() > self.counts[foremost] * counts.sum()
            found.append(np.where(grew, self.dominant[foremost], -1 - self.dominant[foremost]))
        return np.array(found, np.intp).reshape(-1, MAX_MOVERS)

    def _kernel(self, one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.exp(_squared_distances(one, other) / np.float32(-2 * self._bandwidth))


def _squared_distances(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.square(one).sum(axis=1)[:, None] + np.square(other).sum(axis=1) - 2 * one @ other.T


@dataclass(frozen=True)
class Split:
    """The detectors of one half of the images, and the rows of the other."""

    number: int
    detectors: Detectors
    live: NDArray[np.intp]


def draw(random: np.random.Generator, windows: int, count: int, available: int) -> Rows:
    """Return the rows of windows, without replacement within a window."""
    return random.random((windows, available)).argpartition(count, axis=1)[:, :count]


def corruptions(data: dict[str, NDArray[np.float32]], splits: list[Split]) -> None:
    rates: dict[tuple[str, int], list[list[float]]] = {
        (name, count): [] for name in ("test", *CORRUPTIONS) for count in COUNTS
    }
    for split in splits:
        random, available = np.random.default_rng([split.number, 2]), len(split.live)
        clean = [draw(random, CLEAN_WINDOWS, count, available) for count in COUNTS]
        windows = [draw(random, WINDOWS, count, available) for count in COUNTS]
        scored = split.detectors.mmd(data["test"][split.live], [*clean, *windows])
        thresholds = []
        for rows, distances in zip(clean, scored, strict=False):
            p_values = split.detectors.p_values(data["test"][split.live], rows)
            thresholds.append((np.quantile(p_values, LEVEL, axis=0), np.quantile(distances, 1 - LEVEL)))
        for name in ("test", *CORRUPTIONS):
            vectors = data[name][split.live]
            found = scored[len(COUNTS) :] if name == "test" else split.detectors.mmd(vectors, windows)
            for count, rows, distances, (limits, limit) in zip(
                COUNTS, windows, found, thresholds, strict=True
            ):
                p_values = split.detectors.p_values(vectors, rows)
                rates[name, count].append(
                    [
                        *(p_values < limits).mean(axis=0),
                        (distances > limit).mean(),
                        (p_values[:, -1] < LEVEL).mean(),
                    ]
                )
    say(f"Found at {LEVEL:.0%} false alarms on clean windows, {SPLITS} splits x {WINDOWS} windows")
    say(
        f"{'':15}{'n':>6}"
        + "".join(f"{name:>10}" for name in (*TESTS, "MMD"))
        + f"{'combined - MMD':>20}{'p < .01':>16}"
    )
    for (name, count), found in rates.items():
        table = np.array(found)
        *_, combined, mmd, shipped = table.T
        difference, untuned = interval(combined - mmd), interval(shipped)
        say(
            f"{name:15}{count:6,}"
            + "".join(f"{rate:10.2f}" for rate in table[:, :-1].mean(axis=0))
            + f"{difference:>20}{untuned:>16}"
        )


def mixes(data: dict[str, NDArray[np.float32]], labels: NDArray[np.uint8], splits: list[Split]) -> None:
    say(f"\nOne class has double weight, or none: {SPLITS} splits x {CLASSES} classes, found at .01")
    say(f"{'':10}{'n':>6}" + "".join(f"{name:>16}" for name in (*TESTS, "foremost", "in three")))
    for change, factor in (("doubled", 2.0), ("removed", 0.0)):
        for count in COUNTS:
            table = []
            for split in splits:
                random = np.random.default_rng([split.number, count, int(factor)])
                vectors, live = data["test"][split.live], labels[split.live]
                found, named = [], []
                for label in range(CLASSES):
                    weights = np.where(live == label, factor, 1.0)
                    rows = random.choice(len(live), (MIX_WINDOWS, count), p=weights / weights.sum())
                    is_significant_and_large = split.detectors.p_values(vectors, rows) < LEVEL
                    found.append(is_significant_and_large)
                    movers = split.detectors.movers(vectors, rows[is_significant_and_large[:, -1]])
                    named.append(movers == (label if factor > 1 else -1 - label))
                is_named = np.concatenate(named)
                table.append(
                    [*np.concatenate(found).mean(axis=0), is_named[:, 0].mean(), is_named.any(axis=1).mean()]
                )
            cells = "".join(f"{interval(column):>16}" for column in np.array(table).T)
            say(f"{change:10}{count:6,}{cells}")


def interval(values: NDArray[np.float64]) -> str:
    """Return the mean with the half width of its 95 % interval."""
    width = stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / math.sqrt(len(values))
    return f"{values.mean():.3f} +-{width:.3f}"


def main() -> None:
    if not EMBEDDINGS.exists():
        sys.exit(f"the CIFAR-10 embeddings are missing: {EMBEDDINGS}")
    start = time.perf_counter()
    with np.load(EMBEDDINGS) as file:
        data = {name: file[name].astype(np.float32) for name in ("test", *CORRUPTIONS)}
        labels = file["test_label"]
    splits = []
    for number in range(SPLITS):
        fitted, live = np.split(np.random.default_rng([number, 0]).permutation(len(labels)), 2)
        splits.append(Split(number, Detectors(data["test"][fitted], labels[fitted], number), live))
    corruptions(data, splits)
    mixes(data, labels, splits)
    say(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
