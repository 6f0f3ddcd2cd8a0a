"""Scores and verdicts of segments: each against the same segment of the baseline."""

import math
from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.counting.projection import SPREAD_STEP
from driftgauge.core.counting.tally import Tally
from driftgauge.core.statistics.budget import benjamini_hochberg
from driftgauge.core.statistics.combination import combine
from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.divergence_null import DivergenceNull
from driftgauge.core.statistics.mean_shift import MeanShiftNull
from driftgauge.core.statistics.overdispersion import CalibratedOverdispersion, Overdispersion
from driftgauge.core.statistics.spread import SpreadMoments
from driftgauge.core.windows.distance_tests import DistanceTests
from driftgauge.core.windows.result import Verdict
from driftgauge.core.windows.scoring import WindowScorer
from tests.builders.references import CLUSTERS, COMPONENTS, RICH, build_segment_reference
from tests.builders.specs import ALARM, build_spec
from tests.core.windows.scorers import build_scorer, tally

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
    results, found = by_country().judge_segments({name: of(name) for name in NAMES}, {})
    assert [result.segment for result in results] == NAMES
    for result in results:
        assert result.count == 1_000
        assert result.js_divergence == pytest.approx(0, abs=1e-12)
        assert result.js_excess < 0
        assert result.mean_shift_excess < 0
        assert result.p_value > 0.5
        assert result.verdict is Verdict.OK
    assert found == dict.fromkeys(NAMES, False)


def test_segment_score_equals_score_against_own_baseline():
    name, part = NAMES[0], SEGMENTED.segments[0]
    seen = of(name, moved=80)
    ((result, *_), _) = by_country().judge_segments({name: seen}, {})
    null = DivergenceNull(part.counts, 1.0).of(seen.counts)
    divergence = math.fsum(js_contributions(seen.counts, part.counts))
    shift = RICH.projection.shift(seen.sums, seen.count) - part.mean
    mean_shift = MeanShiftNull(part.covariance, 20_000, None).test(shift, seen.count)
    assert result.js_divergence == divergence
    assert result.js_excess == divergence - null.expected
    assert result.mean_shift_excess == mean_shift.excess
    novelty = DistanceTests(part, None).novelty(seen)
    assert (result.novelty_excess, result.spread_excess) == (novelty.excess, 0)
    assert result.p_value == combine(
        [null.p_value(divergence), *mean_shift.p_values, novelty.p_value], [1.0, 0.75, 0.75, 3.0, 0.5]
    )


@pytest.mark.parametrize(
    ("outliers", "mean", "novelty", "spread"),
    [(600, 1.5, False, False), (200, 1.5, True, False), (600, 1.0, False, True)],
)
def test_segment_is_tested_for_novelty_and_spread_of_its_own(outliers, mean, novelty, spread):
    name, (part, *others) = NAMES[0], SEGMENTED.segments
    values = of(name).values.copy()
    values[CLUSTERS : 2 * CLUSTERS] = [15, 0, 15, 0]
    values[-4] = round(1_000 * 1.5 / SPREAD_STEP)
    moments = SpreadMoments(20_000, mean, 0.5, 1.0, 4.0, 0.03)
    own = replace(part, outliers=outliers, spreads=(moments, None))
    here = build_scorer(replace(SEGMENTED, segments=(own, *others)), segment_keys=("country",))
    (found, *_), significant_and_large = here.judge_segments({name: Tally(values, CLUSTERS)}, {})
    assert significant_and_large[name] is (novelty or spread)
    assert found.novelty_excess == pytest.approx(0.03 - (outliers + 0.5) / 20_001)
    assert (found.spread_excess > 0.4) is spread


def test_segment_uses_own_overdispersion_or_that_of_whole():
    own, whole = (Overdispersion(40, inflation, np.eye(COMPONENTS) * inflation) for inflation in (3.0, 1.5))
    tallies = {name: of(name, moved=45) for name in NAMES}
    known = {
        NAMES[0]: CalibratedOverdispersion(own, calibrated=True),
        NAMES[1]: CalibratedOverdispersion(own, calibrated=False),
    }
    alarm = replace(ALARM, segment_keys=("country",))
    spec = build_spec(reference=SEGMENTED, alarm=alarm)

    def p_values(overdispersion, segments):
        here = WindowScorer(spec, SEGMENTED, overdispersion, calibrated=True, segments=segments)
        return [(result.p_value, result.calibrated) for result in here.judge_segments(tallies, {})[0]]

    found, as_own, as_whole = (p_values(*how) for how in ((whole, known), (own, {}), (whole, {})))
    assert found[0] == (as_own[0][0], True)
    assert found[1] == (as_own[1][0], False)
    assert found[2:] == as_whole[2:]
    assert as_own[0][0] > as_whole[0][0]
    assert not any(is_calibrated for _, is_calibrated in as_whole)


def test_segment_p_values_are_adjusted_for_their_number():
    tallies = {name: of(name, moved=moved) for name, moved in zip(NAMES, (45, 0, 80, 30), strict=True)}
    results, _ = by_country().judge_segments(tallies, {})
    p_values = [result.p_value for result in results]
    assert [result.adjusted_p_value for result in results] == benjamini_hochberg(p_values).tolist()
    assert len(set(p_values)) == 4


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


def test_segments_leave_half_of_level_to_whole():
    seen = tally(500, 250, 170, 80)
    scored = build_scorer().score(seen)
    for level, alone, beside in ((1.5, True, False), (2.5, True, True)):
        assert build_scorer(level=level * scored.p_value).is_significant_and_large(scored) is alone
        assert by_country(level=level * scored.p_value).is_significant_and_large(scored) is beside


def test_small_segments_are_not_scored_or_adjusted_for():
    tallies = {NAMES[0]: of(NAMES[0], moved=80), NAMES[1]: of(NAMES[1], 10)}
    results, found = by_country(min_events=11).judge_segments(tallies, {})
    assert [result.count for result in results] == [1_000, 10, 0, 0]
    assert results[0].adjusted_p_value == results[0].p_value
    for result in results[1:]:
        assert result.verdict is Verdict.INSUFFICIENT
        assert {
            result.js_divergence,
            result.js_excess,
            result.mean_shift_excess,
            result.p_value,
            result.adjusted_p_value,
        } == {None}
    assert found == {NAMES[0]: True}


@pytest.mark.parametrize(
    ("recent", "verdict"),
    [
        ((), Verdict.WARNING),
        ((True,), Verdict.DRIFT),
        ((True, False), Verdict.DRIFT),
        ((False, False), Verdict.WARNING),
    ],
)
def test_segment_drift_needs_two_of_three_windows(recent, verdict):
    tallies = {NAMES[0]: of(NAMES[0], moved=80), NAMES[1]: of(NAMES[1])}
    results, _ = by_country().judge_segments(tallies, {NAMES[0]: recent, NAMES[2]: (True, True)})
    assert [result.verdict for result in results] == [
        verdict,
        Verdict.OK,
        Verdict.INSUFFICIENT,
        Verdict.INSUFFICIENT,
    ]


def test_segments_of_incomplete_window_are_scored_not_judged():
    results, found = by_country().judge_segments({NAMES[0]: of(NAMES[0], moved=80)}, None)
    assert {result.verdict for result in results} == {Verdict.INCOMPLETE}
    assert results[0].p_value < ALARM.level
    assert found == {NAMES[0]: True}


def test_no_segment_keys_give_no_segments():
    assert build_scorer(SEGMENTED).judge_segments({NAMES[0]: of(NAMES[0])}, {}) == ((), {})
