"""Timelines of windows and the evaluation of their alarms."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.backtest.timeline import build_timelines
from driftgauge.core.windows.result import SegmentResult, Verdict
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.results import LETTERS, build_result, build_timeline


def starts(points):
    return [point.window.start_ms // point.window.size_ms for point in points]


@pytest.mark.parametrize(
    ("verdicts", "pages"),
    [("ooo", []), ("DDD", [0]), ("oDDoD", [1, 4]), ("wDwD", [1, 3]), ("iDi", [1])],
)
def test_page_is_drift_after_window_without_drift(verdicts, pages):
    assert starts(build_timeline(verdicts).pages) == pages


@given(st.text("owDi", min_size=1, max_size=40))
def test_verdict_counts_sum_to_windows(verdicts):
    found = build_timeline(verdicts).verdicts()
    assert {verdict: verdicts.count(letter) for letter, verdict in LETTERS.items()}.items() <= found.items()
    assert sum(found.values()) == len(verdicts)


@pytest.mark.parametrize(
    ("verdicts", "drift_ms", "false", "delays"),
    [
        ("oDowo" + "owDD", 5 * HOUR_MS, (5, 1, 2), (2, 3, 3 * HOUR_MS)),
        # A window that contains the start of the drift is not clean.
        ("oD", HOUR_MS + 1, (1, 0, 0), (1, 1, HOUR_MS - 1)),
        ("oo", 0, (0, 0, 0), (None, None, None)),
    ],
)
def test_alarms_before_drift_are_false_and_later_ones_have_delay(verdicts, drift_ms, false, delays):
    outcome = build_timeline(verdicts).evaluate(drift_ms)
    assert (outcome.clean, outcome.false_pages, outcome.false_alarms) == false
    assert (outcome.warned_after, outcome.paged_after, outcome.paged_after_ms) == delays
    clean, pages, _ = false
    assert outcome.pages_per_year == (pytest.approx(8766 * pages / clean) if clean else None)


def test_alarms_are_counted_by_starting_hour():
    hours = build_timeline("w" + "o" * 23 + "D" + "o" * 4 + "w").alarms_by_hour()
    assert hours == [2, 0, 0, 0, 0, 1, *[0] * 18]
    assert build_timeline("DDD", size_ms=DAY_MS).alarms_by_hour() is None


def test_peak_hours_may_span_midnight():
    night = "".join("w" if hour in {23, 0, 1, 2} else "o" for hour in range(24))
    start, end = build_timeline(night * 3).peak_alarm_hours()
    assert (end - start) % 24 == 8
    assert {23, 0, 1, 2} <= {(start + hour) % 24 for hour in range(8)}
    for few in ("w" * 24, "owo", "o" * 48):
        assert build_timeline(few).peak_alarm_hours() is None


def test_timelines_use_first_complete_revision_and_separate_segments():
    segment = SegmentResult(
        ("country", "de"),
        40,
        0.2,
        0.19,
        0.3,
        0.01,
        0.02,
        0.001,
        0.002,
        calibrated=False,
        verdict=Verdict.DRIFT,
    )
    first = build_result(number=1)
    results = [
        build_result(number=2),
        replace(first, verdict=Verdict.INCOMPLETE),
        replace(first, revision=1, verdict=Verdict.DRIFT, segments=(segment,)),
        replace(first, revision=2, verdict=Verdict.OK),
        build_result(number=1, size_ms=DAY_MS),
        build_result(number=1, stream="texts"),
    ]
    timelines = build_timelines(results)
    assert [(found.stream, found.size_ms, found.segment) for found in timelines] == [
        ("images", HOUR_MS, None),
        ("images", HOUR_MS, ("country", "de")),
        ("images", DAY_MS, None),
        ("texts", HOUR_MS, None),
    ]
    hours = timelines[0].points
    assert starts(hours) == [1, 2]
    assert hours[0].verdict is Verdict.DRIFT
    assert hours[0].count == int(np.sum(first.counts))
    (of_segment,) = timelines[1].points
    assert (of_segment.count, of_segment.p_value, of_segment.verdict) == (40, 0.002, Verdict.DRIFT)
