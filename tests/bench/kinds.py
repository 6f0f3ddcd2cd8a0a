"""Drift of each kind, found and named: `python tests/bench/kinds.py`, three minutes.

The cases of `candidates.py`, windows of 200 events, scored as the service scores them. For each case: the share of
windows found at p < 0.01 as shipped, with the standard error over splits; the same by each p-value alone; and the
kind that the found windows name. Then drift of exactly the `detectable` size is planted, at the level of one false
page a year on windows of an hour, and found in about 80 % of windows.
"""

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.candidates import Case, Split, images, texts  # noqa: E402
from tests.bench.population import HOUR_MS, Population, spec  # noqa: E402
from tests.output import say  # noqa: E402

from driftgauge.baseline.fitting import fit_baseline  # noqa: E402
from driftgauge.core.counting.tally import Tally  # noqa: E402
from driftgauge.core.reference import Reference  # noqa: E402
from driftgauge.core.windows.evidence import Kind  # noqa: E402
from driftgauge.core.windows.result import Score  # noqa: E402
from driftgauge.core.windows.scoring import WindowScorer  # noqa: E402
from driftgauge.streams import to_reference  # noqa: E402

CLUSTERS = 20
LEVEL = 0.01
WINDOWS = 200
CLEAN = 500
PLANTED = 1_000

Array = NDArray[np.float64]


class Baseline:
    """A baseline fitted on a split's reference, and the scores of windows against it."""

    def __init__(self, reference: NDArray[np.float32], seed: int) -> None:
        fitted = fit_baseline(
            reference, stream="bench", clusters=CLUSTERS, seed=seed, created_ms=0, progress=lambda _: None
        )
        self.reference: Reference = to_reference(fitted)
        self._scorer = WindowScorer(spec(self.reference, HOUR_MS), self.reference, None, calibrated=False)

    def scores(self, case: Case, random: np.random.Generator, windows: int) -> list[Score]:
        """Return the scores of some windows of a case."""
        centroids = self.reference.centroids
        population = Population(case.vectors, centroids.assign(case.vectors), centroids)
        tallies = population.tallies(self.reference)
        found = [
            self._scorer.score(Tally(tallies[rows].sum(axis=0), CLUSTERS))
            for rows in case.draw(random, windows)
        ]
        return [score for score in found if score is not None]


def p_values(score: Score) -> dict[str, float]:
    """Return the p-values of a score by name."""
    components, residual = score.spread.changes
    return {
        "combined": score.p_value,
        "divergence": score.js_p_value,
        "T2": score.mean_shift.p_value,
        "centroid distance": score.mean_shift.centroid_p_value,
        "novelty": score.novelty.p_value,
        "spread, components": math.nan if components is None else components.p_value,
        "spread, residual": math.nan if residual is None else residual.p_value,
    }


def measure(title: str, splits: Iterator[Split]) -> None:
    found: dict[str, dict[str, list[float]]] = {}
    kinds: dict[str, Counter[Kind]] = {}
    for number, split in enumerate(splits):
        random, baseline = np.random.default_rng([number, 3]), Baseline(split.reference, number)
        for case, drift in split.cases.items():
            scores = baseline.scores(drift, random, CLEAN if case == "clean" else WINDOWS)
            rows = [p_values(score) for score in scores]
            for name in rows[0]:
                rate = float(np.mean([row[name] < LEVEL for row in rows]))
                found.setdefault(case, {}).setdefault(name, []).append(rate)
            kinds.setdefault(case, Counter()).update(
                score.evidence.kind for score in scores if score.p_value < LEVEL
            )
    say(f"\n{title}: windows found at p < {LEVEL} as shipped [standard error over splits], and their kinds\n")
    names = list(found["clean"])
    say("| case | " + " | ".join([*names, *(kind.value for kind in Kind)]) + " |")
    say("|---" * (1 + len(names) + len(Kind)) + "|")
    for case, row in found.items():
        cells = []
        for name in names:
            values = np.array(row[name])
            error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
            cells.append(f"{values.mean():.3f}" + (f" [{error:.3f}]" if name == "combined" else ""))
        total = max(kinds[case].total(), 1)
        cells += [f"{kinds[case][kind] / total:.0%}" for kind in Kind]
        say(f"| {case} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=20, help="default: 20")
    splits = parser.parse_args().splits
    start = time.perf_counter()
    measure("Images", images(splits))
    measure("Text", texts(splits))
    say(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
