"""Plans: candidate windows, the recommended one, the sensitivity they use, and their text."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.cli.printing import render
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.sensitivity import Sensitivity
from driftgauge.planning import PlanRequest, describe, make_plan, resolve_sensitivity
from tests.builders.baselines import build_baseline
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS
from tests.examples import examples


def build_request(
    events_per_hour: float = 1_000, *, clusters: int = 20, baseline_count: float = math.inf, **fields: Any
) -> PlanRequest:
    """Return a request of one stream; `fields` replace its fields."""
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


SIZES_MS = [5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS, DAY_MS, 7 * DAY_MS]

# A part of each warning, in the text joined to one line.
NOTHING = "No window is long enough"
SMALL_BASELINE = "The baseline counts too few events"
RATIO = "its sampling error affects every window"
DAILY = "A daily cycle looks like drift"
INDEPENDENT = "The plan assumes independent events"
EVERY = {NOTHING, SMALL_BASELINE, RATIO, DAILY, INDEPENDENT}


def recommended_ms(asked):
    chosen = make_plan(asked).recommended
    return None if chosen is None else chosen.size_ms


def sensitivity(baseline=None, **given):
    every = dict.fromkeys(["clusters", "components", "baseline_count", "overdispersion"])
    return resolve_sensitivity(baseline, **(every | given))


def one_line(plan):
    return " ".join(render(describe(plan)).split())


def test_recommended_window_is_shortest_with_target_power():
    plan = make_plan(build_request(1_000))
    assert [each.size_ms for each in plan.windows] == SIZES_MS
    levels = [each.level for each in plan.windows]
    assert levels == pytest.approx([1 / 105_192, 1 / 35_064, 1 / 8_766, 1 / 1_461, 1 / 365.25, 0.01])
    assert plan.recommended.size_ms == 6 * HOUR_MS
    for each in plan.windows:
        finds_both = each.least_js_divergence <= 0.01 and each.least_mean_shift <= 0.05
        assert each.is_enough == finds_both == (each.size_ms >= 6 * HOUR_MS)


@settings(max_examples=examples(15))
@given(st.floats(0.01, 1e6), st.floats(1, 100), st.integers(2, 100))
def test_more_traffic_never_needs_longer_window(events_per_hour, factor, clusters):
    less = recommended_ms(build_request(events_per_hour, clusters=clusters))
    more = recommended_ms(build_request(events_per_hour * factor, clusters=clusters))
    assert less is None or more <= less


def test_streams_share_alarm_budget():
    alone, shared = make_plan(build_request(streams=1)), make_plan(build_request(streams=10))
    assert shared.windows[2].level == pytest.approx(alone.windows[2].level / 10)
    assert shared.windows[2].least_count > alone.windows[2].least_count


def test_unknown_figures_are_none():
    empty = make_plan(build_request(1)).windows[0]
    assert (empty.count, empty.is_enough) == (0, False)
    assert (empty.noise_floor, empty.least_js_divergence, empty.least_mean_shift) == (None, None, None)
    small = make_plan(build_request(10**6, baseline_count=500)).windows
    assert {each.least_count for each in small} == {None}
    # Divergences above one.
    few = make_plan(build_request(80, clusters=50)).windows[0]
    assert (few.count, few.noise_floor, few.least_js_divergence) == (6, None, None)


def test_sensitivity_is_that_of_options_or_baseline():
    assert sensitivity() == Sensitivity(20, 32, math.inf, 1, 1)
    given = sensitivity(clusters=5, components=8, baseline_count=9_000, overdispersion=1.5)
    assert given == Sensitivity(5, 8, 9_000, 1.5, 1.5, 9_000)
    baseline = build_baseline()
    assert sensitivity(baseline) == Sensitivity(4, 2, 100, 1, 1, mean_count=1_100)
    known = build_baseline(overdispersion=Overdispersion(windows=50, counts=2.2, means=np.diag([4.0, 1.5])))
    assert sensitivity(known) == Sensitivity(4, 2, 100, 2.2, pytest.approx(4), 1_100)
    assert sensitivity(known, overdispersion=3) == Sensitivity(4, 2, 100, 3, 3, 1_100)
    assert sensitivity(known, overdispersion=3, baseline_count=9_000) == Sensitivity(4, 2, 9_000, 3, 3, 9_000)


@pytest.mark.parametrize(
    ("asked", "size_ms", "warnings"),
    [
        (build_request(1_000), 6 * HOUR_MS, {INDEPENDENT}),
        (build_request(1_000, sensitivity=Sensitivity(20, 32, math.inf, 1.5, 2)), 6 * HOUR_MS, set()),
        (build_request(10**6), 5 * MINUTE_MS, {INDEPENDENT}),
        (build_request(1_000, baseline_count=119_999), 6 * HOUR_MS, {RATIO, INDEPENDENT}),
        (build_request(1_000, baseline_count=120_000), 6 * HOUR_MS, {INDEPENDENT}),
        (build_request(10**6, daily_cycle=True), DAY_MS, {DAILY, INDEPENDENT}),
        (build_request(10, daily_cycle=True), 7 * DAY_MS, {DAILY, INDEPENDENT}),
        (build_request(1), None, {NOTHING, INDEPENDENT}),
        (build_request(10**6, baseline_count=500), None, {SMALL_BASELINE, INDEPENDENT}),
    ],
)
def test_plan_recommends_a_window_and_gives_exactly_expected_warnings(asked, size_ms, warnings):
    plan = make_plan(asked)
    text = one_line(plan)
    assert recommended_ms(asked) == size_ms
    assert {warning for warning in EVERY if warning in text} == warnings
    assert len(plan.warnings) == len(warnings)


def test_warning_of_small_baseline_names_sufficient_count():
    text = one_line(make_plan(build_request(10**6, baseline_count=500)))
    count = int(text.partition("Fit a baseline that counts ")[2].split()[0].replace(",", ""))
    assert make_plan(build_request(10**6, baseline_count=count)).recommended is not None


@pytest.mark.parametrize(
    "asked", [build_request(1_000), build_request(10**9, clusters=1_000, baseline_count=500)]
)
def test_text_fits_terminal(snapshot, asked):
    text = render(describe(make_plan(asked)), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert text == snapshot
