"""Clean windows found, by the baseline's vectors a cluster: `python -m tests.bench.level`, 20 minutes.

Baselines of few vectors a cluster: the share of clean windows found at p < 0.01, by all statistics together
and by each alone, with the standard error over baselines. Both sides are images that the network was trained
on; the mixture is drawn again for each baseline and its windows.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tests.bench.embeddings import IMAGES, TEXTS, load_vectors, parser_with_data
from tests.bench.power import LEVEL, Scored, mean_and_error
from tests.output import say

from driftgauge.core.statistics import registry

SEED = 35
WINDOWS = 150
LIVE = 60_000

SETTINGS = (
    (20_000, 300, 1_500),
    (5_000, 100, 1_000),
    (5_000, 50, 1_000),
    (20_000, 50, 1_500),
    (5_000, 20, 200),
)
"""Vectors of the baseline, clusters, and events of a window."""

Draw = Callable[[np.random.Generator, int], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Draws the vectors of a baseline, so many, and those of windows."""


def real(vectors: NDArray[np.float32]) -> Draw:
    """Draw both without replacement from real vectors."""

    def draw(random: np.random.Generator, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        shuffled = random.permutation(vectors)
        return shuffled[:count], shuffled[count:]

    return draw


def mixture(random: np.random.Generator, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw normal vectors of 64 floats about ten means; deviations fall with the root of an axis' number."""
    scale = np.arange(1, 65) ** -0.5
    means = random.standard_normal((10, 64)) * scale
    total = count + LIVE
    drawn = means[random.integers(10, size=total)] + random.standard_normal((total, 64)) * scale
    return drawn[:count].astype(np.float32), drawn[count:].astype(np.float32)


def families(folder: Path) -> dict[str, Draw]:
    """Return what draws the vectors of each family."""
    (images,), (texts,) = load_vectors(folder, IMAGES, "train"), load_vectors(folder, TEXTS, "emb")
    return {"images": real(images), "texts": real(texts), "mixture": mixture}


def main() -> None:
    parser = parser_with_data(__doc__)
    parser.add_argument("--baselines", type=int, default=6, help="default: 6")
    parser.add_argument(
        "--families", nargs="*", default=["images", "mixture"], help="default: images mixture"
    )
    parser.add_argument("--settings", nargs="*", help="vectors,clusters,events; default: five settings")
    options = parser.parse_args()
    start = time.perf_counter()
    settings = [tuple(map(int, each.split(","))) for each in options.settings or ()] or SETTINGS
    say(f"{WINDOWS} clean windows of each of {options.baselines} baselines: found at p < {LEVEL} [error]\n")
    names = " | ".join(["all", *(each.name for each in registry.STATISTICS)])
    say(f"| family | vectors, clusters, events | {names} |")
    drawn = families(options.data)
    for count, clusters, events in settings:
        for family in options.families:
            found: dict[str, list[float]] = {}
            for number in range(options.baselines):
                random = np.random.default_rng([SEED, number, count])
                vectors, live = drawn[family](random, count)
                baseline = Scored(vectors, number, clusters)
                windows = [random.choice(len(live), events, replace=False) for _ in range(WINDOWS)]
                scores = baseline.scores(live, windows)
                found.setdefault("all", []).append(np.mean([score.p_value < LEVEL for score in scores]))
                for each in registry.STATISTICS:
                    p_values = [each.p_value(score.findings.of(each)) for score in scores]
                    found.setdefault(each.name, []).append(np.mean(np.array(p_values) < LEVEL))
            cells = " | ".join(mean_and_error(values) for values in found.values())
            say(f"| {family} | {count:,}, {clusters}, {events:,} | {cells} |")
    say(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
