"""False alarm rates under bursts of related events: `python tests/bench/bursts.py`, about two minutes.

Events are CIFAR-10 embeddings of the test images, in bursts of 1, 2 or 5 images of one random class. A split
halves the images. Centroids are fitted on one half. The baseline is W windows from the other half: its
counts, moments and overdispersion, for which each window is compared with the others. Live windows are
tested at a nominal 1 %, with that overdispersion and as if events were independent.

There are two nulls. "same": live windows are drawn, with replacement, from the same half as the baseline, so
that all differences are random. "other": live windows are drawn from the half on which the centroids were
fitted. It is another sample of 5,000 images, so the difference of the halves is drift, and larger windows
detect more of it.

The interval is 1.96 standard errors of the mean over splits, clustered by split.
"""

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.clustering import find_centroids
from driftgauge.baseline.moments import Moments, moments, project
from driftgauge.baseline.windows import observe
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.statistics.combination import JS_WEIGHT, MEAN_WEIGHTS, combine
from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.divergence_null import DivergenceNull
from driftgauge.core.statistics.mean_shift import MeanShiftNull
from driftgauge.core.statistics.overdispersion import Overdispersion

EMBEDDINGS = Path(__file__).parents[2] / "../shared/data/cifar10-resnet18-fc1.npz"
CLUSTERS = 20
CLASSES = 10
SPLITS = 20
LIVE_WINDOWS = 300
LEVEL = 0.01
TESTS = ("JSD", "T2", "leading", "centroid", "combined")


@dataclass(frozen=True)
class LabelledImages:
    """Images: (N, d) float32 vectors, (N,) clusters, and the rows of each class."""

    vectors: NDArray[np.float32]
    clusters: NDArray[np.intp]
    classes: list[NDArray[np.intp]]

    def draw(self, random: np.random.Generator, windows: int, count: int, length: int) -> NDArray[np.intp]:
        """Return the rows of windows drawn in bursts, (windows, count)."""
        sizes = np.array([len(rows) for rows in self.classes])
        burst_class = np.repeat(random.integers(CLASSES, size=(windows, count // length)), length, axis=1)
        place = (random.random(burst_class.shape) * sizes[burst_class]).astype(int)
        return np.concatenate(self.classes)[np.concatenate([[0], np.cumsum(sizes)])[burst_class] + place]


@dataclass(frozen=True)
class BurstBaseline:
    """The baseline of windows drawn in bursts."""

    counts: NDArray[np.int64]
    found: Moments
    overdispersion: Overdispersion


def halve(
    vectors: NDArray[np.float32], labels: NDArray[np.uint8], split: int
) -> tuple[LabelledImages, LabelledImages]:
    """Return two halves of the images, clustered by centroids fitted on the first."""
    order = np.random.default_rng([split, 0]).permutation(len(vectors))
    halves = np.split(order, 2)
    centroids = find_centroids(vectors[halves[0]], CLUSTERS, DistanceMetric.EUCLIDEAN, split, lambda _: None)
    first, second = (
        LabelledImages(
            vectors[rows],
            centroids.assign(vectors[rows]).astype(np.intp),
            [np.flatnonzero(labels[rows] == label) for label in range(CLASSES)],
        )
        for rows in halves
    )
    return first, second


def fit(images: LabelledImages, rows: NDArray[np.intp]) -> BurstBaseline:
    """Return the baseline of the windows of some rows, (W, n)."""
    flat = rows.ravel()
    found = moments(images.vectors, flat)
    coordinates = project(images.vectors, np.arange(len(images.vectors)), found)[flat]
    ids = images.clusters[flat]
    numbers = np.repeat(np.arange(len(rows)), rows.shape[1])
    overdispersion = observe(numbers, ids, coordinates / np.sqrt(found.variances), CLUSTERS).overdispersion()
    if overdispersion is None:
        sys.exit("too few windows")
    return BurstBaseline(np.bincount(ids, minlength=CLUSTERS).astype(np.int64), found, overdispersion)


def alarms(
    baseline: BurstBaseline,
    overdispersion: Overdispersion | None,
    images: LabelledImages,
    rows: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Return the share of windows of some rows, (windows, n), that each test rejects."""
    count = rows.shape[1]
    inflation = 1.0 if overdispersion is None else overdispersion.inflation(CLUSTERS)
    count_null = DivergenceNull(baseline.counts, inflation)
    mean_null = MeanShiftNull(np.diag(baseline.found.variances), int(baseline.counts.sum()), overdispersion)
    coordinates = project(images.vectors, np.arange(len(images.vectors)), baseline.found)
    p_values = []
    for window in rows:
        counts = np.bincount(images.clusters[window], minlength=CLUSTERS).astype(np.int64)
        divergence = min(math.fsum(js_contributions(counts, baseline.counts)), 1.0)
        shift = mean_null.test(coordinates[window].mean(axis=0), count)
        single = [count_null.of(counts).p_value(divergence), *shift.p_values]
        p_values.append([*single, combine(single, [JS_WEIGHT, *MEAN_WEIGHTS])])
    return (np.array(p_values) < LEVEL).mean(axis=0)


def main() -> None:
    if not EMBEDDINGS.exists():
        sys.exit(f"the CIFAR-10 embeddings are missing: {EMBEDDINGS}")
    start = time.perf_counter()
    with np.load(EMBEDDINGS) as data:
        vectors, labels = data["test"].astype(np.float32), data["test_label"]
    halves = [halve(vectors, labels, split) for split in range(SPLITS)]
    sys.stdout.write(
        f"False alarms in % at {LEVEL:.0%}, {SPLITS} splits x {LIVE_WINDOWS} windows; phi, then with margin\n"
        f"{'burst':>5}{'n':>6}{'W':>5} {'null':6}{'phi':>6}{'with':>6}  "
        + "".join(f"{test:>14}" for test in TESTS)
        + "   if treated as independent\n"
    )
    for length in (1, 2, 5):
        for count, windows in ((200, 20), (200, 100), (1_000, 20), (1_000, 100)):
            rates: dict[str, list[NDArray[np.float64]]] = {"same": [], "other": [], "naive": []}
            phi = []
            for split, (other, same) in enumerate(halves):
                random = np.random.default_rng([split, length, count, windows])
                baseline = fit(same, same.draw(random, windows, count, length))
                overdispersion = baseline.overdispersion
                phi.append([overdispersion.counts, overdispersion.inflation(CLUSTERS)])
                live = same.draw(random, LIVE_WINDOWS, count, length)
                rates["same"].append(alarms(baseline, overdispersion, same, live))
                rates["naive"].append(alarms(baseline, None, same, live))
                live = other.draw(random, LIVE_WINDOWS, count, length)
                rates["other"].append(alarms(baseline, overdispersion, other, live))
            naive = " ".join(f"{100 * rate:5.1f}" for rate in np.mean(rates["naive"], axis=0))
            for null in ("same", "other"):
                found = 100 * np.array(rates[null])
                errors = 1.96 * found.std(axis=0, ddof=1) / math.sqrt(SPLITS)
                cells = "".join(
                    f"{mean:7.2f} +-{error:4.2f}"
                    for mean, error in zip(found.mean(axis=0), errors, strict=True)
                )
                plain, margin = np.mean(phi, axis=0)
                sys.stdout.write(
                    f"{length:5}{count:6}{windows:5} {null:6}{plain:6.2f}{margin:6.2f}  {cells}"
                    f"   {naive if null == 'same' else ''}\n"
                )
                sys.stdout.flush()
    sys.stdout.write(f"{time.perf_counter() - start:.0f} s\n")


if __name__ == "__main__":
    main()
