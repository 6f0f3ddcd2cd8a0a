"""Report of a plan, for a terminal and as JSON."""

import math
from dataclasses import asdict, replace

from driftgauge.core.durations import format_duration
from driftgauge.core.statistics.budget import MAX_LEVEL
from driftgauge.core.statistics.target_power import POWER
from driftgauge.layout import Block, Table, facts
from driftgauge.planning.plan import Plan

__all__ = ["as_json", "describe"]

# Below this ratio the level holds only on average over baselines, because the sampling error of the one
# baseline affects every window.
_BASELINE_RATIO = 20


def describe(plan: Plan) -> list[Block]:
    """Return the plan for a terminal."""
    blocks: list[Block] = [_question(plan), "", *_windows(plan), "", _answer(plan), "", *_needs(plan)]
    for warning in _warnings(plan):
        blocks += ["", warning]
    return blocks


def _question(plan: Plan) -> Table:
    request, sensitivity = plan.request, plan.request.sensitivity
    baseline = (
        "a baseline with far more events than a window"
        if math.isinf(sensitivity.baseline_count)
        else f"a baseline of {sensitivity.baseline_count:,} events counted"
    )
    return facts(
        {
            "traffic": f"{request.events_per_hour:,g} events an hour",
            "compared by": f"{sensitivity.clusters:,} clusters and {sensitivity.components:,} components, "
            f"against {baseline}",
            "inflation": f"counts {sensitivity.counts_inflation:.3g}, means "
            f"{sensitivity.means_inflation:.3g} (1: independent events)",
            "smallest drift": f"divergence {request.js_divergence:g} (distance "
            f"{math.sqrt(request.js_divergence):.3g}), mean shift {request.mean_shift:g}",
            "budget": f"false pages a year {request.false_pages_per_year:g}, streams {request.streams:,}",
        }
    )


def _windows(plan: Plan) -> list[Block]:
    rows = [
        (
            f"{'>' if candidate is plan.recommended else ' '} {format_duration(candidate.size_ms)}",
            f"{candidate.count:,}",
            f"{candidate.level:.1e}",
            _number(candidate.noise_floor),
            _number(candidate.least_js_divergence),
            _number(candidate.least_mean_shift),
            f"{candidate.js_divergence_power:.0%}",
            f"{candidate.mean_shift_power:.0%}",
            _count(candidate.least_count),
        )
        for candidate in plan.candidates
    ]
    headings = (
        "  window",
        "events",
        "level",
        "noise floor",
        "least JSD",
        "least shift",
        "JSD power",
        "shift power",
        "events needed",
    )
    notes = [f"  Least: found with {POWER:.0%} power. Power: to find the smallest drift. JSD: divergence."]
    if plan.candidates[-1].level == MAX_LEVEL:
        notes.append(f"  The level is {MAX_LEVEL:g} at most, even with a larger budget.")
    return [Table(headings, rows), *notes]


def _answer(plan: Plan) -> str:
    chosen = plan.recommended
    if chosen is None:
        return "Recommended: none of these windows."
    answer = (
        f"Recommended: windows of {format_duration(chosen.size_ms)}, the shortest that find the smallest "
        f"drift of either kind with {POWER:.0%} power. They contain {chosen.count:,} events; "
        f"{_count(chosen.least_count)} are needed."
    )
    if math.isinf(plan.request.sensitivity.baseline_count):
        answer += (
            f" The baseline should count {_BASELINE_RATIO * chosen.count:,} events or more. A fit counts "
            f"about half of its vectors."
        )
    return answer


def _needs(plan: Plan) -> list[Block]:
    level = (plan.recommended or plan.candidates[-1]).level
    rows = [
        (
            ">" if need.clusters == plan.request.sensitivity.clusters else "",
            f"{need.clusters:,}",
            _count(need.least_count),
            "none" if need.size_ms is None else format_duration(need.size_ms),
        )
        for need in plan.needs
    ]
    return [
        f"Events needed for the smallest divergence at level {level:.1e}, by clusters:",
        Table(("", "clusters", "events", "shortest sufficient window"), rows, text=(0, 3)),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _count(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def as_json(plan: Plan) -> dict[str, object]:
    """Return the plan as JSON values: durations as text, null for missing values."""
    request, sensitivity = plan.request, plan.request.sensitivity
    return {
        "events_per_hour": request.events_per_hour,
        "clusters": sensitivity.clusters,
        "components": sensitivity.components,
        "baseline_count": None if math.isinf(sensitivity.baseline_count) else sensitivity.baseline_count,
        "inflation": {"counts": sensitivity.counts_inflation, "means": sensitivity.means_inflation},
        "smallest_drift": {"js_divergence": request.js_divergence, "mean_shift": request.mean_shift},
        "false_pages_per_year": request.false_pages_per_year,
        "streams": request.streams,
        "daily_cycle": request.daily_cycle,
        "power": POWER,
        "windows": [
            {
                "window": format_duration(candidate.size_ms),
                **{name: value for name, value in asdict(candidate).items() if name != "size_ms"},
                "enough": candidate.is_enough,
            }
            for candidate in plan.candidates
        ],
        "recommended": None if plan.recommended is None else format_duration(plan.recommended.size_ms),
        "needs": [
            {
                "clusters": need.clusters,
                "least_count": need.least_count,
                "window": None if need.size_ms is None else format_duration(need.size_ms),
            }
            for need in plan.needs
        ],
        "warnings": _warnings(plan),
    }


def _warnings(plan: Plan) -> list[str]:
    request, chosen = plan.request, plan.recommended
    sensitivity = request.sensitivity
    warnings = []
    if chosen is None:
        warnings.append(_explain_no_window(plan))
    fewer = [
        need
        for need in plan.needs
        if need.clusters < sensitivity.clusters
        and need.size_ms is not None
        and (chosen is None or need.size_ms < chosen.size_ms)
    ]
    if fewer:
        most = fewer[-1]
        window = format_duration(most.size_ms or 0)
        warnings.append(
            f"{sensitivity.clusters} clusters are many for this traffic: with {most.clusters}, windows of "
            f"{window} are long enough. Fit the baseline with --clusters {most.clusters} or fewer."
        )
    if chosen is not None and sensitivity.baseline_count < _BASELINE_RATIO * chosen.count:
        warnings.append(
            f"The baseline counts {sensitivity.baseline_count / chosen.count:.1f} times the events of a "
            f"{format_duration(chosen.size_ms)} window. Below {_BASELINE_RATIO} times, its sampling "
            f"error affects every window, and false pages may exceed the budget. Fit a baseline that counts "
            f"{_BASELINE_RATIO * chosen.count:,} or more."
        )
    if request.daily_cycle:
        warnings.append(
            "A daily cycle looks like drift to a window that covers part of a day, so only whole days are "
            "recommended. Fit the baseline on whole days as well, and on whole weeks if weekends differ."
        )
    if sensitivity.counts_inflation == sensitivity.means_inflation == 1:
        warnings.append(
            "The plan assumes independent events. If events arrive in related bursts, windows vary more and "
            "need more events: set --dispersion, which is at most the size of a burst."
        )
    return warnings


def _explain_no_window(plan: Plan) -> str:
    request, longest = plan.request, plan.candidates[-1]
    if longest.least_count is None:
        unlimited = replace(request.sensitivity, baseline_count=math.inf)
        count = unlimited.least_count(longest.level, request.js_divergence, request.mean_shift) or 0
        return (
            f"The baseline counts too few events: against {request.sensitivity.baseline_count:,} no window "
            f"of any length finds the smallest drift with {POWER:.0%} power. Fit a baseline that counts "
            f"{_BASELINE_RATIO * count:,} or more, or look for larger drift."
        )
    return (
        f"No window is long enough: {longest.least_count:,} events are needed, and "
        f"{format_duration(longest.size_ms)} contain {longest.count:,}. Look for larger drift: "
        f"--smallest-divergence, --smallest-shift."
    )
