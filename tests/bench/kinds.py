"""Drift of each kind, found and named: `python tests/bench/kinds.py`, seven minutes and more.

The cases of `candidates.py`, windows of 200 events, scored as the service scores them. For each case: the
share of windows found at p < 0.01 as shipped, with the standard error over splits; the same at the 1 %
quantile of the p-values of clean windows; by MMD at its own; the paired difference of these two; by each
p-value alone, as shipped; and the kinds that the found windows name.

Then drift of exactly the `detectable` size is planted, at the level of one false page a year on windows of an
hour. Last, texts with groups: halves of all articles, with and without the groups of the baseline's.
"""

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.candidates import DATA, Case, Mmd, Split, images, texts  # noqa: E402
from tests.bench.population import HOUR_MS, Population, spec  # noqa: E402
from tests.bench.verdict_pages import measure  # noqa: E402
from tests.output import say  # noqa: E402

from driftgauge.baseline.fitting import Provenance, fit_baseline  # noqa: E402
from driftgauge.core.counting.tally import Tally  # noqa: E402
from driftgauge.core.reference import Reference  # noqa: E402
from driftgauge.core.windows.evidence import Kind  # noqa: E402
from driftgauge.core.windows.result import Score  # noqa: E402
from driftgauge.core.windows.scoring import WindowScorer  # noqa: E402
from driftgauge.errors import BaselineError  # noqa: E402
from driftgauge.streams import to_reference  # noqa: E402

CLUSTERS = 20
LEVEL = 0.01
WINDOWS = 200
CLEAN = 1_000
PLANTED = 200
LARGE = 1_000
NOTHING_KNOWN = Provenance()

Array = NDArray[np.float64]


class Scored:
    """A baseline fitted on some vectors, and the scores of windows against it."""

    def __init__(self, vectors: NDArray[np.float32], seed: int, known: Provenance = NOTHING_KNOWN) -> None:
        fitted = fit_baseline(
            vectors,
            stream="bench",
            clusters=CLUSTERS,
            seed=seed,
            created_ms=0,
            progress=lambda _: None,
            provenance=known,
        )
        self.reference: Reference = to_reference(fitted)
        self.spec = spec(self.reference, HOUR_MS)
        self._scorer = WindowScorer(
            self.spec, self.reference, self.reference.overdispersion, calibrated=False
        )

    def calibrate(self, vectors: NDArray[np.float32], windows: Iterable[NDArray[np.intp]]) -> None:
        """Measure the overdispersion on clean windows, and judge with it."""
        centroids = self.reference.centroids
        tallies = Population(vectors, centroids.assign(vectors), centroids).tallies(self.reference)
        overdispersion = measure(self.reference, tallies, np.stack(list(windows)))
        self._scorer = WindowScorer(self.spec, self.reference, overdispersion, calibrated=True)

    def scores(self, vectors: NDArray[np.float32], windows: Iterable[NDArray[np.intp]]) -> list[Score]:
        """Return the scores of windows, each the rows of its vectors."""
        centroids = self.reference.centroids
        population = Population(vectors, centroids.assign(vectors), centroids)
        tallies = population.tallies(self.reference)
        found = [self._scorer.score(Tally(tallies[rows].sum(axis=0), CLUSTERS)) for rows in windows]
        return [score for score in found if score is not None]


def p_values(score: Score) -> dict[str, float]:
    """Return the p-values of a score by name."""
    components, residual = score.spread.changes
    return {
        "combined": score.p_value,
        "divergence": score.js_p_value,
        "T2": score.mean_shift.p_value,
        "T2, leading": score.mean_shift.leading_p_value,
        "centroid distance": score.mean_shift.centroid_p_value,
        "novelty": score.novelty.p_value,
        "spread, components": math.nan if components is None else components.p_value,
        "spread, residual": math.nan if residual is None else residual.p_value,
        "duplicates": score.duplicates.p_value,
    }


def find(title: str, splits: Iterator[Split], times: int = 1, clean_windows: int = 0) -> None:
    """Print what is found in windows of 200 events, times a number, with or without clean windows."""

    def draw(case: Case, windows: int) -> NDArray[np.intp]:
        return case.draw(random, windows * times).reshape(windows, -1)

    found: dict[str, dict[str, list[float]]] = {}
    kinds: dict[str, Counter[Kind]] = {}
    for number, split in enumerate(splits):
        random, baseline = np.random.default_rng([number, 3]), Scored(split.reference, number)
        mmd = Mmd(split.reference, number)
        clean = split.cases["clean"]
        if clean_windows:
            baseline.calibrate(clean.vectors, draw(clean, clean_windows))
        windows = draw(clean, CLEAN)
        calm = [score.p_value for score in baseline.scores(clean.vectors, windows)]
        threshold = float(np.quantile(calm, LEVEL))
        mmd_threshold = float(np.quantile(mmd.statistic(clean.vectors, windows), 1 - LEVEL))
        for case, drift in split.cases.items():
            windows = draw(drift, WINDOWS)
            scores = baseline.scores(drift.vectors, windows)
            rows = [p_values(score) for score in scores]
            at_threshold = float(np.mean([row["combined"] < threshold for row in rows]))
            by_mmd = float((mmd.statistic(drift.vectors, windows) > mmd_threshold).mean())
            rates = {"at the threshold": at_threshold, "MMD": by_mmd, "less MMD": at_threshold - by_mmd}
            rates |= {name: float(np.mean([row[name] < LEVEL for row in rows])) for name in rows[0]}
            for name, rate in rates.items():
                found.setdefault(case, {}).setdefault(name, []).append(rate)
            kinds.setdefault(case, Counter()).update(
                score.evidence.kind for score in scores if score.p_value < LEVEL
            )
    say(f"\n{title}: windows found at p < {LEVEL} [standard error over splits], and their kinds\n")
    first = ["combined", "at the threshold", "MMD", "less MMD"]
    names = [*first, *(name for name in found["clean"] if name not in first)]
    say("| case | " + " | ".join([*names, *(kind.value for kind in Kind)]) + " |")
    say("|---" * (1 + len(names) + len(Kind)) + "|")
    for case, row in found.items():
        cells = []
        for name in names:
            values = np.array(row[name])
            error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
            cells.append(f"{values.mean():.3f}" + (f" [{error:.3f}]" if name in first else ""))
        total = max(kinds[case].total(), 1)
        cells += [f"{kinds[case][kind] / total:.0%}" for kind in Kind]
        say(f"| {case} | " + " | ".join(cells) + " |")


def plant(splits: Iterator[Split]) -> None:
    """Print how often drift of exactly the detectable size is found, by its kind."""
    rates: dict[Kind, list[float]] = {}
    for number, split in enumerate(splits):
        random, baseline = np.random.default_rng([number, 5]), Scored(split.reference, number)
        live, reference = split.live, baseline.reference
        rows = random.integers(0, len(live), (PLANTED, LARGE))
        (score,) = baseline.scores(live, rows[:1])
        size, level = score.detectable, baseline.spec.alarm.level
        clusters = reference.centroids.assign(live)
        mean, projection = reference.projection.mean, reference.projection
        # The mix: each event's weight by its cluster, so that the shares have exactly this divergence.
        shares = np.bincount(clusters, minlength=CLUSTERS) / len(live)
        weights = (moved(shares, size.js_divergence, random) / shares)[clusters]
        mix = random.choice(len(live), (PLANTED, LARGE), p=weights / weights.sum())
        # The shift: along one direction of the components, of this Mahalanobis length.
        direction = random.standard_normal(len(projection.variances))
        direction *= math.sqrt(size.mean_shift) / np.linalg.norm(direction)
        shift = (direction * projection.deviations) @ projection.components
        # Novelty: this share of events in place of others, drawn from those beyond the radius.
        outliers = np.flatnonzero(reference.are_outliers(live, clusters))
        novel = np.where(random.random(rows.shape) < size.novelty, random.choice(outliers, rows.shape), rows)
        spread = mean + (live - mean) * math.sqrt(1 + size.spread)
        repeated = np.where(random.random(rows.shape) < size.duplicates, rows[:, :1], rows)
        planted = {
            Kind.MIX: (live, mix),
            Kind.SHIFT: ((live + shift).astype(np.float32), rows),
            Kind.NOVELTY: (live, novel),
            Kind.SPREAD: (spread.astype(np.float32), rows),
            Kind.DUPLICATES: (live, repeated),
        }
        for kind, (vectors, windows) in planted.items():
            found = [score.p_value < level for score in baseline.scores(vectors, windows)]
            rates.setdefault(kind, []).append(float(np.mean(found)))
    say(f"\nDrift of the detectable size, {LARGE} events a window, level 1/8766: found [standard error]\n")
    for kind, values in rates.items():
        error = np.std(values, ddof=1) / math.sqrt(len(values))
        say(f"- {kind.value}: {np.mean(values):.2f} [{error:.2f}]")


def moved(shares: Array, js_divergence: float, random: np.random.Generator) -> Array:
    """Return shares at this base-2 divergence from others, in a random direction."""
    direction = random.normal(size=len(shares)) * shares
    direction -= direction.sum() * shares

    def divergence(step: float) -> float:
        other = shares + step * direction
        middle = (shares + other) / 2
        parts = other * np.log2(other / middle) + shares * np.log2(shares / middle)
        return float(parts.sum() / 2) - js_divergence

    largest = 0.999 * float(np.min(shares[direction < 0] / -direction[direction < 0]))
    return shares + brentq(divergence, 0, largest) * direction


def group(splits: int) -> None:
    """Print the false alarms of halves of the articles, with and without the baseline's groups."""
    with np.load(DATA / "text-minilm.npz") as file:
        vectors, articles = file["emb"].astype(np.float32), file["doc"]
    rates: dict[str, list[float]] = {}
    for number in range(splits):
        random = np.random.default_rng([number, 7])
        chosen = random.permutation(np.unique(articles))
        first = np.isin(articles, chosen[: len(chosen) // 2])
        groups = np.unique(articles[first], return_inverse=True)[1]
        live = vectors[~first]
        rows = random.random((WINDOWS, len(live))).argpartition(200, axis=1)[:, :200]
        for title, known in (("without groups", NOTHING_KNOWN), ("with groups", Provenance(groups=groups))):
            try:
                scores = Scored(vectors[first], number, known).scores(live, rows)
            except BaselineError:  # a cluster of one article
                continue
            rates.setdefault(title, []).append(float(np.mean([each.p_value < LEVEL for each in scores])))
    say(f"\nFalse alarms at p < {LEVEL} against the other half of the articles, mean over splits\n")
    for title, values in rates.items():
        say(
            f"- {title}: {np.mean(values):.3f} ({len(values)} splits, {min(values):.2f} to {max(values):.2f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=20, help="default: 20")
    splits = parser.parse_args().splits
    start = time.perf_counter()
    find("Images, 200 events", images(splits))
    find("Text, 200 events", texts(splits))
    few = min(splits, 8)
    find("Images, 1,000 events, 24 clean windows", images(few), times=5, clean_windows=24)
    find("Text, 1,000 events, 24 clean windows", texts(few), times=5, clean_windows=24)
    plant(images(min(splits, 8)))
    group(splits)
    say(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
