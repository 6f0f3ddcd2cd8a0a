"""Losses since an earlier commit: `python -m tests.bench.losses CHECKOUT`, ten minutes.

The cases of `power.py` in images and texts, scored by this checkout and by an earlier one on identical
windows: the share found at p < 0.01, and at the 1 % quantile of the clean windows' p-values of each; the
gain with its standard error over splits, and the upper limit of a loss (95 %, one-sided).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy.stats import t as student
from tests.bench.embeddings import parser_with_data
from tests.bench.power import CLEAN, LEVEL, WINDOWS, Scored, images, mean_and_error, texts
from tests.output import say

SEED = 33


def score(folder: Path, splits: int) -> dict[str, list[list[float]]]:
    """Return the p-values of each split's windows by case, by the service that is imported."""
    p_values: dict[str, list[list[float]]] = {}
    for of in (images, texts):
        for number, split in enumerate(of(folder, splits)):
            random, baseline = np.random.default_rng([number, SEED]), Scored(split.reference, number)
            for case, drift in split.cases.items():
                windows = drift.draw(random, CLEAN if case == "clean" else WINDOWS)
                scores = baseline.scores(drift.vectors, windows)
                p_values.setdefault(f"{of.__name__}, {case}", []).append([each.p_value for each in scores])
    return p_values


def main() -> None:
    parser = parser_with_data(__doc__)
    parser.add_argument("checkout", nargs="?", type=Path, help="none: print this checkout's p-values as JSON")
    parser.add_argument("--splits", type=int, default=12, help="default: 12")
    options = parser.parse_args()
    now = score(options.data, options.splits)
    if options.checkout is None:
        say(json.dumps(now))
        return
    with Path(__file__).open() as program:
        found = subprocess.run(
            [sys.executable, "-", "--data", str(options.data.resolve()), "--splits", str(options.splits)],
            stdin=program,
            stdout=subprocess.PIPE,
            check=True,
            cwd=options.checkout,
            env={**os.environ, "PYTHONPATH": str(options.checkout.resolve() / "service")},
        )
    before = json.loads(found.stdout)
    say("| case | before | now | gain | a loss at most | gain at 1 % of clean windows | a loss at most |")
    say("|---" * 7 + "|")
    for case in now:
        family = case.split(",")[0]
        rates = np.empty((2, 2, options.splits))
        for version, p_values in enumerate((before, now)):
            for split in range(options.splits):
                own = np.array(p_values[case][split])
                threshold = np.quantile(p_values[f"{family}, clean"][split], LEVEL)
                rates[:, version, split] = (own < LEVEL).mean(), (own < threshold).mean()
        cells = [f"{rate:.3f}" for rate in rates[0].mean(axis=1)]
        for gain in rates[:, 1] - rates[:, 0]:
            error = gain.std(ddof=1) / np.sqrt(len(gain))
            loss = student.ppf(0.95, len(gain) - 1) * error - gain.mean()
            cells += [mean_and_error(gain.tolist()), f"{loss:.3f}"]
        say(f"| {case} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
