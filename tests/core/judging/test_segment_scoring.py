"""Scores and verdicts of segments: each against the same segment of the baseline."""

from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.counting.projection import SPREAD_STEP
from driftgauge.core.judging.calibration import Calibration, SegmentCalibration, Source
from driftgauge.core.judging.scoring import WindowScorer
from driftgauge.core.judging.verdict import Verdict
from driftgauge.core.statistics.overdispersion import Overdispersion
from tests.builders.clocks import HOUR_MS
from tests.builders.references import (
    COMPONENTS,
    RICH,
    build_segment_arrays,
    build_segment_reference,
)
from tests.builders.specs import ALARM, build_spec
from tests.core.judging.scorers import build_scorer, tally

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
