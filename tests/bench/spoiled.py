"""Baselines with bad rows, a rare class, heavy tails or few vectors: `python -m tests.bench.spoiled`.

Nothing of a rare class of .2 to .8 % may be left out. Bad rows are planted in one half of a family's rows:
the half that the centroids are fitted on, or the half that is counted. Printed are whether exactly they are
named and left out, the share of clean windows found at p < 1 %, the share of windows found whose spread is
1.1 and 1.05 times as large, and its difference from the baseline of the same rows before the planting, on the
same windows; each a mean over splits with its standard error.
"""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tests.bench.embeddings import IMAGES, load_vectors, parser_with_data
from tests.bench.power import LEVEL, Scored, mean_and_error
from tests.output import say

from driftgauge.baseline.fitting import split_indices
from driftgauge.errors import BaselineError

ROWS = 5_000  # of a baseline
LIVE = 20_000  # that windows are drawn from; of the images those that are left
COUNT = 200  # events of a window
WINDOWS = 200  # of a case and split
SPLITS = 6
DIMENSION = 64
GROWTHS = (1.1, 1.05)
LIGHT = ("mixture", "images")
HEAVY = ("t3", "t3 by axis", "t5")
# Topics of unit length, one of which is rare: its share, the floats of a vector, and the length of a vector's
# deviation from its topic. Of them twice the rows are fitted, for the rarest 20.
RARE = {
    f"rare {share:.1%}, {floats} floats, {width}": (share, floats, width)
    for share, floats, width in ((0.008, 384, 0.3), (0.003, 64, 0.3), (0.002, 384, 0.6))
}
TOPICS = 12
FEW_BASELINES = 40
FEW_WINDOWS = 1_000
FEW_FAMILIES = ("mixture", "images")
# Vectors of a baseline, half of them counted; clusters; events of a window.
FEW = ((600, 20, 50), (300, 10, 50), (5_000, 20, 20))

Rows = NDArray[np.float32]
Spoil = Callable[[Rows, NDArray[np.intp]], Rows]


def scaled(count: int, factor: float) -> Spoil:
    """Return what scales the first of some rows."""

    def spoil(vectors: Rows, rows: NDArray[np.intp]) -> Rows:
        spoiled = vectors.copy()
        spoiled[rows[:count]] *= np.float32(factor)
        return spoiled

    return spoil


# What is planted, and in how many rows.
CASES: dict[str, tuple[int, Spoil]] = {
    "one x 30": (1, scaled(1, 30)),
    "one x 1e6": (1, scaled(1, 1e6)),
    "ten x 5": (10, scaled(10, 5)),
    "25 zeros": (25, scaled(25, 0)),
}


class Families:
    """The vectors of every family."""

    def __init__(self, folder: Path) -> None:
        (self._images,) = load_vectors(folder, IMAGES, "test")

    def draw(self, family: str, rows: int, seed: int) -> tuple[Rows, Rows]:
        """Return the rows of a baseline, and others that windows are drawn from."""
        random = np.random.default_rng([seed, sum(family.encode())])
        if family == "images":
            shuffled = random.permutation(self._images)
            return shuffled[:rows], shuffled[rows:]
        total = rows + LIVE
        if family in RARE:
            vectors = _topics(random, total, *RARE[family])
            return vectors[:rows], vectors[rows:]
        vectors = random.normal(size=(total, DIMENSION)) / np.sqrt(1 + np.arange(DIMENSION) / 4)
        if family == "mixture":
            shares = np.arange(1, 11) / 55
            centres = 2 * random.normal(size=(10, DIMENSION)) / np.sqrt(1 + np.arange(DIMENSION))
            vectors = vectors + centres[random.choice(10, total, p=shares)]
        elif family == "t3 by axis":
            vectors = random.standard_t(3, size=vectors.shape) / np.sqrt(1 + np.arange(DIMENSION) / 4)
        else:
            degrees = int(family.removeprefix("t"))
            vectors *= np.sqrt(degrees / random.chisquare(degrees, size=(total, 1)))
        vectors += 1
        return vectors[:rows].astype(np.float32), vectors[rows:].astype(np.float32)


def _topics(random: np.random.Generator, total: int, share: float, floats: int, width: float) -> Rows:
    """Return vectors of topics, the last of which has exactly a share of every 1,000 rows."""
    centres = random.normal(size=(TOPICS, floats))
    topics = random.integers(TOPICS - 1, size=(total // 1_000, 1_000))
    topics[:, : round(1_000 * share)] = TOPICS - 1
    scales = 1 / np.sqrt(1 + np.arange(floats) / 8)
    noise = random.normal(size=(total, floats)) * scales * width / np.linalg.norm(scales)
    vectors = (centres / np.linalg.norm(centres, axis=1, keepdims=True))[topics.ravel()] + noise
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class Fitted:
    """A baseline, and what its fit said of rows that it left out."""

    scored: Scored
    lines: tuple[str, ...]

    @classmethod
    def on(cls, vectors: Rows, seed: int, clusters: int = 20) -> "Fitted":
        lines: list[str] = []
        scored = Scored(vectors, seed, clusters, lines.append)
        return cls(scored, tuple(line for line in lines if "left out" in line))

    @property
    def left_out(self) -> int:
        """The number of rows left out, by the lines "left out 25 of 5,000 vectors"."""
        found = re.findall(r"left out ([\d,]+) of", " ".join(self.lines))
        return sum(int(number.replace(",", "")) for number in found)

    def names(self, planted: NDArray[np.intp]) -> bool:
        """Return whether as many rows are left out as were planted, and all that are named are planted."""
        text = " ".join(re.findall(r"rows? ([\d, ]+)", " ".join(self.lines)))
        named = {int(number) for number in re.findall(r"\d+", text)}
        return self.left_out == len(planted) and bool(named) and named <= set(planted.tolist())

    def found(self, vectors: Rows, windows: NDArray[np.intp]) -> float:
        """Return the share of windows, rows of vectors, that are found."""
        scores = self.scored.scores(vectors, windows)
        return float(np.mean([score.p_value < LEVEL for score in scores]))


def draw_windows(live: Rows, count: int, windows: int, seed: int) -> NDArray[np.intp]:
    """Return the rows of windows, (windows, count), without replacement within a window."""
    random = np.random.default_rng([seed, count])
    return np.stack([random.choice(len(live), count, replace=False) for _ in range(windows)])


def powers(fitted: Fitted, live: Rows, windows: NDArray[np.intp]) -> dict[str, float]:
    """Return the share of windows found of each growth of the distances from the mean."""
    mean = live.mean(axis=0)
    return {
        f"x {growth}": fitted.found(mean + (live - mean) * np.float32(growth), windows) for growth in GROWTHS
    }


def measure(families: Families, family: str, splits: int, cases: dict[str, tuple[int, Spoil]]) -> None:
    """Print a family without planted rows, and with each of the cases in each half."""
    results: dict[str, dict[str, list[float]]] = {}

    def keep(case: str, **values: float) -> None:
        for name, value in values.items():
            results.setdefault(case, {}).setdefault(name, []).append(value)

    count = 2 * ROWS if family in RARE else ROWS
    for split in range(splits):
        vectors, live = families.draw(family, count, split)
        windows = draw_windows(live, COUNT, WINDOWS, split)
        try:
            sound = Fitted.on(vectors, split)
        except BaselineError as error:
            say(f"{family}, split {split}, nothing planted: {error}")
            continue
        unspoiled = powers(sound, live, windows)
        keep("nothing planted", left_out=sound.left_out, clean=sound.found(live, windows), **unspoiled)
        for half, rows in zip(("fitted", "counted"), split_indices(count, split), strict=True):
            planted = np.random.default_rng([split, 1]).permutation(rows)
            for name, (number, spoil) in cases.items():
                case = f"{name}, {half}"
                try:
                    spoiled = Fitted.on(spoil(vectors, planted), split)
                except BaselineError as error:
                    keep(case, refused=1.0)
                    say(f"{family}, split {split}, {case}: {error}")
                    continue
                own = powers(spoiled, live, windows)
                keep(
                    case,
                    refused=0.0,
                    named=float(spoiled.names(planted[:number])),
                    left_out=spoiled.left_out,
                    clean=spoiled.found(live, windows),
                    **own,
                    **{f"less sound, {name}": own[name] - unspoiled[name] for name in own},
                )
    say(f"\n{family}: {splits} splits x {WINDOWS} windows of {COUNT} events, mean [standard error]\n")
    found = [f"{kind}x {growth}" for kind in ("", "less sound, ") for growth in GROWTHS]
    names = ("refused", "named", "left_out", "clean", *found)
    say("| planted | " + " | ".join(names) + " |")
    say("|---" * (len(names) + 1) + "|")
    for case, row in results.items():
        cells = (mean_and_error(row[name]) if name in row else "" for name in names)
        say(f"| {case} | " + " | ".join(cells) + " |")


def measure_few(families: Families, family: str, rows: int, clusters: int, count: int) -> None:
    """Print the clean windows that are found against few vectors, or in windows of few events."""
    found, refused = [], 0
    for baseline in range(FEW_BASELINES):
        vectors, live = families.draw(family, rows, 100 + baseline)
        try:
            fitted = Fitted.on(vectors, baseline, clusters)
        except BaselineError:
            refused += 1
            continue
        found.append(fitted.found(live, draw_windows(live, count, FEW_WINDOWS, baseline)))
    worst = max(found, default=math.nan)
    say(
        f"{family}, {rows:,} vectors, {clusters} clusters, windows of {count}: clean windows found "
        f"{mean_and_error(found)}, worst baseline {worst:.3f}; {refused} of {FEW_BASELINES} refused"
    )


def main() -> None:
    parser = parser_with_data(__doc__)
    parser.add_argument("--splits", type=int, default=SPLITS, help=f"default: {SPLITS}")
    parser.add_argument("--only", nargs="*", help="the parts to run: families, and few (default: all)")
    options = parser.parse_args()
    start, families = time.perf_counter(), Families(options.data)
    parts = options.only or (*LIGHT, *HEAVY, *RARE, "few")
    for family in (*LIGHT, *HEAVY, *RARE):
        if family in parts:
            measure(families, family, options.splits, CASES if family not in HEAVY else {})
    if "few" in parts:
        say(f"\n{FEW_BASELINES} baselines x {FEW_WINDOWS:,} clean windows\n")
        for family in FEW_FAMILIES:
            for setting in FEW:
                measure_few(families, family, *setting)
    say(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
