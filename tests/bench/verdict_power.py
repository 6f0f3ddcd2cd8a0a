"""Power and delay of the verdict: `python tests/bench/verdicts.py power`.

Baseline and windows come from separate halves of the test images, so the sampling error of a finite half is
included, and so is every part of the verdict.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from tests.bench.population import CLUSTERS, HOUR_MS, Population, judge, spec
from tests.output import say

from driftgauge.baseline.fitting import fit_baseline
from driftgauge.core.counting.tally import Tally
from driftgauge.core.windows.result import Verdict, VerdictMemory
from driftgauge.core.windows.scoring import WindowScorer
from driftgauge.streams import to_reference

SPLITS = 10
RUNS = 40  # sequences of windows for each split
LONGEST = 10  # windows after the beginning of drift


def power(data: dict[str, NDArray[np.float32]]) -> None:
    say(
        f"The verdict as shipped: level of a budget of 1 page a year on windows of 1h, floors on; baseline\n"
        f"and windows from separate halves of the test images, {SPLITS} splits x {RUNS} runs of {LONGEST}"
    )
    say(
        "  what                  n   windows found   drift by window 2   3   5   10   windows until drift"
        "   warning by 3   5   10"
    )
    for name in ("test", "blurred_mild", "darkened_mild", "blurred", "darkened"):
        for count in (200, 1_000):
            found: list[float] = []
            delays: list[int | None] = []
            warnings: list[int | None] = []
            for split in range(SPLITS):
                for run_found, warned, delay in runs(data, name, count, split):
                    found += run_found
                    warnings.append(warned)
                    delays.append(delay)
            by = [share(delays, window) for window in (2, 3, 5, LONGEST)]
            warned_by = [share(warnings, window) for window in (3, 5, LONGEST)]
            known = [delay for delay in delays if delay is not None]
            until = f"{np.mean(known):.1f}" if len(known) == len(delays) else f"more than {LONGEST} for some"
            say(
                f"  {name:15}{count:>8,}{np.mean(found):>15.1%}{by[0]:>19.0%}{by[1]:>6.0%}{by[2]:>5.0%}"
                f"{by[3]:>5.0%}   {until:21}{warned_by[0]:>13.0%}{warned_by[1]:>5.0%}{warned_by[2]:>5.0%}",
            )


def share(delays: list[int | None], window: int) -> float:
    return sum(delay is not None and delay <= window for delay in delays) / len(delays)


def runs(
    data: dict[str, NDArray[np.float32]], name: str, count: int, split: int
) -> Iterator[tuple[list[bool], int | None, int | None]]:
    """Yield for each run: the windows found, and the first window that warns and the first that drifts."""
    rng = np.random.default_rng([2, split])
    order = rng.permutation(len(data["test"]))
    mine, theirs = np.split(order, 2)
    baseline = fit_baseline(
        data["test"][mine],
        stream="bench",
        model_version=None,
        clusters=CLUSTERS,
        seed=split,
        created_ms=0,
        progress=lambda _: None,
    )
    population = Population(data[name], baseline.centroids.assign(data[name]), baseline.centroids)
    reference = to_reference(baseline)
    scorer = WindowScorer(spec(reference, HOUR_MS), reference, None, calibrated=False)
    tallies = population.tallies(reference)
    for _ in range(RUNS):
        windows = np.stack([rng.choice(theirs, count, replace=False) for _ in range(LONGEST)])
        memory, found, warned, delay = VerdictMemory(), [], None, None
        for number, tally in enumerate(
            (Tally(tallies[rows].sum(axis=0), CLUSTERS) for rows in windows), start=1
        ):
            score, verdict, memory = judge(scorer, tally, memory)
            found.append(scorer.is_significant_and_large(score))
            if verdict is not Verdict.OK and warned is None:
                warned = number
            if verdict is Verdict.DRIFT and delay is None:
                delay = number
        yield found, warned, delay
