"""Power of candidate statistics on real embeddings: `python tests/bench/candidates.py`, about seven minutes.

Which statistics should a tally hold? All candidates are additive: a window's statistic is a function of the
mean of a vector of features of its events. Each split halves the vectors: on one half the baseline is fitted
as the service does, windows are drawn from the other. Every statistic's threshold is its 99 % quantile on
clean windows of the other half, so all have the same false alarm rate, and none needs a null yet.

The last rows combine candidates: each statistic becomes a p-value by its rank among half of the clean
windows, the p-values are combined as the service combines its own (Cauchy), and the threshold comes from the
other half.
MMD is as in `power.py`. Cases are 200 events a window. Images: CIFAR-10 through ResNet-18, spread about the
mean of all images times 1.1 and 0.9, 2 % of events moved five times as far from the mean, noise of half a
standard deviation along every axis, one image repeated in 5 % of events, a class doubled, and the milder
published corruptions. Text: BBC paragraphs through MiniLM, a topic that the baseline never saw in 10 and 20 %
of events, and a topic of the baseline doubled. Both: 3 % of events of a kind that lies beside one cluster.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.output import say  # noqa: E402

from driftgauge.baseline.artifact import Baseline  # noqa: E402
from driftgauge.baseline.fitting import fit_baseline, split_indices  # noqa: E402
from driftgauge.core.statistics.combination import combine  # noqa: E402
from driftgauge.core.statistics.novelty import NoveltyNull, shares_beyond_own_radius  # noqa: E402

DATA = ROOT / "../shared/data"
CLUSTERS = 20
COUNT = 200
CLEAN = 2_000
WINDOWS = 200
REFERENCES = 1_000
LEVEL = 0.01
BINS = 16
MOST_COMPONENTS = 128
FEATURES = 256
OUTLIERS = 0.02
NEW_KIND = 0.03
NEAR = 100
FAR = 5.0

Array = NDArray[np.float64]
Windows = NDArray[np.intp]
"""The rows of windows, (windows, COUNT)."""


@dataclass(frozen=True)
class Case:
    """What replaces a clean stream: vectors to draw from, and the weights of the draw.

    Attributes:
        vectors: (N, d) float32.
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


class Candidates:
    """The features of events, and the statistics of their means, against one baseline."""

    def __init__(self, reference: NDArray[np.float32], seed: int) -> None:
        self._baseline: Baseline = fit_baseline(
            reference, stream="bench", clusters=CLUSTERS, seed=seed, created_ms=0, progress=lambda _: None
        )
        counted = reference[split_indices(len(reference), seed)[1]].astype(np.float64)
        self._mean = counted.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(counted.T))
        most = min(MOST_COMPONENTS, len(values) // 2)
        self._axes = vectors[:, ::-1][:, :most] / np.sqrt(values[::-1][:most])
        random = np.random.default_rng([seed, 7])
        # Gaussian kernel on the 32 leading whitened components; their median distance is about sqrt(2 * 32).
        self._waves = random.standard_normal((min(32, most), FEATURES // 2)) / math.sqrt(32)
        distances = self._distances(counted)
        self._edges = np.quantile(distances, np.linspace(0, 1, BINS + 1)[1:-1])
        features = self._features(counted)
        self._expected, self._deviations = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-12)
        self._mmd = Mmd(reference, seed)

    def statistics(self, vectors: NDArray[np.float32], windows: Windows) -> dict[str, Array]:
        """Return each statistic of the windows, (windows,); larger is further from the baseline."""
        features = self._features(vectors.astype(np.float64))
        means = np.stack([features[rows].mean(axis=0) for rows in windows])
        shift = (means - self._expected) / self._deviations * math.sqrt(COUNT)
        part = self._slices
        observed, expected = means[:, part["clusters"]], self._expected[part["clusters"]]
        middle = (observed + expected) / 2
        null = NoveltyNull(
            self._baseline.counts, shares_beyond_own_radius(self._baseline.counts), 1.0, math.inf
        )
        numbers = np.rint(means[:, part["beyond"]] * COUNT), np.rint(observed * COUNT)
        novelty = [null.test(*each).p_value for each in zip(*numbers, strict=True)]
        divergence = _relative_entropy(observed, middle) + _relative_entropy(expected, middle)
        coordinates, squares = shift[:, part["coordinates"]], shift[:, part["squares"]]
        found = {"JSD": divergence.sum(axis=1)}
        for components in (8, 32, MOST_COMPONENTS):
            if components <= coordinates.shape[1]:
                found[f"T2 {components}"] = np.square(coordinates[:, :components]).sum(axis=1)
        bins = means[:, part["bins"]]
        share = self._expected[part["bins"]]
        ranks = bins @ np.arange(BINS)
        return {
            **found,
            "beyond radius": shift[:, part["outliers"]][:, 0],
            "beyond radius, by cluster": -np.log(novelty),
            "distance, bins": (np.square(bins - share) / share).sum(axis=1),
            "distance, rank": np.abs(ranks - share @ np.arange(BINS)),
            "squares": np.square(squares).sum(axis=1),
            "squares, sum": np.abs(squares.sum(axis=1)),
            "residual": np.abs(shift[:, part["residual"]][:, 0]),
            "from mean": np.abs(shift[:, part["total"]][:, 0]),
            "features": np.square(means[:, part["waves"]] - self._expected[part["waves"]]).sum(axis=1),
            "MMD": self._mmd.statistic(vectors, windows),
        }

    def _features(self, vectors: Array) -> Array:
        centred = vectors - self._mean
        coordinates = centred @ self._axes
        leading = coordinates[:, : len(self._waves)]
        total = np.square(centred).sum(axis=1)
        phase = leading @ self._waves
        clusters = self._baseline.centroids.assign(vectors.astype(np.float32))
        distance = self._distances(vectors)
        # What the leading components do not hold: of the total, in the embedding's own units.
        held = np.square(leading / np.linalg.norm(self._axes[:, : leading.shape[1]], axis=0)).sum(axis=1)
        outliers = (distance > self._baseline.radii[clusters])[:, None]
        parts = {
            "clusters": np.eye(CLUSTERS)[clusters],
            "beyond": np.eye(CLUSTERS)[clusters] * outliers,
            "outliers": outliers,
            "bins": np.eye(BINS)[np.searchsorted(self._edges, distance)],
            "coordinates": coordinates,
            "squares": np.square(leading),
            "residual": (total - held)[:, None],
            "total": total[:, None],
            "waves": np.hstack([np.cos(phase), np.sin(phase)]),
        }
        ends = np.cumsum([part.shape[1] for part in parts.values()])
        starts = [0, *ends[:-1]]
        self._slices = {name: slice(start, end) for name, start, end in zip(parts, starts, ends, strict=True)}
        return np.hstack([part.astype(np.float64) for part in parts.values()])

    def _distances(self, vectors: Array) -> Array:
        single = vectors.astype(np.float32)
        centroids = self._baseline.centroids
        return centroids.distances(single, centroids.assign(single)).astype(np.float64)


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


def _relative_entropy(one: Array, other: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Array = np.where(one > 0, one * np.log2(one / other), 0.0)
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


def images(splits: int) -> Iterator[Split]:
    with np.load(DATA / "cifar10-resnet18-fc1.npz") as file:
        data = {name: file[name].astype(np.float32) for name in ("test", "blurred_mild", "darkened_mild")}
        labels = file["test_label"]
    test = data["test"]
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
                "noise": Case(
                    live + (0.5 * deviation * random.standard_normal(live.shape)).astype(np.float32), draw
                ),
                "one repeated": Case(repeated, weighted(np.r_[np.full(len(live), 0.95 / len(live)), 0.05])),
                "a new kind": new_kind(live, random),
                "class doubled": Case(live, weighted(np.where(labels[rows] == number % 10, 2.0, 1.0))),
                "blurred mildly": Case(data["blurred_mild"][rows], draw),
                "darkened mildly": Case(data["darkened_mild"][rows], draw),
            },
        )


def texts(splits: int) -> Iterator[Split]:
    with np.load(DATA / "text-minilm.npz") as file:
        vectors, topics = file["emb"].astype(np.float32), file["topic"]
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
                "unseen topic 10 %": Case(mixed, weighted(mixture(0.1))),
                "unseen topic 20 %": Case(mixed, weighted(mixture(0.2))),
                "a new kind": new_kind(live, random),
                "topic doubled": Case(live, weighted(np.where(doubled, 2.0, 1.0))),
            },
        )


def ranks(values: Array, clean: Array) -> Array:
    """Return p-values by the rank among clean values, extrapolated beyond the largest by its tail.

    Beyond the 95 % quantile the tail is exponential, with the mean excess of the clean values there, so that
    strong evidence of one statistic is not bounded by the number of clean windows.
    """
    ordered = np.sort(clean)
    limit = float(np.quantile(ordered, 0.95))
    excess = max(float((ordered[ordered > limit] - limit).mean()), 1e-300)
    empirical = (1 + len(ordered) - np.searchsorted(ordered, values)) / (1 + len(ordered))
    with np.errstate(under="ignore"):
        tail = 0.05 * np.exp(-(values - limit) / excess)
    return np.where(values > limit, np.clip(tail, 1e-300, 1.0), np.clip(empirical, 1e-300, 1.0))


SHIPPED = ("JSD", "T2 32")
COMBINATIONS = {
    "as shipped": SHIPPED,
    "+ radius": (*SHIPPED, "beyond radius"),
    "+ radius by cluster": (*SHIPPED, "beyond radius, by cluster"),
    "+ radius, spread": (*SHIPPED, "beyond radius", "from mean"),
    "+ bins, spread": (*SHIPPED, "distance, bins", "from mean"),
    "+ bins, squares": (*SHIPPED, "distance, bins", "squares", "residual"),
    "+ all T2": (*SHIPPED, "T2 8", "T2 128", "distance, bins", "from mean"),
    "+ features": (*SHIPPED, "beyond radius", "from mean", "features"),
}


def measure(title: str, splits: Iterator[Split]) -> None:
    rates: dict[str, dict[str, list[float]]] = {}
    for number, split in enumerate(splits):
        random = np.random.default_rng([number, 2])
        candidates = Candidates(split.reference, number)
        clean = candidates.statistics(split.live, whole(len(split.live))(random, CLEAN))
        half = CLEAN // 2
        limits = {name: np.quantile(values, 1 - LEVEL) for name, values in clean.items()}

        def combined(found: Mapping[str, Array], names: tuple[str, ...], calm: Mapping[str, Array]) -> Array:
            p_values = [ranks(found[name], calm[name]) for name in names if name in found]
            return np.array([combine(row) for row in zip(*p_values, strict=True)])

        calm = {name: values[:half] for name, values in clean.items()}
        rest = {name: values[half:] for name, values in clean.items()}
        levels = {
            title: np.quantile(combined(rest, names, calm), LEVEL) for title, names in COMBINATIONS.items()
        }
        for case, drift in split.cases.items():
            found = candidates.statistics(drift.vectors, drift.draw(random, WINDOWS))
            row = rates.setdefault(case, {})
            for name, values in found.items():
                row.setdefault(name, []).append(float((values > limits[name]).mean()))
            for name, names in COMBINATIONS.items():
                p_values = combined(found, names, calm)
                row.setdefault(name, []).append(float((p_values < levels[name]).mean()))
    say(f"\n{title}: found at 1 % false alarms, {COUNT} events a window; mean over splits [standard error]\n")
    names = list(dict.fromkeys(name for row in rates.values() for name in row))
    say("| statistic | " + " | ".join(rates) + " |")
    say("|---" * (len(rates) + 1) + "|")
    for name in names:
        cells = []
        for row in rates.values():
            values = np.array(row.get(name, [np.nan]))
            error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
            cells.append(f"{values.mean():.2f} [{error:.2f}]")
        say(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=20, help="default: 20")
    splits = parser.parse_args().splits
    if not DATA.exists():
        sys.exit(f"the embeddings are missing: {DATA}")
    start = time.perf_counter()
    measure("Images", images(splits))
    measure("Text", texts(splits))
    say(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
