"""Plans: candidate windows, the recommended one, the baseline they are planned against, and their text."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.api import score_vectors
from driftgauge.cli.printing import render
from driftgauge.core.judging.scoring import least_drift
from driftgauge.core.statistics import registry
from driftgauge.recorded.planning import Plan, PlanRequest, describe, make_plan, resolve_reference
from tests.builders.baselines import build_baseline, fit
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS
from tests.examples import examples

SMALLEST = {each.name: each.smallest for each in registry.STATISTICS}


def plan(events_per_hour: float = 1_000, baseline=None, smallest=None, **fields: Any) -> Plan:
    """Return the plan of one stream; `fields` replace those of the request or of the planned baseline."""
    asked = {"false_pages_per_year": 1, "streams": 1, "daily_cycle": False}
    asked |= {name: fields.pop(name) for name in asked if name in fields}
    request = PlanRequest(events_per_hour, SMALLEST | (smallest or {}), **asked)
    return make_plan(request, resolve_reference(baseline, **fields))


SIZES_MS = [5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS, DAY_MS, 7 * DAY_MS]

# A part of each warning, in the text joined to one line.
NOTHING = "None of these windows finds the smallest drift of"
SMALL_BASELINE = "No window of any length finds the smallest drift of"
RATIO = "its sampling error affects every window"
DAILY = "A daily cycle looks like drift"
INDEPENDENT = "The plan assumes independent events"
UNTESTED = "The plan leaves out spread, duplicates, relations"


def recommended_ms(plan):
    return None if plan.recommended is None else plan.recommended.size_ms


def one_line(plan):
    return " ".join(render(describe(plan)).split())


def test_recommended_window_is_shortest_with_target_power():
    found = plan(1_000)
    assert [each.size_ms for each in found.windows] == SIZES_MS
    levels = [each.level for each in found.windows]
    assert levels == pytest.approx([1 / 105_192, 1 / 35_064, 1 / 8_766, 1 / 1_461, 1 / 365.25, 0.01])
    assert found.recommended.size_ms == 6 * HOUR_MS
    for each in found.windows:
        finds_all = all(size <= SMALLEST[name] for name, size in each.least.items())
        assert each.is_enough == finds_all == (each.size_ms >= 6 * HOUR_MS)


@settings(max_examples=examples(10))
@given(st.integers(2, 100), st.one_of(st.none(), st.integers(100, 10**6)), st.floats(1, 5))
def test_events_needed_are_the_fewest(clusters, baseline_count, overdispersion):
    asked = {"clusters": clusters, "baseline_count": baseline_count, "overdispersion": overdispersion}
    reference = resolve_reference(None, **asked)
    for each in plan(1_000, **asked).windows[::2]:
        counts = [2**40] if each.least_count is None else [each.least_count - 1, each.least_count]
        finds_all = [
            all(size <= SMALLEST[name] for name, size in least_drift(reference, n, each.level).items())
            for n in counts
        ]
        assert finds_all == [False, True][: len(counts)]


@settings(max_examples=examples(10))
@given(st.floats(0.01, 1e6), st.floats(1, 100), st.integers(2, 100))
def test_more_traffic_never_needs_longer_window(events_per_hour, factor, clusters):
    less = recommended_ms(plan(events_per_hour, clusters=clusters))
    more = recommended_ms(plan(events_per_hour * factor, clusters=clusters))
    assert less is None or more <= less


def test_streams_share_alarm_budget():
    alone, shared = plan(streams=1), plan(streams=10)
    assert shared.windows[2].level == pytest.approx(alone.windows[2].level / 10)
    assert shared.windows[2].least_count > alone.windows[2].least_count


def test_longer_windows_of_any_traffic_find_less():
    for name in ("js_divergence", "mean_shift", "novelty"):
        sizes = [each.least[name] for each in plan(1e9).windows]
        assert sizes == sorted(sizes, reverse=True)
        assert 0 < sizes[-1] < sizes[0] < 1e-4


def test_sizes_that_no_window_finds_are_infinite():
    empty = plan(1).windows[0]
    assert (empty.count, empty.is_enough, set(empty.least.values())) == (0, False, {math.inf})
    assert {each.least_count for each in plan(10**6, baseline_count=500).windows} == {None}
    # Divergences above one.
    few = plan(80, clusters=50).windows[0]
    assert (few.count, few.least["js_divergence"]) == (6, math.inf)


VECTORS = np.random.default_rng(0).standard_normal((4_000, 8)).astype(np.float32)
FITTED = fit(VECTORS)


def test_windows_against_fitted_baseline_find_what_their_scores_say():
    # Weeks of a thousand events, at the level of `score_vectors`.
    week = plan(1_000.01 / 168, FITTED).windows[5]
    assert (week.count, week.level) == (1_000, 0.01)
    assert week.least == pytest.approx(score_vectors(FITTED, VECTORS[:1_000]).detectable)


def test_events_needed_are_found_though_larger_windows_see_fewer_duplicates():
    # A budget that large gives windows of every size the largest level.
    least = least_drift(resolve_reference(FITTED), 2_000, 0.01)["duplicates"]
    assert least < least_drift(resolve_reference(FITTED), 20_000, 0.01)["duplicates"]
    smallest = dict.fromkeys(SMALLEST, 1.0) | {"duplicates": least}
    windows = plan(2_000, FITTED, smallest, false_pages_per_year=1e6).windows
    assert {each.level for each in windows} == {0.01}
    assert windows[2].is_enough
    assert all(1_000 < each.least_count <= 2_000 for each in windows)


def test_planned_baseline_is_that_of_options():
    reference = resolve_reference(None)
    assert (reference.centroids.clusters, reference.components, reference.overdispersion) == (20, 32, None)
    given = resolve_reference(None, clusters=7, components=8, baseline_count=9_000, overdispersion=1.5)
    assert given.counts.tolist() == [1_286] * 5 + [1_285] * 2
    assert (given.mean_count, given.components, given.overdispersion.counts) == (9_000, 8, 1.5)
    assert given.overdispersion.largest_mean == 1.5
    related = resolve_reference(build_baseline(), overdispersion=3)
    assert (related.counts.sum(), related.overdispersion.counts) == (100, 3)
    spread, duplicates = (related.overdispersion.of(name, 1).tolist() for name in ("spread", "duplicates"))
    assert (spread, duplicates) == ([3, 3, 3], [1])


@pytest.mark.parametrize(
    ("asked", "size_ms", "warnings"),
    [
        ({}, 6 * HOUR_MS, {INDEPENDENT, UNTESTED}),
        ({"overdispersion": 1.5}, 6 * HOUR_MS, {UNTESTED}),
        ({"events_per_hour": 10**6}, 5 * MINUTE_MS, {INDEPENDENT, UNTESTED}),
        ({"baseline_count": 119_999}, 6 * HOUR_MS, {RATIO, INDEPENDENT, UNTESTED}),
        ({"baseline_count": 120_000}, 6 * HOUR_MS, {INDEPENDENT, UNTESTED}),
        ({"baseline": FITTED}, 6 * HOUR_MS, {RATIO, INDEPENDENT}),
        ({"events_per_hour": 10**6, "daily_cycle": True}, DAY_MS, {DAILY, INDEPENDENT, UNTESTED}),
        ({"events_per_hour": 10, "daily_cycle": True}, 7 * DAY_MS, {DAILY, INDEPENDENT, UNTESTED}),
        ({"events_per_hour": 1}, None, {NOTHING, INDEPENDENT, UNTESTED}),
        ({"smallest": {"novelty": 1e-4}}, None, {f"{NOTHING} novelty:", INDEPENDENT, UNTESTED}),
        (
            {"events_per_hour": 10**6, "baseline_count": 500, "smallest": {"novelty": 0.5}},
            None,
            {f"{SMALL_BASELINE} divergence, mean shift against", INDEPENDENT, UNTESTED},
        ),
    ],
)
def test_plan_recommends_a_window_and_gives_exactly_expected_warnings(asked, size_ms, warnings):
    found = plan(**asked)
    text = one_line(found)
    assert recommended_ms(found) == size_ms
    assert [warning for warning in warnings if warning not in text] == []
    assert len(found.warnings) == len(warnings)


@pytest.mark.parametrize("asked", [{}, {"events_per_hour": 10**4, "clusters": 1_000, "baseline_count": 500}])
def test_text_fits_terminal(snapshot, asked):
    text = render(describe(plan(**asked)), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert text == snapshot
