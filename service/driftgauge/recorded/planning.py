"""Window lengths for the traffic of a stream and the drift worth finding, for `driftgauge plan`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.quality import MIN_RATIO
from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.counting.projection import MAX_COMPONENTS, Projection
from driftgauge.core.durations import format_duration
from driftgauge.core.judging.scoring import least_drift
from driftgauge.core.reference import Reference
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.budget import window_level
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.power import POWER, fewest_events
from driftgauge.layout import Block, Table
from driftgauge.statistic_words import WORDS
from driftgauge.streams import to_reference

__all__ = ["Plan", "PlanRequest", "PlannedWindow", "describe", "make_plan", "resolve_reference"]

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS

# The longest is a week, which contains the daily and the weekly cycle.
_SIZES_MS = (_HOUR_MS // 12, _HOUR_MS // 4, _HOUR_MS, 6 * _HOUR_MS, _DAY_MS, 7 * _DAY_MS)

_DEFAULT_CLUSTERS = 20

# More events than any window has, and far more for a baseline that adds no noise.
_MOST = 2**40
_UNLIMITED = 10**15


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """The input of a plan, beside the baseline.

    Attributes:
        events_per_hour: The traffic of one stream, above 0.
        smallest: The smallest drift worth finding by each statistic's name, in the unit of its size.
        false_pages_per_year: The alarm budget over all streams, above 0.
        streams: The number of streams that share the budget, with windows of one size each.
        daily_cycle: Whether the traffic differs between day and night.
    """

    events_per_hour: float
    smallest: Mapping[str, float]
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
        least: The least drift found, by the name of each statistic tested; infinity if none is found.
        is_enough: Whether that is no larger than the smallest worth finding, of every statistic.
        least_count: The events needed for that; None if no count suffices.
    """

    size_ms: int
    count: int
    level: float
    least: dict[str, float]
    is_enough: bool
    least_count: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The windows considered for a request, the shortest first, and the recommended one.

    Attributes:
        request: The input.
        clusters: The baseline's clusters.
        components: Its components.
        windows: The windows.
        recommended: The shortest window with the events needed; None if there is none.
        warnings: What the plan cannot promise, each with its remedy.
    """

    request: PlanRequest
    clusters: int
    components: int
    windows: tuple[PlannedWindow, ...]
    recommended: PlannedWindow | None
    warnings: list[str]


def resolve_reference(
    baseline: Baseline | None,
    *,
    clusters: int | None = None,
    components: int | None = None,
    baseline_count: int | None = None,
    overdispersion: float | None = None,
) -> Reference:
    """Return the reference of a fitted baseline, or one of a planned baseline.

    The latter has no arrays: the statistics that need any are not planned.

    Args:
        baseline: The fitted baseline; None: it is planned.
        clusters: k of a planned baseline, of equal counts, 2 or more; None: 20.
        components: r of a planned baseline, 1 or more; None: 32.
        baseline_count: m of a planned baseline, 2 or more; None: unlimited.
        overdispersion: The overdispersion of all but repetition, 1 or more; None: the baseline's.
    """
    if baseline is not None:
        reference = to_reference(baseline)
    else:
        k, r = clusters or _DEFAULT_CLUSTERS, components or MAX_COMPONENTS
        m = min(baseline_count or _UNLIMITED, _UNLIMITED)
        reference = Reference(
            baseline_id="",
            centroids=Centroids(np.zeros((k, r), np.float32), DistanceMetric.EUCLIDEAN),
            counts=m // k + (np.arange(k) < m % k),
            mean_count=m,
            covariance_count=m,
            radii=np.zeros(k, np.float32),
            projection=Projection(np.zeros(r), np.eye(r, dtype=np.float32), np.ones(r)),
            cluster_means=np.zeros((k, r)),
            mean=np.zeros(r),
            arrays={},
            overdispersion=None,
            overdispersion_ms=None,
            segments=(),
        )
    if overdispersion is None:
        return reference
    others = {
        each.name: np.full(each.variances, overdispersion)
        for each in registry.STATISTICS
        if not each.is_within_windows
    }
    means = overdispersion * np.eye(reference.components)
    return replace(reference, overdispersion=Overdispersion(math.inf, overdispersion, means, others))


def make_plan(request: PlanRequest, reference: Reference) -> Plan:
    """Return the windows considered for a request against a baseline, and the recommended one.

    With a daily cycle only whole days qualify.
    """
    windows = tuple(_window(request, reference, size_ms) for size_ms in _SIZES_MS)
    enough = (
        each for each in windows if each.is_enough and not (request.daily_cycle and each.size_ms % _DAY_MS)
    )
    recommended = next(enough, None)
    return Plan(
        request=request,
        clusters=reference.centroids.clusters,
        components=reference.components,
        windows=windows,
        recommended=recommended,
        warnings=_warnings(request, reference, windows[-1], recommended),
    )


def _window(request: PlanRequest, reference: Reference, size_ms: int) -> PlannedWindow:
    count = int(min(request.events_per_hour * size_ms / _HOUR_MS, _MOST))
    level = window_level(request.false_pages_per_year / request.streams, [size_ms])
    found = least_drift(reference, max(count, 1), level)
    least = found if count else dict.fromkeys(found, math.inf)
    return PlannedWindow(
        size_ms, count, level, least, not _unseen(request, least), _least_count(request, reference, level)
    )


def _least_count(request: PlanRequest, reference: Reference, level: float) -> int | None:
    """Return the fewest events with which windows find the smallest drift of every statistic."""

    def is_enough(count: int) -> bool:
        return not _unseen(request, least_drift(reference, count, level))

    return fewest_events(is_enough)


def _unseen(request: PlanRequest, least: Mapping[str, float]) -> list[str]:
    """Return the titles of the statistics whose smallest drift worth finding is below the least found."""
    return [
        WORDS[each.name].title
        for each in registry.STATISTICS
        if each.name in least and least[each.name] > request.smallest[each.name]
    ]


def _warnings(
    request: PlanRequest, reference: Reference, longest: PlannedWindow, chosen: PlannedWindow | None
) -> list[str]:
    baseline_count, warnings = int(reference.counts.sum()), []
    if chosen is None and longest.least_count is None:
        unseen = ", ".join(_unseen(request, least_drift(reference, _MOST, longest.level)))
        warnings.append(
            f"No window of any length finds the smallest drift of {unseen.lower()} against this baseline. "
            f"Look for larger drift, or fit a baseline that counts more events: without --baseline and "
            f"--baseline-count the plan says how many."
        )
    elif chosen is None:
        unseen = ", ".join(_unseen(request, longest.least))
        warnings.append(
            f"None of these windows finds the smallest drift of {unseen.lower()}: {longest.least_count:,} "
            f"events are needed. Look for larger drift, or fit fewer clusters."
        )
    elif baseline_count < MIN_RATIO * chosen.count:
        warnings.append(
            f"The baseline counts {baseline_count / chosen.count:.1f} times the events of a "
            f"{format_duration(chosen.size_ms)} window. Below {MIN_RATIO} times, its sampling "
            f"error affects every window, and false pages may exceed the budget. Fit a baseline that counts "
            f"{MIN_RATIO * chosen.count:,} or more."
        )
    if request.daily_cycle:
        warnings.append(
            "A daily cycle looks like drift to a window that covers part of a day, so only whole days are "
            "recommended. Fit the baseline on whole days as well, and on whole weeks if weekends differ."
        )
    if reference.overdispersion is None:
        warnings.append(
            "The plan assumes independent events. If events arrive in related bursts, windows vary more and "
            "need more events: set --overdispersion, which is at most the size of a burst."
        )
    fitted = registry.fitted(reference.arrays)
    untested = ", ".join(WORDS[each.name].title for each in registry.STATISTICS if each not in fitted)
    if untested:
        warnings.append(
            f"The plan leaves out {untested.lower()}: what windows find of these depends on the baseline's "
            f"vectors. Fit it, and name it with --baseline."
        )
    return warnings


def describe(plan: Plan) -> list[Block]:
    """Return the plan for a terminal: the question, the table of windows, the answer and the warnings."""
    request, chosen = plan.request, plan.recommended
    columns = [
        (
            f"{'> ' if each is chosen else ''}{format_duration(each.size_ms)}",
            f"{each.count:,}",
            *("-" if size == math.inf else f"{size:.3g}" for size in each.least.values()),
            "-" if each.least_count is None else f"{each.least_count:,}",
        )
        for each in plan.windows
    ]
    planned = [each for each in registry.STATISTICS if each.name in plan.windows[0].least]
    names = ("  window", "  events", *(f"  {WORDS[each.name].title}" for each in planned), "  events needed")
    smallest = ("smallest", "", *(f"{request.smallest[each.name]:g}" for each in planned), "")
    headings, *rows = zip(names, smallest, *columns, strict=True)
    answer = "Recommended: none of these windows."
    if chosen is not None:
        answer = (
            f"Recommended: windows of {format_duration(chosen.size_ms)}, the shortest with the events "
            f"needed. The baseline should count {MIN_RATIO * chosen.count:,} events or more; a fit counts "
            f"about half of its vectors."
        )
    blocks: list[Block] = [
        f"{request.events_per_hour:,g} events an hour; {plan.clusters:,} clusters and {plan.components:,} "
        f"components; false pages a year {request.false_pages_per_year:g}, streams {request.streams:,}.",
        "",
        Table(headings, rows),
        f"  Of each window: the least drift that it finds with {POWER:.0%} power. Events needed: to find the "
        f"smallest drift worth finding, of every kind.",
        "",
        answer,
    ]
    for warning in plan.warnings:
        blocks += ["", warning]
    return blocks
