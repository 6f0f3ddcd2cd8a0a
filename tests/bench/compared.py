"""The verdict beside detectors that keep raw vectors: `python -m tests.bench.compared`, 20 minutes.

Every kind of drift in eight families: the share of windows found at the threshold that 1 % of clean windows
reach, by the service's combined p-value and by each detector; the clean windows with p < 0.01; and the kinds
that the service names in runs of windows.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from tests.bench.detectors import Detectors, standings
from tests.bench.embeddings import DATA, Array
from tests.bench.judged import LEVEL, Scored
from tests.bench.planted import BY_COSINE, FAMILIES, HELD_OUT, WITH_TEXTS, splits_of
from tests.bench.tables import mean_and_error, say_header, say_row
from tests.options import parse_options
from tests.output import say

from driftgauge.baseline.fitting import Provenance
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.judging.scoring import Score
from driftgauge.core.judging.verdict import VerdictMemory

EVENTS = 200  # of a window
RUN = 6  # windows of a run, whose kind is named


@dataclass
class Found:
    """What is found of a case, over all splits.

    Attributes:
        kind: The planted kind; None: no single one.
        shares: The share of windows found in each split, by method.
        runs: The number of runs by the kind that the service names.
    """

    kind: str | None
    shares: dict[str, list[float]] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)


def measure(family: str, options: argparse.Namespace) -> tuple[dict[str, Found], list[float]]:
    """Return what is found of a family's cases, and the share of clean windows with p < 0.01 by split."""
    found: dict[str, Found] = {}
    clean_rates = []
    metric = DistanceMetric.COSINE if family in BY_COSINE else DistanceMetric.EUCLIDEAN
    for number, split in enumerate(splits_of(family, options.data, options.splits)):
        texts = [None] * len(split.vectors) if family in WITH_TEXTS else None
        service = Scored(split.vectors, number, metric=metric, provenance=Provenance(texts=texts))
        detectors = Detectors(split.vectors, split.classes, number) if options.detectors else None
        clean: dict[str, Array] = {}
        limits: dict[str, float] = {}
        for index, (name, case) in enumerate(split.cases.items()):
            random = np.random.default_rng([number, index, EVENTS])
            amount = options.clean if name == "clean" else options.drifted
            windows = [case.draw(random, EVENTS) for _ in range(amount)]
            scores = service.scores(case.vectors, windows)
            measured = {"service": -np.array([score.p_value for score in scores])}
            if detectors is not None:
                own = detectors.measure(case.vectors, windows)
                clean = clean or own
                measured |= standings(clean, own)
            if name == "clean":
                limits = {method: float(np.quantile(each, 1 - LEVEL)) for method, each in measured.items()}
                clean_rates.append(float((measured["service"] > -LEVEL).mean()))
            of_case = found.setdefault(name, Found(case.kind))
            for method, each in measured.items():
                of_case.shares.setdefault(method, []).append(float((each > limits[method]).mean()))
            of_case.runs.update(name_runs(scores))
    return found, clean_rates


def name_runs(scores: Sequence[Score]) -> list[str]:
    """Return the kinds that runs of significant windows are given."""
    named = []
    significant = [score.evidence for score in scores if score.p_value < LEVEL]
    for first in range(0, len(significant) - RUN + 1, RUN):
        memory = VerdictMemory(recent=(True,))
        for own in significant[first : first + RUN]:
            memory = replace(memory, evidence=memory.add_evidence(own, is_significant=True))
        named.append(max(memory.evidence, key=memory.evidence.__getitem__))
    return named


def report(family: str, found: dict[str, Found], clean_rates: list[float]) -> None:
    """Print a family's table, and its means."""
    methods = list(found["clean"].shares)
    say(f"\n## {family}{', held out' if family in HELD_OUT else ''}\n")
    say_header("case", *methods, "kind", "named in runs")
    for name, case in found.items():
        named = ", ".join(f"{kind} {number}" for kind, number in case.runs.most_common(3))
        shares = [f"{np.mean(case.shares[method]):.3f}" for method in methods]
        say_row(name, *shares, case.kind or "", named)
    drifted = [case for name, case in found.items() if name != "clean"]
    means = [f"{np.mean([np.mean(case.shares[method]) for case in drifted]):.3f}" for method in methods]
    say_row("mean of changes", *means, "", "")
    runs = sum(case.runs.total() for case in drifted if case.kind)
    right = sum(case.runs[case.kind] for case in drifted if case.kind)
    say(f"\nclean, p < {LEVEL}: {mean_and_error(clean_rates)}; {right} of {runs} runs name the planted kind")


def main() -> None:
    # The baselines of each family, the clean windows of each, and those of each other case.
    options = parse_options(
        __doc__, only=FAMILIES, data=DATA, splits=20, clean=150, drifted=20, detectors=False
    )
    for family in options.only:
        report(family, *measure(family, options))


if __name__ == "__main__":
    main()
