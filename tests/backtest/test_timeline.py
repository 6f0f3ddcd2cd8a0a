"""The alarms of a timeline, and what they were worth."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.backtest.timeline import Timeline, WindowPoint, build_timelines
from driftgauge.core.windows.result import SegmentResult, Verdict
from driftgauge.core.windows.window import Window
from tests.telemetry.builders import build_result

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LETTERS = {"o": Verdict.OK, "w": Verdict.WARNING, "D": Verdict.DRIFT, "i": Verdict.INSUFFICIENT}


def timeline(verdicts, *, size_ms=HOUR_MS, first=0):
    """A timeline whose windows say, in this order: o(k), w(arning), D(rift), i(nsufficient)."""
    points = tuple(
        WindowPoint(Window(size_ms, (first + place) * size_ms), 100, LETTERS[letter], 0.1, 0.01, 0.2, 0.5)
        for place, letter in enumerate(verdicts)
    )
    return Timeline("images", size_ms, None, points)


def starts(points):
    return [point.window.start_ms // point.window.size_ms for point in points]


@pytest.mark.parametrize(
    ("verdicts", "pages"),
    [("ooo", []), ("DDD", [0]), ("oDDoD", [1, 4]), ("wDwD", [1, 3]), ("iDi", [1])],
)
def test_a_page_is_drift_where_there_was_none_in_the_window_before(verdicts, pages):
    assert starts(timeline(verdicts).pages) == pages


@given(st.text("owDi", min_size=1, max_size=40))
def test_as_many_windows_say_something_as_there_are(verdicts):
    found = timeline(verdicts).verdicts()
    assert {verdict: verdicts.count(letter) for letter, verdict in LETTERS.items()}.items() <= found.items()
    assert sum(found.values()) == len(verdicts)


def test_what_comes_before_the_drift_is_false_and_what_comes_after_is_late_by_so_much():
    outcome = timeline("oDowo" + "owDD").evaluate(5 * HOUR_MS)
    assert (outcome.clean, outcome.false_pages, outcome.false_alarms) == (5, 1, 2)
    assert outcome.pages_per_year == pytest.approx(8766 / 5)
    assert (outcome.warned_after, outcome.paged_after, outcome.paged_after_ms) == (2, 3, 3 * HOUR_MS)


def test_a_window_that_drift_begins_in_is_not_clean():
    outcome = timeline("oD").evaluate(HOUR_MS + 1)
    assert (outcome.clean, outcome.false_pages, outcome.paged_after) == (1, 0, 1)
    assert outcome.paged_after_ms == HOUR_MS - 1


def test_where_nothing_came_nothing_is_said():
    outcome = timeline("oo").evaluate(0)
    assert (outcome.clean, outcome.pages_per_year) == (0, None)
    assert (outcome.warned_after, outcome.paged_after, outcome.paged_after_ms) == (None, None, None)


def test_alarms_are_counted_by_the_hour_in_which_their_windows_begin():
    hours = timeline("w" + "o" * 23 + "D" + "o" * 4 + "w").alarms_by_hour()
    assert hours == [2, 0, 0, 0, 0, 1, *[0] * 18]
    assert timeline("DDD", size_ms=DAY_MS).alarms_by_hour() is None


def test_alarms_that_gather_at_night_are_told_over_midnight_too():
    night = "".join("w" if hour in {23, 0, 1, 2} else "o" for hour in range(24))
    busy = timeline(night * 3).peak_alarm_hours()
    assert busy is not None
    start, end = busy
    assert (end - start) % 24 == 8
    assert {23, 0, 1, 2} <= {(start + hour) % 24 for hour in range(8)}


@pytest.mark.parametrize("verdicts", ["w" * 24, "owo", "o" * 48])
def test_alarms_at_all_hours_or_hardly_any_gather_nowhere(verdicts):
    assert timeline(verdicts).peak_alarm_hours() is None


def test_the_first_complete_revision_of_a_window_stands_and_segments_are_tracks_of_their_own():
    segment = SegmentResult(
        ("country", "de"), 40, 0.2, 0.19, 0.3, 0.001, 0.002, calibrated=False, verdict=Verdict.DRIFT
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
