"""Timelines of windows, and reports of backtests."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.cli.printing import render
from driftgauge.core.judging.scoring import SegmentResult
from driftgauge.core.judging.verdict import Verdict
from driftgauge.core.spec import Alarm
from driftgauge.recorded.backtest import build_timelines as of_results
from driftgauge.recorded.backtest import describe, report_backtest
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.builders.results import LETTERS, STATISTICS, build_result, build_timelines, by_statistic

NIGHT = "".join("w" if hour < 4 else "o" for hour in range(24))


SMALLEST = {"js_divergence": 0.02, "mean_shift": 0.1, "novelty": 0.05}


def report(verdicts, drift_ms=None, warm_up=None, **fields):
    alarms = {"images": Alarm(0.01, SMALLEST, warm_up)}
    return report_backtest(build_timelines(verdicts, **fields), alarms, drift_ms, {"invalid": 2})


def only(*arguments, **fields):
    (timeline,) = report(*arguments, **fields).timelines
    return timeline


def starts(points):
    return [point.window.start_ms // point.window.size_ms for point in points]


def test_timelines_use_first_complete_revision_and_separate_segments():
    segment = SegmentResult(
        ("country", "de"),
        40,
        0.2,
        by_statistic(0.19, 0.3, 0.01, 0.02, names=STATISTICS[:-1]),
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
    timelines = of_results(results)
    assert list(timelines) == [
        ("images", HOUR_MS, None),
        ("images", HOUR_MS, ("country", "de")),
        ("images", DAY_MS, None),
        ("texts", HOUR_MS, None),
    ]
    hours, (of_segment,), *_ = timelines.values()
    assert starts(hours) == [1, 2]
    assert hours[0].verdict is Verdict.DRIFT
    assert hours[0].count == first.counts.sum()
    assert (of_segment.count, of_segment.p_value, of_segment.verdict) == (40, 0.002, Verdict.DRIFT)


@pytest.mark.parametrize(
    ("verdicts", "pages"),
    [("ooo", []), ("DDD", [0]), ("oDDoD", [1, 4]), ("wDwD", [1, 3]), ("iDi", [1])],
)
def test_page_is_drift_after_window_without_drift(verdicts, pages):
    assert starts(only(verdicts).pages) == pages


@given(st.text("owDi", min_size=1, max_size=40))
def test_verdict_counts_sum_to_windows(verdicts):
    found = only(verdicts).verdicts
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
    outcome = only(verdicts, drift_ms).outcome
    assert (outcome.clean, outcome.false_pages, outcome.false_alarms) == false
    assert (outcome.warned_after, outcome.paged_after, outcome.paged_after_ms) == delays
    clean, pages, _ = false
    assert outcome.pages_per_year == (pytest.approx(8766 * pages / clean) if clean else None)


def test_alarms_are_counted_by_starting_hour():
    hours = only("w" + "o" * 23 + "D" + "o" * 4 + "w").alarms_by_hour
    assert hours == [2, 0, 0, 0, 0, 1, *[0] * 18]
    assert only("DDD", size_ms=DAY_MS).alarms_by_hour is None


@pytest.mark.parametrize(
    ("verdicts", "drift_ms"),
    [
        pytest.param("oowDDi", None, id="pages"),
        pytest.param("oDo" + "owD", 3 * HOUR_MS, id="found after three hours"),
        pytest.param("oo", None, id="no pages"),
        pytest.param("oo", HOUR_MS, id="never found"),
        pytest.param("oD" * 25, None, id="many pages"),
        pytest.param(NIGHT * 3, None, id="daily cycle"),
    ],
)
def test_text_counts_verdicts_and_evaluates_alarms(snapshot, verdicts, drift_ms):
    assert render(describe(report(verdicts, drift_ms))) == snapshot


@pytest.mark.parametrize(
    ("verdicts", "fields", "warnings"),
    [
        ("oo", {}, []),
        (
            "ioi",
            {"detectable": 0.03},
            [
                "no window of 1h can see drift as small as smallest_drift.js_divergence, so ok does not mean "
                "that there is none; larger drift is seen; use"
            ],
        ),
        (
            "oo",
            {"detectable": math.inf},
            ["so ok does not mean that there is none; use longer windows"],
        ),
        ("ii", {}, ["no window of 1h has enough events to be scored; use longer windows"]),
        ("o" * 24, {"warm_up": (2 * HOUR_MS, 22 * HOUR_MS)}, []),
        (
            "ooi" + "o" * 21,
            {"warm_up": (2 * HOUR_MS, 22 * HOUR_MS)},
            ["1970-01-01T02:00:00Z to 1970-01-01T22:00:00Z, holds 19 scored windows of 1h, and it takes 20"],
        ),
        (
            "oo",
            {"warm_up": (DAY_MS, 2 * DAY_MS), "detectable": 1},
            ["no window of 1h can see", "holds 0 scored windows of 1h"],
        ),
    ],
)
def test_verdicts_that_may_say_nothing_are_warned_of(verdicts, fields, warnings):
    found = report(verdicts, **fields)
    shown = [line for line in render(describe(found)).splitlines() if line.startswith("warning: images 1h: ")]
    assert len(shown) == len(found.timelines[0].warnings) == len(warnings)
    for line, part in zip(shown, warnings, strict=True):
        assert part in line
