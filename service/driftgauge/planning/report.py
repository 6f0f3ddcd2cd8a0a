"""Report of a plan, as text for a terminal and as JSON."""

import math
import textwrap
from dataclasses import asdict, replace

from driftgauge.core.durations import format_duration
from driftgauge.core.statistics.budget import MAX_LEVEL
from driftgauge.core.statistics.target_power import POWER
from driftgauge.planning.plan import ClusterNeed, Plan, WindowCandidate

__all__ = ["as_json", "describe"]

# Below this ratio the level holds only on average over baselines, because the sampling error of the one
# baseline affects every window.
_BASELINE_RATIO = 20

_WIDTH = 100


def describe(plan: Plan) -> str:
    """Return the plan as lines for a terminal."""
    sections = [_question(plan), _table(plan), _answer(plan), _needs(plan), *_warnings(plan)]
    return "\n\n".join(section if "\n" in section else textwrap.fill(section, _WIDTH) for section in sections)


def _question(plan: Plan) -> str:
    request, sensitivity = plan.request, plan.request.sensitivity
    baseline = (
        "a baseline with far more events than a window"
        if math.isinf(sensitivity.baseline_count)
        else f"a baseline of {sensitivity.baseline_count:,} events counted"
    )
    facts = {
        "traffic": f"{request.events_per_hour:,g} events an hour",
        "compared by": f"{sensitivity.clusters:,} clusters and {sensitivity.components:,} components, "
        f"against {baseline}",
        "inflation": f"counts {sensitivity.counts_inflation:.3g}, means {sensitivity.means_inflation:.3g} "
        f"(1: independent events)",
        "smallest drift": f"divergence {request.js_divergence:g} (distance "
        f"{math.sqrt(request.js_divergence):.3g}), mean shift {request.mean_shift:g}",
        "budget": f"false pages a year {request.false_pages_per_year:g}, streams {request.streams:,}",
    }
    return "\n".join(f"{name:<16}{value}" for name, value in facts.items())


def _table(plan: Plan) -> str:
    lines = [
        f"{'noise':>42}  least found with {POWER:.0%}   power, smallest drift    events",
        "  window         events    level     floor  divergence      shift   divergence     shift    needed",
    ]
    lines += [_row(candidate, is_chosen=candidate is plan.recommended) for candidate in plan.candidates]
    if plan.candidates[-1].level == MAX_LEVEL:
        lines.append(f"  The level is {MAX_LEVEL:g} at most, even with a larger budget.")
    return "\n".join(lines)


def _row(candidate: WindowCandidate, *, is_chosen: bool) -> str:
    return (
        f"{'>' if is_chosen else ' '} {format_duration(candidate.size_ms):<6}{candidate.count:>15,}"
        f"{candidate.level:>9.1e}{_number(candidate.noise_floor):>10}"
        f"{_number(candidate.least_js_divergence):>12}{_number(candidate.least_mean_shift):>11}"
        f"{candidate.js_divergence_power:>13.0%}{candidate.mean_shift_power:>10.0%}"
        f"{_count(candidate.least_count):>10}"
    )


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


def _needs(plan: Plan) -> str:
    level = (plan.recommended or plan.candidates[-1]).level
    return "\n".join(
        [
            f"Events needed for the smallest divergence at level {level:.1e}, by clusters:",
            "  clusters      events   shortest sufficient window",
            *(
                _need(need, is_asked=need.clusters == plan.request.sensitivity.clusters)
                for need in plan.needs
            ),
        ]
    )


def _need(need: ClusterNeed, *, is_asked: bool) -> str:
    size = "none" if need.size_ms is None else format_duration(need.size_ms)
    return f"{'>' if is_asked else ' '} {need.clusters:>8,}{_count(need.least_count):>12}   {size}"


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
