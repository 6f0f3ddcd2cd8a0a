"""Window scores, the significance and size of windows and segments, and the movers of results."""

import math
from dataclasses import replace
from operator import attrgetter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.counting.projection import SPREAD_STEP
from driftgauge.core.judging.calibration import Calibration, SegmentCalibration, Source
from driftgauge.core.judging.scoring import WindowScorer
from driftgauge.core.judging.verdict import SlowDrift, Verdict
from driftgauge.core.statistics.cusum import threshold
from driftgauge.core.statistics.divergence import MAX_MOVERS, js_contributions
from driftgauge.core.statistics.duplicates import Duplicates
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.spread import Spread, SpreadChange
from tests.builders.batches import build_values, read_tally
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.references import (
    COMPONENTS,
    FIRST,
    RICH,
    build_arrays,
    build_segment_arrays,
    build_segment_reference,
)
from tests.builders.results import build_novelty, build_result, build_score, change_score
from tests.builders.specs import ALARM, build_spec
from tests.core.judging.judged_stream import build_scorer, signs_of, tally

RELATED = Overdispersion(
    200,
    3.0,
    np.diag([4.0, 2.0]),
    {"novelty": np.array([2.0]), "spread": np.array([3.0, 4.0, 2.0]), "duplicates": np.array([5.0])},
)
MOMENTS = (50_000, 1.0, 5.0, 1.0, 4.0), (40_000, 1.2, 0.25, 0.5, 3.5), (50_000, 1.0, 0.05, 0.0, 3.0)


# With the overdispersion or without: fields of the score of one window.
KNOWN = [
    (
        None,
        {
            "js_divergence.js_divergence": 0.000829883104,
            "js_divergence.js_distance": 0.0288076917,
            "js_divergence.noise_floor": 0.000547629081,
            "js_divergence.excess": 0.000282254022,
            "js_divergence.p_value": 0.208073251,
            "mean_shift.t2": 3.38265217,
            "mean_shift.p_value": 0.184187254,
            "mean_shift.centroid_p_value": 0.129952393,
            "novelty.share": 0.011,
            "novelty.excess": 0.000961700273,
            "novelty.p_value": 0.0498197935,
            "spread.components.p_value": 0.399965476,
            "spread.residual.p_value": 1.0,
            "duplicates.share": 0.151883197,
            "duplicates.p_value": 0.3680366,
            "p_value": 0.910342117,
            "detectable.js_divergence": 0.00486767736,
            "detectable.mean_shift": 0.0278661985,
            "detectable.novelty": 0.0190793208,
            "detectable.spread": 0.0679636002,
            "detectable.duplicates": 0.687445641,
        },
    ),
    (
        RELATED,
        {
            "js_divergence.js_divergence": 0.000829883104,
            "js_divergence.noise_floor": 0.00165121097,
            "js_divergence.excess": -0.000821327842,
            "js_divergence.p_value": 0.705873348,
            "mean_shift.t2": 0.8471878,
            "mean_shift.p_value": 0.655040049,
            "mean_shift.centroid_p_value": 0.491149332,
            "novelty.excess": 0.000961700273,
            "novelty.p_value": 0.264405981,
            "spread.components.p_value": 0.623367159,
            "spread.residual.p_value": 1.0,
            "duplicates.p_value": 1.0,
            "p_value": 0.949818077,
            "detectable.js_divergence": 0.0146030321,
            "detectable.mean_shift": 0.111464794,
            "detectable.novelty": 0.0341849238,
            "detectable.spread": 0.141177177,
            "detectable.duplicates": math.inf,
        },
    ),
]


@pytest.mark.parametrize(("overdispersion", "figures"), KNOWN, ids=["independent", "related"])
def test_score_of_known_window(overdispersion, figures):
    """These figures change with the statistics and their weights only."""
    here = tally(430, 280, 200, 90, outliers=11)
    here["spread_sums"][:] = np.rint(np.array([1_060, 1_180, 1_000]) / SPREAD_STEP)
    arrays = build_arrays(RICH.arrays["hash_counts"], MOMENTS)
    reference = replace(RICH, arrays=arrays, mean_count=10_000)
    scored = build_scorer(reference, overdispersion).score(here)
    numbers = SimpleNamespace(**scored.findings, p_value=scored.p_value)
    numbers.detectable = SimpleNamespace(**scored.detectable)
    assert {name: attrgetter(name)(numbers) for name in figures} == pytest.approx(figures, rel=1e-5)
    assert (scored.kind, scored.calibrated) == (None, True)


def divergence(counts, baseline_counts):
    """The scored divergence of two histograms."""
    reference = replace(
        RICH, counts=baseline_counts, cluster_means=np.zeros((len(baseline_counts), COMPONENTS))
    )
    reference = replace(reference, centroids=Centroids(np.eye(len(counts), 4), DistanceMetric.EUCLIDEAN))
    values = build_values(
        reference, cluster_counts=counts, hash_counts=np.pad(counts, (0, 128 - len(counts)))
    )
    return (
        build_scorer(reference).score(read_tally(values, reference)).findings["js_divergence"].js_divergence
    )


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=40), st.integers(1, 40))
def test_divergence_of_disjoint_histograms_is_at_most_one(shares, others):
    counts = np.array([*shares, *[0] * others])
    baseline_counts = np.array([*[0] * len(shares), *range(1, others + 1)])
    assert 1 - 1e-12 < divergence(counts, baseline_counts * 10) <= 1


@pytest.mark.parametrize(("min_events", "is_scored"), [(7, True), (8, False)])
def test_window_below_min_events_is_not_scored(min_events, is_scored):
    scored = build_scorer(min_events=min_events).score(tally(4, 2, 1, 0))
    assert (scored is not None) is is_scored


# The sums of a thousand events whose mean has moved by half a standard deviation.
SHIFTED = (round(1_000 * 0.5 * RICH.projection.deviations[0] / RICH.projection.step), 0)


@pytest.mark.parametrize(
    ("counts", "sums", "is_significant", "is_large"),
    [
        ((400, 300, 200, 100), (0, 0), False, False),
        # Significant with a hundred thousand events, but too small for a page.
        ((42_500, 28_500, 19_500, 9_500), (0, 0), True, False),
        ((42_500, 28_500, 19_500, 9_500), None, True, False),
        # Large enough for drift, but with too few events to be significant.
        ((6, 6, 0, 0), (0, 0), False, True),
        ((6, 3, 2, 1), (SHIFTED[0] // 80, 0), False, True),
        # Large by the histogram, by the mean, by both.
        ((500, 250, 170, 80), (0, 0), True, True),
        ((400, 300, 200, 100), SHIFTED, True, True),
        ((500, 250, 170, 80), None, True, True),
    ],
)
def test_significant_and_large_needs_both(counts, sums, is_significant, is_large):
    here = build_scorer()
    scored = here.score(tally(*counts, sums=sums))
    assert (scored.p_value < ALARM.level) is is_significant
    large = [scored.findings[name].excess >= ALARM.floor(name) for name in ("js_divergence", "mean_shift")]
    assert any(large) is is_large
    assert signs_of(here, scored).counts is (is_significant and is_large)


def test_window_is_significant_only_below_level():
    scored = build_scorer().score(tally(500, 250, 170, 80))
    level = scored.p_value
    assert signs_of(build_scorer(level=math.nextafter(level, 1)), scored).counts
    assert not signs_of(build_scorer(level=level), scored).counts


def test_each_statistic_is_large_from_its_own_floor():
    here = build_scorer()
    scored = here.score(tally(400, 300, 200, 100))
    quiet = change_score(
        scored,
        p_value=1e-9,
        excess=-0.1,
        novelty=build_novelty(0.0, -0.1, 0.5),
        spread=Spread(None, None, None),
    )
    assert not signs_of(here, quiet).counts
    for change, name in (
        (lambda size: {"excess": size}, "js_divergence"),
        (lambda size: {"mean_shift": replace(scored.findings["mean_shift"], excess=size)}, "mean_shift"),
        (lambda size: {"novelty": build_novelty(size, size, 1e-9)}, "novelty"),
        (lambda size: {"spread": Spread(None, SpreadChange(size, size, 1e-9))}, "spread"),
        (lambda size: {"duplicates": Duplicates(size, 1e-9)}, "duplicates"),
    ):
        assert signs_of(here, change_score(quiet, **change(ALARM.floor(name)))).counts
        assert not signs_of(here, change_score(quiet, **change(0.99 * ALARM.floor(name)))).counts


@pytest.mark.parametrize(
    ("size_ms", "rarity", "size", "decides"),
    [
        (HOUR_MS, 101, 2, True),
        (HOUR_MS, 99, 2, False),
        (HOUR_MS, 101, 1.99, False),
        # Hours say too little of days.
        (DAY_MS, 101, 2, False),
    ],
)
def test_window_that_decides_is_calibrated_rare_and_large(size_ms, rarity, size, decides):
    here = build_scorer(size_ms=size_ms)
    scored = change_score(
        here.score(tally(400, 300, 200, 100)),
        p_value=ALARM.level / rarity,
        js_p_value=ALARM.level / rarity / 5.5,
        excess=size * ALARM.floor("js_divergence"),
    )
    assert signs_of(here, scored).decides is decides
    assert signs_of(here, scored).counts
    # Outliers alone, however many, wait for another window.
    novel = change_score(
        scored, p_value=1e-99, js_p_value=0.5, excess=0.0, novelty=build_novelty(0.9, 0.9, 1e-99)
    )
    assert not signs_of(here, novel).decides
    assert signs_of(here, novel).counts


def test_slow_drift_lasts_from_half_of_its_limit_and_the_second_window_on():
    moved = tally(4_000, 1_000, 0, 0)
    scorer = build_scorer(level=0.01)
    scorer.calibration = replace(scorer.calibration, lasting=Overdispersion.independent(COMPONENTS))
    half = scorer.slow_drift_limit / 2
    little, much = (SlowDrift(each, 0, ((0, moved.values),)) for each in (0.99 * half, half))
    assert [
        scorer.is_lasting(each, start_ms)
        for each, start_ms in ((SlowDrift(), 0), (much, 0), (little, HOUR_MS), (much, HOUR_MS))
    ] == [False, False, False, True]


def test_slow_drift_limit_is_rarer_than_level():
    assert build_scorer(level=1e-4).slow_drift_limit == threshold(25_000)


# Segments whose shares are far from those of the whole.
NAMES = [("country", "de"), ("country", "fr"), ("country", "es"), ("country", "other")]
SHARES = {
    NAMES[0]: (0.1, 0.2, 0.3, 0.4),
    NAMES[1]: (0.4, 0.4, 0.1, 0.1),
    NAMES[2]: (0.25, 0.25, 0.25, 0.25),
    NAMES[3]: (0.7, 0.1, 0.1, 0.1),
}
SEGMENTED = replace(
    RICH,
    segments=tuple(
        build_segment_reference(*name, *(round(20_000 * share) for share in shares))
        for name, shares in SHARES.items()
    ),
)


def by_country(**changes):
    return build_scorer(SEGMENTED, segment_keys=("country",), **changes)


def of(segment, events=1_000, moved=0):
    """A tally of a segment with some events moved from its third cluster to its fourth."""
    counts = [round(events * share) for share in SHARES[segment]]
    return tally(*(counts + np.array([0, 0, -moved, moved])))


def test_segment_is_compared_with_own_baseline_segment():
    """These figures change with the statistics and their weights only."""
    tallies = {name: of(name) for name in NAMES} | {NAMES[0]: of(NAMES[0], moved=80)}
    results, found = by_country().judge_segments(tallies, {})
    figures = {
        "js_divergence": 0.00651419996,
        "mean_shift": 0.0114956056,
        "novelty": -2.49987501e-05,
        "spread": 0,
    }
    assert results[0].excess == pytest.approx(figures, rel=1e-5)
    p_value = 2.188003672e-07
    figures = {"js_divergence": 0.00708344762, "p_value": p_value, "adjusted_p_value": 4 * p_value}
    assert {name: getattr(results[0], name) for name in figures} == pytest.approx(figures, rel=1e-5)
    assert [result.js_divergence for result in results[1:]] == pytest.approx([0, 0, 0], abs=1e-12)
    assert [result.verdict for result in results] == [Verdict.WARNING, *[Verdict.OK] * 3]
    assert found == dict.fromkeys(NAMES, False) | {NAMES[0]: True}


@pytest.mark.parametrize(
    ("outliers", "mean", "novelty", "spread"),
    [(600, 1.5, False, False), (200, 1.5, True, False), (600, 1.0, False, True)],
)
def test_segment_is_tested_for_novelty_and_spread_of_its_own(outliers, mean, novelty, spread):
    name, (part, *others) = NAMES[0], SEGMENTED.segments
    seen = of(name)
    seen["cluster_outliers"][:] = [15, 0, 15, 0]
    seen["spread_sums"][0] = round(1_000 * 1.5 / SPREAD_STEP)
    moments = (20_000, mean, 0.5, 1.0, 4.0)
    own = replace(part, arrays=build_segment_arrays(outliers, (moments,)))
    here = build_scorer(replace(SEGMENTED, segments=(own, *others)), segment_keys=("country",))
    (found, *_), significant_and_large = here.judge_segments({name: seen}, {})
    assert significant_and_large[name] is (novelty or spread)
    assert found.excess["novelty"] == pytest.approx(0.03 - (outliers + 0.5) / 20_001)
    assert (found.excess["spread"] > 0.4) is spread


def test_segment_uses_own_overdispersion_or_that_of_whole():
    own, whole = (Overdispersion(40, counts, np.eye(COMPONENTS) * counts) for counts in (3.0, 1.5))
    tallies = {name: of(name, moved=45) for name in NAMES}
    parts = {NAMES[0]: SegmentCalibration(own), NAMES[1]: SegmentCalibration(own, is_own=False)}
    alarm = replace(ALARM, segment_keys=("country",))
    spec = build_spec(reference=SEGMENTED, alarm=alarm)

    def p_values(overdispersion, segments):
        whole = SegmentCalibration(overdispersion)
        calibration = Calibration(Source.WARM_UP, HOUR_MS, 0, 0, 0, whole, segments)
        here = WindowScorer(spec, SEGMENTED, calibration, HOUR_MS)
        return [(result.p_value, result.calibrated) for result in here.judge_segments(tallies, {})[0]]

    found, as_own, as_whole = (p_values(*how) for how in ((whole, parts), (own, {}), (whole, {})))
    assert found[0] == (as_own[0][0], True)
    assert found[1] == (as_own[1][0], False)
    assert found[2:] == as_whole[2:]
    assert as_own[0][0] > as_whole[0][0]
    assert not any(is_calibrated for _, is_calibrated in as_whole)


def test_segment_is_significant_up_to_half_of_level():
    tallies = {name: of(name) for name in NAMES} | {NAMES[0]: of(NAMES[0], moved=80)}
    (result, *_), _ = by_country().judge_segments(tallies, {})
    assert result.adjusted_p_value == pytest.approx(4 * result.p_value)
    for level, is_significant_and_large in (
        (2 * result.adjusted_p_value, True),
        (1.99 * result.adjusted_p_value, False),
    ):
        assert level / 2 > result.p_value
        results, found = by_country(level=level).judge_segments(tallies, {})
        assert found == dict.fromkeys(NAMES, False) | {NAMES[0]: is_significant_and_large}
        assert (results[0].verdict is Verdict.WARNING) is is_significant_and_large


def test_significant_but_small_segment_is_ok():
    tallies = {NAMES[0]: of(NAMES[0], 20_000, moved=1_000)}
    (result, *_), found = by_country().judge_segments(tallies, {})
    assert result.adjusted_p_value < 1e-6
    assert (found, result.verdict) == ({NAMES[0]: False}, Verdict.OK)


def test_segments_of_incomplete_window_are_scored_not_judged():
    results, found = by_country().judge_segments({NAMES[0]: of(NAMES[0], moved=80)}, None)
    assert {result.verdict for result in results} == {Verdict.INCOMPLETE}
    assert results[0].p_value < ALARM.level
    assert found == {NAMES[0]: True}


COUNTS = st.lists(st.integers(0, 500), min_size=4, max_size=4).filter(any).map(np.array)


@pytest.mark.parametrize(
    ("contributions", "movers"),
    [
        ([0.1, 0.4, 0.2, 0.3], (1, 3, 2)),
        ([0.1, 0.4, 0.0, 0.0], (1, 0)),
        ([0.2, 0.1, 0.2, 0.2], (0, 2, 3)),
        ([0.0, 0.0, 0.0, 0.0], ()),
    ],
)
def test_movers_are_largest_contributions_lower_cluster_first(contributions, movers):
    assert build_score((1, 1, 1, 1), contributions=np.array(contributions)).movers == movers
    assert len(movers) <= MAX_MOVERS


@given(COUNTS)
def test_signed_contribution_is_negative_where_share_fell(counts):
    contributions = js_contributions(counts, FIRST.counts)
    result = build_result(counts, score=build_score(counts))
    signed = result.signed_contributions
    np.testing.assert_array_equal(np.abs(signed), contributions)
    # In integers: a share has fallen if and only if the cross product has.
    gain = counts * int(FIRST.counts.sum()) - FIRST.counts * int(counts.sum())
    np.testing.assert_array_equal(np.sign(signed[contributions > 0]), np.sign(gain[contributions > 0]))
