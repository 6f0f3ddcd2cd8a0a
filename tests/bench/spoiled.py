"""Baselines with bad rows, a rare class, heavy tails or few vectors: `python -m tests.bench.spoiled`.

Nothing of a rare class of .2 to .8 % may be left out. Bad rows are planted in one half of a family's rows:
the half that the centroids are fitted on, or the half that is counted. Printed are whether exactly they are
named and left out, the share of clean windows found at p < 1 %, the share of windows found whose spread is
1.1 and 1.05 times as large, and its difference from the baseline of the same rows before the planting, on the
same windows; each a mean over splits with its standard error.
"""

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from itertools import product
from pathlib import Path

import numpy as np
from tests.bench.embeddings import DATA, IMAGES, Rows, Vectors, load_vectors
from tests.bench.judged import CLUSTERS, Scored
from tests.bench.tables import mean_and_error, say_header, say_row
from tests.options import parse_options

from driftgauge.baseline.fitting import split_indices
from driftgauge.errors import BaselineError

ROWS = 5_000  # of a baseline
DIMENSION = 64
LIGHT = ("mixture", "images")
HEAVY = ("t3", "t3 by axis", "t5")
# Topics of unit length, one of which is rare: its share, the floats of a vector, and the length of a vector's
# deviation from its topic. Of them twice the rows are fitted, for the rarest 20.
RARE = {
    f"rare {share:.1%}, {floats} floats, {width}": (share, floats, width)
    for share, floats, width in ((0.008, 384, 0.3), (0.003, 64, 0.3), (0.002, 384, 0.6))
}
TOPICS = 12

# How many rows are scaled, and by what.
CASES = {"one x 30": (1, 30), "one x 1e6": (1, 1e6), "ten x 5": (10, 5), "25 zeros": (25, 0)}


class Families:
    """The vectors of every family."""

    def __init__(self, folder: Path) -> None:
        (self._images,) = load_vectors(folder, IMAGES, "test")

    def draw(self, family: str, rows: int, seed: int) -> tuple[Vectors, Vectors]:
        """Return the rows of a baseline, and others that windows are drawn from: of the images all others."""
        random = np.random.default_rng([seed, sum(family.encode())])
        if family == "images":
            shuffled = random.permutation(self._images)
            return shuffled[:rows], shuffled[rows:]
        total = rows + 20_000
        if family in RARE:
            vectors = _topics(random, total, *RARE[family])
            return vectors[:rows], vectors[rows:]
        vectors = random.normal(size=(total, DIMENSION)) / np.sqrt(1 + np.arange(DIMENSION) / 4)
        if family == "mixture":
            centres = 2 * random.normal(size=(10, DIMENSION)) / np.sqrt(1 + np.arange(DIMENSION))
            vectors = vectors + centres[random.choice(10, total, p=np.arange(1, 11) / 55)]
        elif family == "t3 by axis":
            vectors = random.standard_t(3, size=vectors.shape) / np.sqrt(1 + np.arange(DIMENSION) / 4)
        else:
            degrees = int(family.removeprefix("t"))
            vectors *= np.sqrt(degrees / random.chisquare(degrees, size=(total, 1)))
        vectors += 1
        return vectors[:rows].astype(np.float32), vectors[rows:].astype(np.float32)


def _topics(random: np.random.Generator, total: int, share: float, floats: int, width: float) -> Vectors:
    """Return vectors of topics, the last of which has exactly a share of every 1,000 rows."""
    centres = random.normal(size=(TOPICS, floats))
    topics = random.integers(TOPICS - 1, size=(total // 1_000, 1_000))
    topics[:, : round(1_000 * share)] = TOPICS - 1
    scales = 1 / np.sqrt(1 + np.arange(floats) / 8)
    noise = random.normal(size=(total, floats)) * scales * width / np.linalg.norm(scales)
    vectors = (centres / np.linalg.norm(centres, axis=1, keepdims=True))[topics.ravel()] + noise
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class Fitted(Scored):
    """A baseline that knows which rows its fit left out."""

    def __init__(self, vectors: Vectors, seed: int, clusters: int = CLUSTERS) -> None:
        lines: list[str] = []
        super().__init__(vectors, seed, clusters, progress=lines.append)
        self._lines = " ".join(line for line in lines if "left out" in line)

    @property
    def left_out(self) -> int:
        """The number of rows left out, by the lines "left out 25 of 5,000 vectors"."""
        found = re.findall(r"left out ([\d,]+) of", self._lines)
        return sum(int(number.replace(",", "")) for number in found)

    def names(self, planted: Rows) -> bool:
        """Return whether as many rows are left out as were planted, and all that are named are planted."""
        named = {
            int(number)
            for text in re.findall(r"rows? ([\d, ]+)", self._lines)
            for number in re.findall(r"\d+", text)
        }
        return self.left_out == len(planted) and bool(named) and named <= set(planted.tolist())


def draw_windows(live: Vectors, count: int, windows: int, seed: int) -> list[Rows]:
    """Return the rows of windows, drawn without replacement within a window."""
    random = np.random.default_rng([seed, count])
    return [random.choice(len(live), count, replace=False) for _ in range(windows)]


def find(fitted: Fitted, live: Vectors, windows: list[Rows]) -> dict[str, float]:
    """Return the rows left out, and the share found of clean windows and of each growth of the distances."""
    mean = live.mean(axis=0)
    found = {"left out": float(fitted.left_out), "clean": fitted.share_found(live, windows)}
    for growth in (1.1, 1.05):
        found[f"x {growth}"] = fitted.share_found(mean + (live - mean) * np.float32(growth), windows)
    return found


def measure(families: Families, family: str, splits: int, cases: Mapping[str, tuple[int, float]]) -> None:
    """Print a family without planted rows, and with each of the cases in each half."""
    results: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    count = 2 * ROWS if family in RARE else ROWS
    for split in range(splits):
        vectors, live = families.draw(family, count, split)
        windows = draw_windows(live, 200, 200, split)
        unspoiled = find(Fitted(vectors, split), live, windows)
        results["nothing planted"].append(unspoiled)
        for half, rows in zip(("fitted", "counted"), split_indices(count, split), strict=True):
            planted = np.random.default_rng([split, 1]).permutation(rows)
            for name, (number, factor) in cases.items():
                scaled = vectors.copy()
                scaled[planted[:number]] *= np.float32(factor)
                spoiled = Fitted(scaled, split)
                own = find(spoiled, live, windows)
                less = {f"less, {key}": own[key] - unspoiled[key] for key in own if key.startswith("x")}
                named = {"exactly left out": float(spoiled.names(planted[:number]))}
                results[f"{name}, {half}"].append(own | less | named)
    names = list(dict.fromkeys(name for rows in results.values() for name in rows[0]))
    say_header(family, *names)
    for case, found in results.items():
        values = ([each[name] for each in found if name in each] for name in names)
        say_row(case, *(mean_and_error(own) if own else "" for own in values))


def measure_few(families: Families, baselines: int) -> None:
    """Print the clean windows that are found against few vectors, or in windows of few events."""
    say_header("few", "vectors", "clusters", "events", "clean", "worst baseline", "refused")
    # Vectors of a baseline, half of them counted; clusters; events of a window.
    settings = ((600, 20, 50), (300, 10, 50), (5_000, 20, 20))
    for family, (rows, clusters, count) in product(LIGHT, settings):
        found = []
        for baseline in range(baselines):
            vectors, live = families.draw(family, rows, 100 + baseline)
            windows = draw_windows(live, count, 1_000, baseline)
            with suppress(BaselineError):
                found.append(Fitted(vectors, baseline, clusters).share_found(live, windows))
        worst, refused = max(found, default=math.nan), baselines - len(found)
        say_row(family, rows, clusters, count, mean_and_error(found), f"{worst:.3f}", refused)


def main() -> None:
    # The splits of each family, and the baselines of few vectors.
    options = parse_options(__doc__, only=[*LIGHT, *HEAVY, *RARE, "few"], data=DATA, splits=6, baselines=40)
    families = Families(options.data)
    for family in options.only:
        if family == "few":
            measure_few(families, options.baselines)
        else:
            measure(families, family, options.splits, {} if family in HEAVY else CASES)


if __name__ == "__main__":
    main()
