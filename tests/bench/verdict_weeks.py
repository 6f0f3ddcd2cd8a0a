"""The verdicts of the three weeks, day by day: `python tests/bench/verdicts.py weeks`."""

import numpy as np
from numpy.typing import NDArray
from tests.bench.population import CLUSTERS, DAY_MS, Population, judge, spec
from tests.output import say

from driftgauge.baseline.fitting import Provenance, fit_baseline
from driftgauge.baseline.windows import Traffic
from driftgauge.core.counting.tally import Tally
from driftgauge.core.windows.result import VerdictMemory
from driftgauge.core.windows.scoring import WindowScorer
from driftgauge.streams import to_reference


def weeks(data: dict[str, NDArray[np.float32]]) -> None:
    say("The three weeks: baseline on `train`, windows of 1d of 1,000 events, budget 1 page a year")
    train = np.random.default_rng(0).permutation(data["train"])
    baseline = fit_baseline(
        train,
        stream="bench",
        model_version=None,
        clusters=CLUSTERS,
        created_ms=0,
        progress=lambda _: None,
        provenance=Provenance(Traffic(np.arange(len(train)) // 1_000, DAY_MS)),
    )
    reference = to_reference(baseline)
    scorer = WindowScorer(spec(reference, DAY_MS), reference, reference.overdispersion, calibrated=True)
    memory = VerdictMemory()
    for week, name in enumerate(("test", "blurred", "darkened"), start=1):
        vectors = data[name][:7_000]
        population = Population(vectors, baseline.centroids.assign(vectors), baseline.centroids)
        days = population.tallies(reference).reshape(7, 1_000, -1).sum(axis=1)
        said = []
        for day in days:
            score, verdict, memory = judge(scorer, Tally(day, CLUSTERS), memory)
            said.append(
                f"{verdict} {score.kind or ''} ({score.js_excess:.3f}, {score.mean_shift.excess:.2f}, "
                f"{score.novelty.excess:.3f}, {score.spread.excess:.2f}, p {score.p_value:.0e})"
            )
        say(f"  week {week}, {name}: " + "; ".join(said))
