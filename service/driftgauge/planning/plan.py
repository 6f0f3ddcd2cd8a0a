"""From the traffic to the windows that suit it, and to what they can find."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from driftgauge.baseline.artifact import Baseline
from driftgauge.core.counting.projection import MAX_COMPONENTS
from driftgauge.core.statistics.budget import window_level
from driftgauge.core.statistics.power import Sensitivity
from driftgauge.errors import ConfigError

__all__ = ["Candidate", "ClusterNeed", "Plan", "Request", "make_plan", "sensitivity_of"]

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS

# From a quick look to a week, which holds every day's and every weekday's habits.
_SIZES_MS = (_HOUR_MS // 12, _HOUR_MS // 4, _HOUR_MS, 6 * _HOUR_MS, _DAY_MS, 7 * _DAY_MS)

_CLUSTERS = 20
_FEWER_CLUSTERS = (5, 10, 20, 50)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked.

    Attributes:
        events_per_hour: The traffic of one stream, above 0.
        sensitivity: What the windows are judged by.
        js_divergence: The smallest base-2 divergence worth finding, above 0, 1 at most.
        mean_shift: The smallest shift worth finding, its Mahalanobis length squared, above 0.
        false_pages_per_year: The alarm budget over all streams, above 0.
        streams: How many streams share it, with windows of one size each.
        daily_cycle: The traffic is another at night than by day.
    """

    events_per_hour: float
    sensitivity: Sensitivity
    js_divergence: float
    mean_shift: float
    false_pages_per_year: float
    streams: int
    daily_cycle: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """What windows of one size can do.

    Attributes:
        size_ms: The size, ms.
        count: The events in a window.
        level: The level of a window.
        noise_floor: The base-2 divergence to expect without drift; None for next to no events.
        least_js_divergence: The least divergence found with the power promised; None where none is.
        least_mean_shift: The least shift found so; None where none is.
        js_divergence_power: How often the histogram finds the smallest divergence worth finding.
        mean_shift_power: How often the mean finds the smallest shift worth finding.
        least_count: The events needed to find both with the power promised; None where none suffices.
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
        """Whether a window finds both with the power promised."""
        return self.least_count is not None and self.count >= self.least_count


@dataclass(frozen=True, slots=True)
class ClusterNeed:
    """What a number of clusters costs.

    Attributes:
        clusters: k.
        least_count: The events with which the histogram finds the smallest divergence worth finding, at
            the level of the window recommended, or of the longest; None where none suffices.
        size_ms: The shortest window that suits; None where none does.
    """

    clusters: int
    least_count: int | None
    size_ms: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer.

    Attributes:
        request: What was asked.
        candidates: The windows considered, the shortest first.
        recommended: The shortest that suits; None where none does.
        needs: What several numbers of clusters cost, the one asked for among them, the fewest first.
    """

    request: Request
    candidates: tuple[Candidate, ...]
    recommended: Candidate | None
    needs: tuple[ClusterNeed, ...]


def sensitivity_of(
    baseline: Baseline | None,
    *,
    clusters: int | None,
    components: int | None,
    baseline_count: int | None,
    dispersion: float | None,
) -> Sensitivity:
    """Return what windows are judged by: as a baseline is, or as one is meant to be.

    Args:
        baseline: A fitted baseline.
        clusters: k, 2 or more; 20 unless given.
        components: r, 1 or more; 32 unless given.
        baseline_count: m, 1 or more; unlimited unless given.
        dispersion: The overdispersion, 1 or more, of counts and means alike, whatever is known of
            the baseline's; 1 where neither is known.

    Raises:
        ConfigError: A baseline is given and something that it says itself as well.
    """
    if baseline is None:
        given = Sensitivity(clusters or _CLUSTERS, components or MAX_COMPONENTS, baseline_count or math.inf)
    else:
        itself = {"clusters": clusters, "components": components, "baseline-count": baseline_count}
        twice = [f"--{name}" for name, value in itself.items() if value is not None]
        if twice:
            message = f"the baseline says what {', '.join(twice)} would; leave out either --baseline or these"
            raise ConfigError(message)
        metadata = baseline.metadata
        given = Sensitivity.of(
            metadata.clusters, len(baseline.variances), metadata.reference_count, baseline.overdispersion
        )
    if dispersion is None:
        return given
    return replace(given, counts_inflation=dispersion, means_inflation=dispersion)


def make_plan(request: Request) -> Plan:
    """Return which windows suit the traffic and what they can find."""
    candidates = tuple(_candidate(request, size_ms) for size_ms in _SIZES_MS)
    recommended = _shortest(request, candidates)
    needs = _needs(request, (recommended or candidates[-1]).level)
    return Plan(request, candidates, recommended, needs)


def _candidate(request: Request, size_ms: int) -> Candidate:
    sensitivity = request.sensitivity
    count = int(request.events_per_hour * size_ms / _HOUR_MS)
    level = window_level(request.false_pages_per_year / request.streams, [size_ms])
    least_count = sensitivity.least_count(level, request.js_divergence, request.mean_shift)
    if count == 0:
        return Candidate(size_ms, 0, level, None, None, None, 0.0, 0.0, least_count)
    noise_floor = sensitivity.noise_floor(count)
    least_js_divergence = sensitivity.least_js_divergence(count, level)
    least_mean_shift = sensitivity.least_mean_shift(count, level)
    return Candidate(
        size_ms=size_ms,
        count=count,
        level=level,
        # Above 1, which no divergence is, the expansion has left its domain.
        noise_floor=noise_floor if noise_floor <= 1 else None,
        least_js_divergence=least_js_divergence if least_js_divergence <= 1 else None,
        least_mean_shift=least_mean_shift if least_mean_shift < math.inf else None,
        js_divergence_power=sensitivity.js_divergence_power(count, level, request.js_divergence),
        mean_shift_power=sensitivity.mean_shift_power(count, level, request.mean_shift),
        least_count=least_count,
    )


def _shortest(request: Request, candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the shortest window that suits; of whole days where the traffic has a daily cycle."""
    return next(
        (
            candidate
            for candidate in candidates
            if candidate.is_enough and not (request.daily_cycle and candidate.size_ms % _DAY_MS)
        ),
        None,
    )


def _needs(request: Request, level: float) -> tuple[ClusterNeed, ...]:
    needs = []
    for clusters in sorted({*_FEWER_CLUSTERS, request.sensitivity.clusters}):
        sensitivity = replace(request.sensitivity, clusters=clusters)
        other = replace(request, sensitivity=sensitivity)
        suits = _shortest(other, [_candidate(other, size_ms) for size_ms in _SIZES_MS])
        count = sensitivity.least_js_divergence_count(level, request.js_divergence)
        needs.append(ClusterNeed(clusters, count, None if suits is None else suits.size_ms))
    return tuple(needs)
