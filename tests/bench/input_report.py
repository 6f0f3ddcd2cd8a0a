"""The tables of the benchmark of inputs."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from tests.bench.input_case import Case

Engines = Mapping[str, Sequence[Mapping[str, float]]]
"""The runs of each engine."""

Runs = Mapping[Case, Engines]
"""The runs of each engine by case."""

OWN = "driftgauge"


def tables(runs: Runs) -> str:
    """Return tables in Markdown of processor time, its ratio to the service's, rate and memory."""

    def spent(engines: Engines, name: str) -> str:
        values = [run["processor"] for run in engines[name]]
        return f"{statistics.median(values):.1f} [{min(values):.1f}, {max(values):.1f}]"

    def ratio(engines: Engines, name: str) -> str:
        return f"{median(engines, name, 'processor') / median(engines, OWN, 'processor'):.2f}"

    def rate(engines: Engines, name: str) -> str:
        return f"{1e6 / median(engines, name, 'wall'):,.0f}"

    def memory(engines: Engines, name: str) -> str:
        return f"{max(run['memory'] for run in engines[name]):.0f}" if "memory" in engines[name][0] else ""

    return "\n\n".join(
        [
            _table("processor time an event, us: median [least, most]", runs, spent),
            _table(f"the same over {OWN}'s", runs, ratio),
            _table("events a second of wall time", runs, rate),
            _table("memory, MiB at most", runs, memory),
        ]
    )


def median(engines: Engines, name: str, measure: str) -> float:
    return statistics.median(run[measure] for run in engines[name])


def _table(title: str, runs: Runs, cell: Callable[[Engines, str], str]) -> str:
    names = list(dict.fromkeys(name for engines in runs.values() for name in engines))
    lines = [f"| {title} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for case, engines in runs.items():
        cells = [cell(engines, name) if name in engines else "" for name in names]
        lines.append(f"| {case.title} | {' | '.join(cells)} |")
    return "\n".join(lines)
