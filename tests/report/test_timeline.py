"""Tests of `driftgauge.report.timeline`."""

import pytest

from driftgauge.report.timeline import build_timeline
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.page import build_record
from tests.builders.reports import STREAM, report_of


def test_timeline_has_the_windows_of_the_report():
    timeline = build_timeline(report_of("ok", "insufficient", "drift").page)
    assert (timeline.stream, timeline.size_ms, timeline.segment) == (STREAM, HOUR_MS, None)
    assert [
        ((each.window.start_ms - MONDAY_MS) // HOUR_MS, each.verdict.value) for each in timeline.points
    ] == [(0, "ok"), (1, "insufficient"), (2, "drift")]
    record, (first, unscored, _) = build_record(), timeline.points
    assert (first.count, first.js_divergence) == (record.count, record.js_divergence)
    assert (first.noise_floor, first.p_value) == (record.noise_floor, record.p_value)
    assert first.mean_shift == pytest.approx(record.mean_shift.excess)
    assert {unscored.js_divergence, unscored.noise_floor, unscored.p_value, unscored.mean_shift} == {None}
