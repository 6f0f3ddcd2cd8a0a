"""Window lengths for the traffic of a stream and the drift worth finding, for `driftgauge plan`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.quality import MIN_RATIO, sensitivity_of
from driftgauge.core.counting.projection import MAX_COMPONENTS
from driftgauge.core.durations import format_duration
from driftgauge.core.statistics.budget import window_level
from driftgauge.core.statistics.power import POWER
from driftgauge.core.statistics.sensitivity import Sensitivity
from driftgauge.layout import Block, Table

__all__ = ["Plan", "PlanRequest", "PlannedWindow", "describe", "make_plan", "resolve_sensitivity"]

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS

# The longest is a week, which contains the daily and the weekly cycle.
_SIZES_MS = (_HOUR_MS // 12, _HOUR_MS // 4, _HOUR_MS, 6 * _HOUR_MS, _DAY_MS, 7 * _DAY_MS)

_DEFAULT_CLUSTERS = 20


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """The input of a plan.

    Attributes:
        events_per_hour: The traffic of one stream, above 0.
        sensitivity: The baseline's figures and the overdispersion, which determine the power.
        js_divergence: The smallest base-2 divergence worth finding, above 0, 1 at most.
        mean_shift: The smallest shift worth finding, as a squared Mahalanobis length, above 0.
        false_pages_per_year: The alarm budget over all streams, above 0.
        streams: The number of streams that share the budget, with windows of one size each.
        daily_cycle: Whether the traffic differs between day and night.
    """

    events_per_hour: float
    sensitivity: Sensitivity
    js_divergence: float
    mean_shift: float
    false_pages_per_year: float
    streams: int
    daily_cycle: bool


@dataclass(frozen=True, slots=True)
class PlannedWindow:
    """Windows of one size, and what their tests find with the target power.

    Attributes:
        size_ms: The size, ms.
        count: The events in a window.
        level: The significance level of a window.
        noise_floor: The expected base-2 divergence without drift; None for too few events.
        least_js_divergence: The least divergence found; None where there is none.
        least_mean_shift: The least shift found; None where there is none.
        least_count: The events needed to find both smallest drifts; None where no count suffices.
        is_enough: Whether a window has so many.
    """

    size_ms: int
    count: int
    level: float
    noise_floor: float | None
    least_js_divergence: float | None
    least_mean_shift: float | None
    least_count: int | None
    is_enough: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """The windows considered for a request, the shortest first, and the recommended one.

    Attributes:
        request: The input.
        windows: The windows.
        recommended: The shortest sufficient window; None where there is none.
        warnings: What the plan cannot promise, each with its remedy.
    """

    request: PlanRequest
    windows: tuple[PlannedWindow, ...]
    recommended: PlannedWindow | None
    warnings: list[str]


def resolve_sensitivity(
    baseline: Baseline | None,
    *,
    clusters: int | None,
    components: int | None,
    baseline_count: int | None,
    overdispersion: float | None,
) -> Sensitivity:
    """Return the sensitivity of windows against a fitted baseline, or against a planned one.

    Args:
        baseline: A fitted baseline; what follows replaces its figures. Without one, k is 20, r is 32, m is
            unlimited, and the overdispersion is 1, unless given.
        clusters: k, 2 or more.
        components: r, 1 or more.
        baseline_count: m, 1 or more.
        overdispersion: The overdispersion of counts and means, 1 or more.
    """
    given = Sensitivity(_DEFAULT_CLUSTERS, MAX_COMPONENTS) if baseline is None else sensitivity_of(baseline)
    stated: dict[str, Any] = {
        "clusters": clusters,
        "components": components,
        "baseline_count": baseline_count,
        "mean_count": baseline_count,
        "counts_overdispersion": overdispersion,
        "means_overdispersion": overdispersion,
    }
    return replace(given, **{name: value for name, value in stated.items() if value is not None})


def make_plan(request: PlanRequest) -> Plan:
    """Return the windows considered for a request, and the recommended one.

    With a daily cycle only whole days qualify.
    """
    windows = tuple(_window(request, size_ms) for size_ms in _SIZES_MS)
    enough = (
        each for each in windows if each.is_enough and not (request.daily_cycle and each.size_ms % _DAY_MS)
    )
    recommended = next(enough, None)
    return Plan(request, windows, recommended, _warnings(request, windows, recommended))


def _window(request: PlanRequest, size_ms: int) -> PlannedWindow:
    sensitivity, count = request.sensitivity, int(request.events_per_hour * size_ms / _HOUR_MS)
    level = window_level(request.false_pages_per_year / request.streams, [size_ms])
    floor = divergence = shift = math.inf
    if count:
        floor = sensitivity.noise_floor(count)
        divergence = sensitivity.least_js_divergence(count, level)
        shift = sensitivity.least_mean_shift(count, level)
    least_count = sensitivity.least_count(level, request.js_divergence, request.mean_shift)
    return PlannedWindow(
        size_ms,
        count,
        level,
        # A divergence is at most 1; above, the series expansion is not valid.
        floor if floor <= 1 else None,
        divergence if divergence <= 1 else None,
        shift if shift < math.inf else None,
        least_count,
        least_count is not None and count >= least_count,
    )


def _warnings(
    request: PlanRequest, windows: Sequence[PlannedWindow], chosen: PlannedWindow | None
) -> list[str]:
    sensitivity, longest, warnings = request.sensitivity, windows[-1], []
    if chosen is None and longest.least_count is None:
        unlimited = replace(sensitivity, baseline_count=math.inf)
        count = unlimited.least_count(longest.level, request.js_divergence, request.mean_shift) or 0
        warnings.append(
            f"The baseline counts too few events: against {sensitivity.baseline_count:,} no window of any "
            f"length finds the smallest drift with {POWER:.0%} power. Fit a baseline that counts "
            f"{MIN_RATIO * count:,} or more, or look for larger drift."
        )
    elif chosen is None:
        warnings.append(
            f"No window is long enough: {longest.least_count:,} events are needed, and "
            f"{format_duration(longest.size_ms)} contain {longest.count:,}. Fit fewer clusters, or look for "
            f"larger drift: --smallest-divergence, --smallest-shift."
        )
    elif sensitivity.baseline_count < MIN_RATIO * chosen.count:
        warnings.append(
            f"The baseline counts {sensitivity.baseline_count / chosen.count:.1f} times the events of a "
            f"{format_duration(chosen.size_ms)} window. Below {MIN_RATIO} times, its sampling "
            f"error affects every window, and false pages may exceed the budget. Fit a baseline that counts "
            f"{MIN_RATIO * chosen.count:,} or more."
        )
    if request.daily_cycle:
        warnings.append(
            "A daily cycle looks like drift to a window that covers part of a day, so only whole days are "
            "recommended. Fit the baseline on whole days as well, and on whole weeks if weekends differ."
        )
    if sensitivity.counts_overdispersion == sensitivity.means_overdispersion == 1:
        warnings.append(
            "The plan assumes independent events. If events arrive in related bursts, windows vary more and "
            "need more events: set --overdispersion, which is at most the size of a burst."
        )
    return warnings


def describe(plan: Plan) -> list[Block]:
    """Return the plan for a terminal: the question, the table of windows, the answer and the warnings."""
    request, sensitivity, chosen = plan.request, plan.request.sensitivity, plan.recommended
    rows = [
        (
            f"{'>' if each is chosen else ' '} {format_duration(each.size_ms)}",
            f"{each.count:,}",
            *(
                "-" if value is None else f"{value:.3g}"
                for value in (each.noise_floor, each.least_js_divergence, each.least_mean_shift)
            ),
            "-" if each.least_count is None else f"{each.least_count:,}",
        )
        for each in plan.windows
    ]
    answer = "Recommended: none of these windows."
    if chosen is not None:
        answer = (
            f"Recommended: windows of {format_duration(chosen.size_ms)}, the shortest with the events "
            f"needed. The baseline should count {MIN_RATIO * chosen.count:,} events or more; a fit counts "
            f"about half of its vectors."
        )
    blocks: list[Block] = [
        f"{request.events_per_hour:,g} events an hour; {sensitivity.clusters:,} clusters and "
        f"{sensitivity.components:,} components; overdispersion {sensitivity.counts_overdispersion:.3g} of "
        f"counts, {sensitivity.means_overdispersion:.3g} of means; false pages a year "
        f"{request.false_pages_per_year:g}, streams {request.streams:,}. Smallest drift: divergence "
        f"{request.js_divergence:g}, mean shift {request.mean_shift:g}.",
        "",
        Table(("  window", "events", "noise floor", "least JSD", "least shift", "events needed"), rows),
        f"  Least: what is found with {POWER:.0%} power. Needed: to find the smallest drift of either kind.",
        "",
        answer,
    ]
    for warning in plan.warnings:
        blocks += ["", warning]
    return blocks
