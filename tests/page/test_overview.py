"""Tests of `driftgauge.page.overview`."""

from driftgauge.page.overview import Overview
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS
from tests.builders.page import MadeResults


def test_streams_are_sorted_by_urgency_then_name():
    results = MadeResults()
    verdicts = {"a": "ok", "b": "insufficient", "c": "incomplete", "d": "warning", "e": "drift", "f": "drift"}
    for stream, verdict in verdicts.items():
        results.publish(0, verdict, stream=stream)
    assert [row.stream for row in Overview(results.history).rows(MONDAY_MS)] == ["e", "f", "d", "c", "b", "a"]


def test_row_has_the_most_urgent_verdict_of_its_sizes():
    results = MadeResults()
    results.publish(0, "ok", kind=None)
    results.publish(0, "drift", size_ms=DAY_MS)
    (row,) = Overview(results.history).rows(MONDAY_MS)
    assert row.verdict == "drift"
    assert [(cell.size, cell.run.verdict, cell.kind) for cell in row.cells] == [
        ("1h", "ok", None),
        ("1d", "drift", "shift"),
    ]
    assert row.first.size == "1d"


def test_only_changed_series_are_drawn_again():
    results = MadeResults()
    results.publish(0, stream="one")
    results.publish(0, stream="two")
    overview = Overview(results.history)
    first = {row.stream: row.cells[0] for row in overview.rows(MONDAY_MS)}
    results.publish(1, stream="two")
    second = {row.stream: row.cells[0] for row in overview.rows(MONDAY_MS)}
    assert second["one"] is first["one"]
    assert second["two"].newest["start_ms"] == MONDAY_MS + HOUR_MS


def test_series_is_silent_after_three_of_its_lengths_and_a_quarter_of_an_hour():
    results = MadeResults()
    results.publish(0)
    results.publish(0, size_ms=1_000)
    hourly, second = Overview(results.history).rows(MONDAY_MS)[0].cells[::-1]
    assert hourly.end_ms == MONDAY_MS + HOUR_MS
    published_ms = int(hourly.newest["published_ms"])
    assert not hourly.is_silent(published_ms + 3 * HOUR_MS)
    assert hourly.is_silent(published_ms + 3 * HOUR_MS + 1)
    assert not second.is_silent(int(second.newest["published_ms"]) + 900_000)
    assert second.is_silent(int(second.newest["published_ms"]) + 900_001)


def test_drift_of_a_segment_and_silence_come_before_what_is_well():
    results = MadeResults()
    results.publish(0, "ok", stream="a", segments=[])
    results.publish(0, "ok", stream="segment")
    results.publish(0, "ok", stream="silent", size_ms=1_000, segments=[])
    rows = Overview(results.history).rows(MONDAY_MS + HOUR_MS)
    assert [(row.stream, row.has_segment_drift, row.is_silent) for row in rows] == [
        ("segment", True, False),
        ("silent", False, True),
        ("a", False, False),
    ]


def test_series_without_windows_is_forgotten():
    results = MadeResults()
    results.publish(0, stream="old")
    results.publish(0, stream="new")
    overview = Overview(results.history)
    assert len(overview.rows(MONDAY_MS)) == 2
    results.history.expire(MONDAY_MS + 1_000)
    assert [row.stream for row in overview.rows(MONDAY_MS)] == ["new"]
