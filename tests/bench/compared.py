"""The verdict beside detectors that keep raw vectors: `python -m tests.bench.compared`, 20 minutes.

Every kind of drift in eight families: the share of windows found at the threshold that 1 % of clean windows
reach, by the service's combined p-value and by each detector; the clean windows with p < 0.01; and the kinds
that the service names in runs of windows.

`--checkout FOLDER` measures the service of another commit on the same windows. It uses nothing of the service
but fitting, scoring and the registry, which all commits have.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tests.bench.detectors import Detectors, standings
from tests.bench.embeddings import parser_with_data
from tests.bench.planted import BY_COSINE, FAMILIES, HELD_OUT, WITH_TEXTS, Case, Split, splits_of
from tests.output import say

from driftgauge.baseline.fitting import Provenance, fit_baseline
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.counting.tally import Tally, tally_batch
from driftgauge.core.judging.calibration import Calibration
from driftgauge.core.judging.scoring import Score, WindowScorer
from driftgauge.core.spec import Alarm, ScheduledBaseline, StreamSpec
from driftgauge.core.statistics import registry
from driftgauge.streams import to_reference

LEVEL = 0.01
HOUR_MS = 3_600_000
CLUSTERS = 20
RUN = 6  # windows of a run, whose kind is named
KEPT = 0.75  # of the evidence a window later; see `VerdictMemory`
Windows = list[NDArray[np.intp]]


class Service:
    """A baseline of the service, and the scores of windows against it."""

    def __init__(self, split: Split, family: str, seed: int) -> None:
        metric = DistanceMetric.COSINE if family in BY_COSINE else DistanceMetric.EUCLIDEAN
        fitted = fit_baseline(
            split.vectors,
            stream="bench",
            clusters=CLUSTERS,
            metric=metric,
            seed=seed,
            created_ms=0,
            progress=lambda _: None,
            provenance=Provenance(texts=[None] * len(split.vectors) if family in WITH_TEXTS else None),
        )
        self._reference = to_reference(fitted)
        smallest = {each.name: each.smallest for each in registry.STATISTICS}
        spec = StreamSpec(
            name="bench",
            baselines=(ScheduledBaseline(self._reference),),
            sizes_ms=(HOUR_MS,),
            disorder_ms=0,
            lateness_ms=0,
            idle_ms=0,
            incomplete_ms=0,
            give_up_ms=0,
            min_events=1,
            alarm=Alarm(LEVEL, smallest),
        )
        calibration = Calibration.of_baseline(self._reference, HOUR_MS)
        self._scorer = WindowScorer(spec, self._reference, calibration, HOUR_MS)

    def scores(self, vectors: NDArray[np.float32], windows: Windows) -> list[Score]:
        """Return the scores of windows, each the rows of its vectors."""
        used, inverse = np.unique(np.concatenate(windows), return_inverse=True)
        own, reference = np.ascontiguousarray(vectors[used]), self._reference
        measured = registry.measure(
            reference, registry.place(reference, own, reference.centroids.assign(own))
        )
        group, fields = np.arange(len(own)), registry.fields_of(reference)
        tallies = tally_batch(group, len(own), fields, measured)
        lengths = np.cumsum([len(rows) for rows in windows])[:-1]
        found = [
            self._scorer.score(Tally(tallies[rows].sum(axis=0), fields))
            for rows in np.split(inverse, lengths)
        ]
        return [score for score in found if score is not None]


def windows_of(case: Case, count: int, windows: int, seed: Sequence[int]) -> Windows:
    """Return the rows of windows of so many events, the same in each run."""
    random = np.random.default_rng(seed)
    return [case.draw(random, count) for _ in range(windows)]


def measure(options: argparse.Namespace) -> dict[str, list[dict]]:
    """Return what each case's windows score, by family and split."""
    found: dict[str, list[dict]] = {}
    for family in options.families:
        for number, split in enumerate(splits_of(family, options.data, options.splits)):
            service = Service(split, family, number)
            cases = {}
            for index, (name, case) in enumerate(split.cases.items()):
                if options.cases and name not in {"clean", *options.cases}:
                    continue
                amount = options.clean if name == "clean" else options.drifted
                windows = windows_of(case, options.events, amount, [number, index, options.events])
                scores = service.scores(case.vectors, windows)
                cases[name] = {
                    "kind": case.kind,
                    "p_values": [score.p_value for score in scores],
                    "tests": [
                        {name: list(finding.p_values) for name, finding in score.findings.items()}
                        for score in scores
                    ],
                    "evidence": [dict(score.evidence) for score in scores],
                }
            if options.detectors:
                _add_detectors(split, cases, number, options)
            found.setdefault(family, []).append(cases)
    return found


def _add_detectors(split: Split, cases: dict, number: int, options: argparse.Namespace) -> None:
    """Add what the detectors find of the same windows."""
    detectors = Detectors(split.vectors, split.classes, number)
    clean = {}
    for index, (name, case) in enumerate(split.cases.items()):
        if name not in cases:
            continue
        amount = len(cases[name]["p_values"])
        windows = windows_of(case, options.events, amount, [number, index, options.events])
        own = detectors.measure(case.vectors, windows)
        clean = clean or own
        cases[name]["detectors"] = {key: each.tolist() for key, each in standings(clean, own).items()}


def rates(found: list[dict]) -> dict[str, dict[str, list[float]]]:
    """Return the share found at the empirical level of a family's cases, by method and split."""
    result: dict[str, dict[str, list[float]]] = {}
    for cases in found:
        clean = cases["clean"]
        limits = {"service": -np.quantile(clean["p_values"], LEVEL)}
        limits |= {name: np.quantile(each, 1 - LEVEL) for name, each in clean.get("detectors", {}).items()}
        for name, case in cases.items():
            numbers = {"service": -np.array(case["p_values"]), **case.get("detectors", {})}
            for method, each in numbers.items():
                share = float((np.array(each) > limits[method]).mean())
                result.setdefault(name, {}).setdefault(method, []).append(share)
    return result


def name_runs(case: dict) -> Counter[str]:
    """Return the kinds that runs of significant windows of a case are given."""
    named: Counter[str] = Counter()
    significant = [
        evidence
        for p_value, evidence in zip(case["p_values"], case["evidence"], strict=True)
        if p_value < LEVEL
    ]
    for first in range(0, len(significant) - RUN + 1, RUN):
        total: dict[str, float] = {}
        for evidence in significant[first : first + RUN]:
            total = {kind: KEPT * total.get(kind, 0.0) + share for kind, share in evidence.items()}
        named[max(total, key=total.__getitem__)] += 1
    return named


def report(now: dict, before: dict | None) -> None:
    """Print the tables."""
    changes = []
    for family, found in now.items():
        table, earlier = rates(found), rates(before[family][: len(found)]) if before else None
        methods = list(table["clean"])
        added = ["before", "gain"] if earlier else []
        held = ", held out" if family in HELD_OUT else ""
        say(f"\n## {family}{held}\n\n| case | " + " | ".join(methods + added) + " | kinds |")
        say("|---" * (2 + len(methods) + len(added)) + "|")
        for name, row in table.items():
            cells = [f"{np.mean(row[method]):.3f}" for method in methods]
            if earlier:
                gain = np.subtract(row["service"], earlier[name]["service"])
                cells += [f"{np.mean(earlier[name]['service']):.3f}", f"{gain.mean():+.3f}"]
                if name != "clean":
                    changes.append((float(gain.mean()), family, name))
            kinds: Counter[str] = sum((name_runs(cases[name]) for cases in found), Counter())
            named = ", ".join(f"{kind} {number}" for kind, number in kinds.most_common(3))
            say(f"| {name} | " + " | ".join(cells) + f" | {found[0][name]['kind'] or '-'}: {named} |")
        level = [[np.mean(np.array(cases["clean"]["p_values"]) < LEVEL) for cases in found]]
        if before:
            level += [[np.mean(np.array(each["clean"]["p_values"]) < LEVEL) for each in before[family]]]
        say(
            "\nclean, p < .01: "
            + ", before ".join(
                f"{np.mean(each):.4f} ± {np.std(each) / max(len(each) - 1, 1) ** 0.5:.4f}" for each in level
            )
        )
        for method in [*methods, *(["before"] if earlier else [])]:
            source, key = (earlier, "service") if method == "before" else (table, method)
            of_cases = [np.mean(row[key]) for name, row in source.items() if name != "clean"]
            say(f"mean of cases, {method}: {np.mean(of_cases):.3f}")
    if changes:
        gains = [gain for gain, *_ in changes]
        worst = "; ".join(f"{gain:+.3f} {family}, {name}" for gain, family, name in sorted(changes)[:8])
        say(f"\nmean gain of {len(gains)} cases: {np.mean(gains):+.3f}; worst {worst}")


def main() -> None:
    parser = parser_with_data(__doc__)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), help="default: all")
    parser.add_argument("--cases", nargs="*", help="default: all")
    parser.add_argument("--splits", type=int, default=20, help="baselines of each family (default: 20)")
    parser.add_argument("--clean", type=int, default=150, help="windows of each baseline (default: 150)")
    parser.add_argument("--drifted", type=int, default=20, help="of each case and baseline (default: 20)")
    parser.add_argument("--events", type=int, default=200, help="of a window (default: 200)")
    parser.add_argument("--detectors", action="store_true", help="measure the detectors too")
    parser.add_argument("--checkout", type=Path, help="compare with the service of another checkout")
    parser.add_argument("--json", type=Path, help="write what is found")
    parser.add_argument("--before", type=Path, help="what such a run has written, to compare with")
    options = parser.parse_args()
    start = time.perf_counter()
    before = json.loads(options.before.read_text()) if options.before else None
    if options.checkout:
        passed = [each for each in sys.argv[1:] if each != "--detectors"]
        at = passed.index("--checkout")
        path = os.pathsep.join([str(options.checkout.resolve() / "service"), os.getcwd()])
        written = Path(f"{options.checkout.resolve()}.compared.json")
        command = [sys.executable, "-m", "tests.bench.compared", *passed[:at], *passed[at + 2 :]]
        subprocess.run(
            [*command, "--json", str(written)],
            env={**os.environ, "PYTHONPATH": path},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        before = json.loads(written.read_text())
        written.unlink()
    now = measure(options)
    if options.json:
        options.json.write_text(json.dumps(now))
    report(now, before)
    say(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
