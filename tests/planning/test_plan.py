"""Plans: candidate windows, the recommended one, and the sensitivity they use."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.power import Sensitivity
from driftgauge.core.statistics.target_power import POWER
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


def test_recommended_window_is_shortest_with_target_power():
    plan = make_plan(build_request(1_000))
    assert [candidate.size_ms for candidate in plan.candidates] == SIZES_MS
    levels = [candidate.level for candidate in plan.candidates]
    assert levels == pytest.approx([1 / 105_192, 1 / 35_064, 1 / 8_766, 1 / 1_461, 1 / 365.25, 0.01])
    assert plan.recommended.size_ms == 6 * HOUR_MS
    for candidate in plan.candidates:
        weakest = min(candidate.js_divergence_power, candidate.mean_shift_power)
        assert candidate.is_enough == (weakest >= POWER) == (candidate.size_ms >= 6 * HOUR_MS)
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


@pytest.mark.parametrize(
    ("asked", "size_ms"),
    [
        (build_request(10**6), 5 * MINUTE_MS),
        (build_request(10**6, daily_cycle=True), DAY_MS),
        (build_request(10, daily_cycle=True), 7 * DAY_MS),
        (build_request(1), None),
        (build_request(10**6, baseline_count=500), None),
    ],
)
def test_recommended_window_follows_traffic_cycle_and_baseline(asked, size_ms):
    assert recommended_ms(asked) == size_ms


def test_unknown_figures_are_none():
    empty = make_plan(build_request(1)).candidates[0]
    assert (empty.count, empty.js_divergence_power, empty.mean_shift_power) == (0, 0, 0)
    assert (empty.noise_floor, empty.least_js_divergence, empty.least_mean_shift) == (None, None, None)
    small = make_plan(build_request(10**6, baseline_count=500)).candidates
    assert {candidate.least_count for candidate in small} == {None}
    # Divergences above one.
    few = make_plan(build_request(80, clusters=50)).candidates[0]
    assert (few.count, few.noise_floor, few.least_js_divergence) == (6, None, None)


def test_needs_compare_requested_clusters_with_others():
    needs = make_plan(build_request(1_310, clusters=60)).needs
    assert [need.clusters for need in needs] == [5, 10, 20, 50, 60]
    counts = [need.least_count for need in needs]
    assert counts == sorted(set(counts))
    assert [need.size_ms for need in needs] == [HOUR_MS] * 4 + [6 * HOUR_MS]


def test_sensitivity_is_that_of_options_or_baseline():
    assert sensitivity() == Sensitivity(20, 32, math.inf, 1, 1)
    given = sensitivity(clusters=5, components=8, baseline_count=9_000, dispersion=1.5)
    assert given == Sensitivity(5, 8, 9_000, 1.5, 1.5)
    baseline = build_baseline()
    assert sensitivity(baseline) == Sensitivity(4, 2, 100, 1, 1, mean_count=1_100)
    known = build_baseline(overdispersion=Overdispersion(windows=50, counts=2.2, means=np.diag([4.0, 1.5])))
    assert sensitivity(known) == Sensitivity(4, 2, 100, 2.2, pytest.approx(4), 1_100)
    assert sensitivity(known, dispersion=3) == Sensitivity(4, 2, 100, 3, 3, 1_100)
