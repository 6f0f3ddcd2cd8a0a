"""From the traffic to windows: the shortest that suits, and what speaks against it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.power import POWER, Sensitivity
from driftgauge.errors import ConfigError
from driftgauge.planning.plan import PlanRequest, make_plan, resolve_sensitivity
from tests.examples import examples
from tests.watched import DAY_MS, HOUR_MS, build_baseline

MINUTE_MS = 60_000
SIZES_MS = [5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS, DAY_MS, 7 * DAY_MS]


def request(events_per_hour=1_000, *, clusters=20, baseline_count=math.inf, **fields):
    return PlanRequest(
        **{
            "events_per_hour": events_per_hour,
            "sensitivity": Sensitivity(clusters, 32, baseline_count),
            "js_divergence": 0.01,
            "mean_shift": 0.05,
            "false_pages_per_year": 1,
            "streams": 1,
            "daily_cycle": False,
            **fields,
        }
    )


def recommended_ms(asked):
    chosen = make_plan(asked).recommended
    return None if chosen is None else chosen.size_ms


def sensitivity(baseline=None, **given):
    every = dict.fromkeys(["clusters", "components", "baseline_count", "dispersion"])
    return resolve_sensitivity(baseline, **(every | given))


def with_dependence(baseline):
    return replace(
        baseline,
        metadata=baseline.metadata.model_copy(update={"window_ms": HOUR_MS}),
        overdispersion=Overdispersion(windows=50, counts=2.2, means=np.diag([4.0, 1.5])),
    )


def test_windows_from_minutes_to_a_week_are_considered_each_with_its_events_and_level():
    candidates = make_plan(request(1_000)).candidates
    assert [candidate.size_ms for candidate in candidates] == SIZES_MS
    assert [candidate.count for candidate in candidates] == [83, 250, 1_000, 6_000, 24_000, 168_000]
    levels = [candidate.level for candidate in candidates]
    assert levels == pytest.approx([1 / 105_192, 1 / 35_064, 1 / 8_766, 1 / 1_461, 1 / 365.25, 0.01])


def test_the_recommended_window_is_the_shortest_with_the_power_promised_for_both_tests():
    plan = make_plan(request(1_000))
    assert recommended_ms(request(1_000)) == 6 * HOUR_MS
    for candidate in plan.candidates:
        weakest = min(candidate.js_divergence_power, candidate.mean_shift_power)
        assert candidate.is_enough == (weakest >= POWER) == (candidate.size_ms >= 6 * HOUR_MS)


def test_what_a_window_just_finds_is_on_the_same_side_of_the_smallest_drift_as_its_power():
    for candidate in make_plan(request(1_000)).candidates:
        assert (candidate.least_js_divergence <= 0.01) == (candidate.js_divergence_power >= POWER)
        assert (candidate.least_mean_shift <= 0.05) == (candidate.mean_shift_power >= POWER)


@settings(max_examples=examples(15))
@given(st.floats(0.01, 1e6), st.floats(1, 100), st.integers(2, 100))
def test_more_traffic_never_takes_a_longer_window(events_per_hour, factor, clusters):
    less = recommended_ms(request(events_per_hour, clusters=clusters))
    more = recommended_ms(request(events_per_hour * factor, clusters=clusters))
    assert less is None or more <= less


def test_streams_share_the_budget():
    alone, shared = make_plan(request(streams=1)), make_plan(request(streams=10))
    assert shared.candidates[2].level == pytest.approx(alone.candidates[2].level / 10)
    assert shared.candidates[2].least_count > alone.candidates[2].least_count


def test_a_daily_cycle_takes_whole_days():
    assert recommended_ms(request(10**6)) == 5 * MINUTE_MS
    assert recommended_ms(request(10**6, daily_cycle=True)) == DAY_MS
    assert recommended_ms(request(10, daily_cycle=True)) == 7 * DAY_MS


def test_too_little_traffic_suits_no_window_and_windows_without_an_event_find_nothing():
    plan = make_plan(request(1))
    assert plan.recommended is None
    empty = plan.candidates[0]
    assert (empty.count, empty.js_divergence_power, empty.mean_shift_power) == (0, 0, 0)
    assert (empty.noise_floor, empty.least_js_divergence, empty.least_mean_shift) == (None, None, None)


def test_too_small_a_baseline_suits_no_window_however_much_the_traffic():
    plan = make_plan(request(10**6, baseline_count=500))
    assert plan.recommended is None
    assert {candidate.least_count for candidate in plan.candidates} == {None}


def test_numbers_that_no_divergence_has_are_not_told():
    few = make_plan(request(80, clusters=50)).candidates[0]
    assert (few.count, few.noise_floor, few.least_js_divergence) == (6, None, None)


def test_several_numbers_of_clusters_are_compared_with_the_one_asked_for():
    needs = make_plan(request(1_180, clusters=60)).needs
    assert [need.clusters for need in needs] == [5, 10, 20, 50, 60]
    counts = [need.least_count for need in needs]
    assert counts == sorted(set(counts))
    assert [need.size_ms for need in needs] == [HOUR_MS] * 4 + [6 * HOUR_MS]


def test_without_a_baseline_the_figures_given_hold_or_the_usual_ones():
    assert sensitivity() == Sensitivity(20, 32, math.inf, 1, 1)
    given = sensitivity(clusters=5, components=8, baseline_count=9_000, dispersion=1.5)
    assert given == Sensitivity(5, 8, 9_000, 1.5, 1.5)


def test_a_baseline_says_its_clusters_components_events_and_overdispersion():
    baseline = build_baseline()
    assert sensitivity(baseline) == Sensitivity(4, 2, 100, 1, 1)
    assert sensitivity(with_dependence(baseline)) == Sensitivity(4, 2, 100, 2.2, pytest.approx(4))


def test_a_dispersion_that_is_given_stands_above_the_baselines():
    assert sensitivity(with_dependence(build_baseline()), dispersion=3) == Sensitivity(4, 2, 100, 3, 3)


@pytest.mark.parametrize("twice", [{"clusters": 20}, {"components": 2}, {"baseline_count": 100}])
def test_what_the_baseline_says_is_not_given_as_well(twice):
    option = next(iter(twice)).replace("_", "-")
    with pytest.raises(ConfigError, match=f"already sets --{option}; remove --baseline"):
        sensitivity(build_baseline(), **twice)
