"""The table and the picture of the throughput benchmark."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.input_case import Case

ENGINES = {
    "raw": "consuming",
    "floor": "floor",
    "service": "driftgauge",
    "before": "driftgauge before",
    "plain": "consumer with scikit-learn",
    "quix statistics": "quix-streams, statistics",
    "quix statistics exactly-once": "statistics, exactly once",
    "quix counts": "quix-streams, counts",
    "quix counts exactly-once": "counts, exactly once",
    "quix memory": "quix-streams, in memory",
    "quix memory exactly-once": "in memory, exactly once",
}
COLOURS = {
    "raw": "#c7c7c7",
    "floor": "#8f8f8f",
    "service": "#b5302a",
    "before": "#e0a29c",
    "plain": "#b58a3c",
    "quix statistics": "#123a5e",
    "quix statistics exactly-once": "#3d5f80",
    "quix counts": "#1f6f9f",
    "quix counts exactly-once": "#5590b5",
    "quix memory": "#7aa6c9",
    "quix memory exactly-once": "#a5c4dc",
}

Engines = Mapping[str, Sequence[Mapping[str, float]]]
"""The runs of each engine."""

Runs = Mapping[Case, Engines]
"""The runs of each engine by case."""


def median(runs: Sequence[Mapping[str, float]], measure: str) -> float | None:
    return statistics.median(run[measure] for run in runs) if runs else None


def floor_line(case: Case, engines: Engines) -> str:
    raw, floor = median(engines["raw"], "processor"), median(engines.get("floor", ()), "processor")
    if floor is None:
        return f"{case.title}: consuming {raw:.1f} us of processor time an event"
    return (
        f"{case.title}: floor {floor:.1f} us of processor time an event, of which consuming {raw:.1f}, "
        f"reading the values and the matrix products {floor - raw:.1f}"
    )


def table(runs: Runs) -> str:
    """Return the medians as a table in Markdown; in brackets the least and the most of the runs."""
    present = [name for name in ENGINES if any(engines.get(name) for engines in runs.values())]
    lines = [
        f"| processor time an event, us | {' | '.join(ENGINES[name] for name in present)} |",
        "|---" * (len(present) + 1) + "|",
    ]
    for case, engines in runs.items():
        lines.append(f"| {case.title} | {' | '.join(_cell(engines.get(name, ())) for name in present)} |")
    lines += [
        "",
        f"| events/s of wall time | {' | '.join(ENGINES[name] for name in present)} |",
        "|---" * (len(present) + 1) + "|",
    ]
    for case, engines in runs.items():
        rates = [median(engines.get(name, ()), "wall") for name in present]
        cells = [f"{1e6 / wall:,.0f}" if wall else "-" for wall in rates]
        lines.append(f"| {case.title} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_ratios(runs)])


def _ratios(runs: Runs) -> list[str]:
    """Return a table of whole times over driftgauge's, and of its time above consuming over a divisor.

    The divisor is what the earlier version takes above consuming for base64 of the same dimension.
    """
    others = [
        name
        for name in ENGINES
        if name not in {"raw", "floor", "service"} and any(engines.get(name) for engines in runs.values())
    ]
    lines = [
        f"| processor time over driftgauge's | {' | '.join(ENGINES[name] for name in others)} "
        "| above consuming, us | over base64 before | above bytes, over base64 before | memory, MiB |",
        "|---" * (len(others) + 5) + "|",
    ]
    for case, engines in runs.items():
        own = median(engines["service"], "processor")
        cells = []
        for name in others:
            other = median(engines.get(name, ()), "processor")
            cells.append("-" if other is None else f"{other / own:.2f}")
        above = _above_consuming(engines, "service")
        divisor = _above_consuming(_of(runs, "base64", case.dimension), "before")
        of_bytes = median(_of(runs, "bytes", case.dimension).get("service", ()), "processor")
        above_bytes = own - of_bytes if case.is_framed and of_bytes is not None else None
        cells += [f"{above:.1f}", _ratio(above, divisor), _ratio(above_bytes, divisor)]
        cells.append(f"{max(run['memory'] for run in engines['service']):.0f}")
        lines.append(f"| {case.title} | {' | '.join(cells)} |")
    return lines


def _of(runs: Runs, encoding: str, dimension: int) -> Engines:
    """Return the runs of a case; none where it was left out."""
    cases = (case for case in runs if (case.encoding, case.dimension) == (encoding, dimension))
    return next((runs[case] for case in cases), {})


def _above_consuming(engines: Engines, name: str) -> float | None:
    whole, raw = (median(engines.get(each, ()), "processor") for each in (name, "raw"))
    return None if whole is None or raw is None else whole - raw


def _ratio(time: float | None, divisor: float | None) -> str:
    return "-" if time is None or divisor is None else f"{time / divisor:.2f}"


def _cell(runs: Sequence[Mapping[str, float]]) -> str:
    if not runs:
        return "-"
    values = [run["processor"] for run in runs]
    return f"{statistics.median(values):.1f} [{min(values):.1f}, {max(values):.1f}]"


def draw(runs: Runs, path: Path) -> None:
    """Draw the medians with the range of the runs, one panel for each dimension."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    dimensions = list(dict.fromkeys(case.dimension for case in runs))
    figure = Figure(figsize=(4.2 * len(dimensions), 4), dpi=120, layout="constrained")
    panels = figure.subplots(1, len(dimensions), squeeze=False)[0]
    present = [name for name in ENGINES if any(engines.get(name) for engines in runs.values())]
    for panel, dimension in zip(panels, dimensions, strict=True):
        cases = [case for case in runs if case.dimension == dimension]
        for i, name in enumerate(present):
            drawn = [(x, runs[case][name]) for x, case in enumerate(cases) if runs[case].get(name)]
            values = [[run["processor"] for run in engine] for _, engine in drawn]
            middles = [statistics.median(each) for each in values]
            spread = [
                [middle - min(each) for middle, each in zip(middles, values, strict=True)],
                [max(each) - middle for middle, each in zip(middles, values, strict=True)],
            ]
            width = 0.8 / len(present)
            left = [x + (i - (len(present) - 1) / 2) * width for x, _ in drawn]
            panel.bar(left, middles, width, yerr=spread, color=COLOURS[name], label=ENGINES[name])
        panel.set_title(f"{dimension} floats")
        panel.set_xticks(range(len(cases)), [case.encoding for case in cases])
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("processor time an event, µs")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path)
