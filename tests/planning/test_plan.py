"""Plans: candidate windows, the recommended one, and the sensitivity they use."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.power import Sensitivity
from driftgauge.core.statistics.target_power import POWER
from driftgauge.errors import ConfigError
from driftgauge.planning.plan import make_plan, resolve_sensitivity
from tests.builders.baselines import build_baseline
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS
from tests.builders.plans import build_request
from tests.examples import examples

SIZES_MS = [5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS, DAY_MS, 7 * DAY_MS]


def recommended_ms(asked):
    chosen = make_plan(asked).recommended
    return None if chosen is None else chosen.size_ms


def sensitivity(baseline=None, **given):
    every = dict.fromkeys(["clusters", "components", "baseline_count", "dispersion"])
    return resolve_sensitivity(baseline, **(every | given))


def with_overdispersion(baseline):
    return replace(
        baseline,
        metadata=baseline.metadata.model_copy(update={"window_ms": HOUR_MS}),
        overdispersion=Overdispersion(windows=50, counts=2.2, means=np.diag([4.0, 1.5])),
    )


def test_candidates_span_minutes_to_week_with_count_and_level():
    candidates = make_plan(build_request(1_000)).candidates
    assert [candidate.size_ms for candidate in candidates] == SIZES_MS
    assert [candidate.count for candidate in candidates] == [83, 250, 1_000, 6_000, 24_000, 168_000]
    levels = [candidate.level for candidate in candidates]
    assert levels == pytest.approx([1 / 105_192, 1 / 35_064, 1 / 8_766, 1 / 1_461, 1 / 365.25, 0.01])


def test_recommended_window_is_shortest_with_target_power():
    plan = make_plan(build_request(1_000))
    assert recommended_ms(build_request(1_000)) == 6 * HOUR_MS
    for candidate in plan.candidates:
        weakest = min(candidate.js_divergence_power, candidate.mean_shift_power)
        assert candidate.is_enough == (weakest >= POWER) == (candidate.size_ms >= 6 * HOUR_MS)


def test_least_drift_agrees_with_power_at_smallest_drift():
    for candidate in make_plan(build_request(1_000)).candidates:
        assert (candidate.least_js_divergence <= 0.01) == (candidate.js_divergence_power >= POWER)
        assert (candidate.least_mean_shift <= 0.05) == (candidate.mean_shift_power >= POWER)


@settings(max_examples=examples(15))
@given(st.floats(0.01, 1e6), st.floats(1, 100), st.integers(2, 100))
def test_more_traffic_never_needs_longer_window(events_per_hour, factor, clusters):
    less = recommended_ms(build_request(events_per_hour, clusters=clusters))
    more = recommended_ms(build_request(events_per_hour * factor, clusters=clusters))
    assert less is None or more <= less


def test_streams_share_alarm_budget():
    alone, shared = make_plan(build_request(streams=1)), make_plan(build_request(streams=10))
    assert shared.candidates[2].level == pytest.approx(alone.candidates[2].level / 10)
    assert shared.candidates[2].least_count > alone.candidates[2].least_count


def test_daily_cycle_needs_whole_days():
    assert recommended_ms(build_request(10**6)) == 5 * MINUTE_MS
    assert recommended_ms(build_request(10**6, daily_cycle=True)) == DAY_MS
    assert recommended_ms(build_request(10, daily_cycle=True)) == 7 * DAY_MS


def test_too_little_traffic_has_no_recommended_window():
    plan = make_plan(build_request(1))
    assert plan.recommended is None
    empty = plan.candidates[0]
    assert (empty.count, empty.js_divergence_power, empty.mean_shift_power) == (0, 0, 0)
    assert (empty.noise_floor, empty.least_js_divergence, empty.least_mean_shift) == (None, None, None)


def test_too_small_baseline_has_no_recommended_window():
    plan = make_plan(build_request(10**6, baseline_count=500))
    assert plan.recommended is None
    assert {candidate.least_count for candidate in plan.candidates} == {None}


def test_divergences_above_one_are_none():
    few = make_plan(build_request(80, clusters=50)).candidates[0]
    assert (few.count, few.noise_floor, few.least_js_divergence) == (6, None, None)


def test_needs_compare_requested_clusters_with_others():
    needs = make_plan(build_request(1_310, clusters=60)).needs
    assert [need.clusters for need in needs] == [5, 10, 20, 50, 60]
    counts = [need.least_count for need in needs]
    assert counts == sorted(set(counts))
    assert [need.size_ms for need in needs] == [HOUR_MS] * 4 + [6 * HOUR_MS]


def test_sensitivity_without_baseline_uses_options_or_defaults():
    assert sensitivity() == Sensitivity(20, 32, math.inf, 1, 1)
    given = sensitivity(clusters=5, components=8, baseline_count=9_000, dispersion=1.5)
    assert given == Sensitivity(5, 8, 9_000, 1.5, 1.5)


def test_sensitivity_of_baseline_uses_its_figures():
    baseline = build_baseline()
    assert sensitivity(baseline) == Sensitivity(4, 2, 100, 1, 1, mean_count=1_100)
    assert sensitivity(with_overdispersion(baseline)) == Sensitivity(4, 2, 100, 2.2, pytest.approx(4), 1_100)


def test_given_dispersion_overrides_baseline():
    assert sensitivity(with_overdispersion(build_baseline()), dispersion=3) == Sensitivity(
        4, 2, 100, 3, 3, 1_100
    )


@pytest.mark.parametrize("repeated", [{"clusters": 20}, {"components": 2}, {"baseline_count": 100}])
def test_option_that_repeats_baseline_raises_error(repeated):
    option = next(iter(repeated)).replace("_", "-")
    with pytest.raises(ConfigError, match=f"already sets --{option}; remove --baseline"):
        sensitivity(build_baseline(), **repeated)
