"""Window lengths for the traffic of a stream, and the power of their tests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from driftgauge.baseline.artifact import Baseline
from driftgauge.core.counting.projection import MAX_COMPONENTS
from driftgauge.core.statistics.budget import window_level
from driftgauge.core.statistics.power import Sensitivity
from driftgauge.errors import ConfigError

__all__ = ["ClusterNeed", "Plan", "PlanRequest", "WindowCandidate", "make_plan", "resolve_sensitivity"]

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS

# The longest is a week, which contains the daily and the weekly cycle.
_SIZES_MS = (_HOUR_MS // 12, _HOUR_MS // 4, _HOUR_MS, 6 * _HOUR_MS, _DAY_MS, 7 * _DAY_MS)

_DEFAULT_CLUSTERS = 20
_COMPARED_CLUSTERS = (5, 10, 20, 50)


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
class WindowCandidate:
    """Windows of one size, and the power of their tests.

    Attributes:
        size_ms: The size, ms.
        count: The events in a window.
        level: The significance level of a window.
        noise_floor: The expected base-2 divergence without drift; None for too few events.
        least_js_divergence: The least divergence found with the target power; None where there is none.
        least_mean_shift: The least shift found with the target power; None where there is none.
        js_divergence_power: Power of the histogram's test at the smallest divergence worth finding.
        mean_shift_power: Power of the mean's test at the smallest shift worth finding.
        least_count: The events needed to find both with the target power; None where no count suffices.
    """

    size_ms: int
    count: int
    level: float
    noise_floor: float | None
    least_js_divergence: float | None
    least_mean_shift: float | None
    js_divergence_power: float
    mean_shift_power: float
    least_count: int | None

    @property
    def is_enough(self) -> bool:
        """Whether a window finds both with the target power."""
        return self.least_count is not None and self.count >= self.least_count


@dataclass(frozen=True, slots=True)
class ClusterNeed:
    """The events and the window that a number of clusters needs.

    Attributes:
        clusters: k.
        least_count: The events with which the histogram finds the smallest divergence worth finding, at
            the level of the recommended window, or else of the longest; None where no count suffices.
        size_ms: The shortest sufficient window, ms; None where there is none.
    """

    clusters: int
    least_count: int | None
    size_ms: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Candidate windows for a request, and the recommended one.

    Attributes:
        request: The input.
        candidates: The windows considered, the shortest first.
        recommended: The shortest sufficient window; None where there is none.
        needs: The needs of several numbers of clusters, including the requested one, the fewest first.
    """

    request: PlanRequest
    candidates: tuple[WindowCandidate, ...]
    recommended: WindowCandidate | None
    needs: tuple[ClusterNeed, ...]


def resolve_sensitivity(
    baseline: Baseline | None,
    *,
    clusters: int | None,
    components: int | None,
    baseline_count: int | None,
    dispersion: float | None,
) -> Sensitivity:
    """Return the sensitivity of windows against a fitted baseline, or against a planned one.

    Args:
        baseline: A fitted baseline.
        clusters: k, 2 or more; 20 unless given.
        components: r, 1 or more; 32 unless given.
        baseline_count: m, 1 or more; unlimited unless given.
        dispersion: The overdispersion of counts and means, 1 or more, in place of the baseline's; 1 where
            both are unknown.

    Raises:
        ConfigError: Options repeat what the given baseline already states.
    """
    if baseline is None:
        given = Sensitivity(
            clusters or _DEFAULT_CLUSTERS, components or MAX_COMPONENTS, baseline_count or math.inf
        )
    else:
        stated = {"clusters": clusters, "components": components, "baseline-count": baseline_count}
        repeated = [f"--{name}" for name, value in stated.items() if value is not None]
        if repeated:
            message = f"--baseline already sets {', '.join(repeated)}; remove --baseline or these options"
            raise ConfigError(message)
        metadata = baseline.metadata
        given = Sensitivity.of(
            metadata.clusters,
            len(baseline.variances),
            metadata.reference_count,
            baseline.overdispersion,
            metadata.mean_count,
        )
    if dispersion is None:
        return given
    return replace(given, counts_inflation=dispersion, means_inflation=dispersion)


def make_plan(request: PlanRequest) -> Plan:
    """Return the candidate windows for a request, and the recommended one."""
    candidates = tuple(_candidate(request, size_ms) for size_ms in _SIZES_MS)
    recommended = _shortest(request, candidates)
    needs = _needs(request, (recommended or candidates[-1]).level)
    return Plan(request, candidates, recommended, needs)


def _candidate(request: PlanRequest, size_ms: int) -> WindowCandidate:
    sensitivity = request.sensitivity
    count = int(request.events_per_hour * size_ms / _HOUR_MS)
    level = window_level(request.false_pages_per_year / request.streams, [size_ms])
    least_count = sensitivity.least_count(level, request.js_divergence, request.mean_shift)
    if count == 0:
        return WindowCandidate(size_ms, 0, level, None, None, None, 0.0, 0.0, least_count)
    noise_floor = sensitivity.noise_floor(count)
    least_js_divergence = sensitivity.least_js_divergence(count, level)
    least_mean_shift = sensitivity.least_mean_shift(count, level)
    return WindowCandidate(
        size_ms=size_ms,
        count=count,
        level=level,
        # A divergence is at most 1; above, the series expansion is not valid.
        noise_floor=noise_floor if noise_floor <= 1 else None,
        least_js_divergence=least_js_divergence if least_js_divergence <= 1 else None,
        least_mean_shift=least_mean_shift if least_mean_shift < math.inf else None,
        js_divergence_power=sensitivity.js_divergence_power(count, level, request.js_divergence),
        mean_shift_power=sensitivity.mean_shift_power(count, level, request.mean_shift),
        least_count=least_count,
    )


def _shortest(request: PlanRequest, candidates: Sequence[WindowCandidate]) -> WindowCandidate | None:
    """Return the shortest sufficient window; with a daily cycle only whole days qualify."""
    return next(
        (
            candidate
            for candidate in candidates
            if candidate.is_enough and not (request.daily_cycle and candidate.size_ms % _DAY_MS)
        ),
        None,
    )


def _needs(request: PlanRequest, level: float) -> tuple[ClusterNeed, ...]:
    needs = []
    for clusters in sorted({*_COMPARED_CLUSTERS, request.sensitivity.clusters}):
        sensitivity = replace(request.sensitivity, clusters=clusters)
        other = replace(request, sensitivity=sensitivity)
        shortest = _shortest(other, [_candidate(other, size_ms) for size_ms in _SIZES_MS])
        count = sensitivity.least_js_divergence_count(level, request.js_divergence)
        needs.append(ClusterNeed(clusters, count, None if shortest is None else shortest.size_ms))
    return tuple(needs)
