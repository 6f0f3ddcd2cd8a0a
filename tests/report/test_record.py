"""Tests of `driftgauge.report.record`."""

from driftgauge.report.record import ReportRecord, report_record
from tests.builders.clocks import HOUR_MS
from tests.builders.page import MadeResults, build_record
from tests.builders.reports import STREAM, report_of, report_on


def test_record_has_the_facts_of_the_report():
    results = MadeResults()
    for number, verdict in enumerate(["ok", "drift", "drift", "ok"]):
        results.publish(number, verdict, js_divergence=0.1 * (number + 1))
    results.publish(0, "ok", size_ms=2 * HOUR_MS)
    results.publish(1, "warning", size_ms=2 * HOUR_MS)
    report = report_on(results, ("A note.",))
    record = report_record(report)
    assert (record.stream, record.window, record.verdict) == (STREAM, "1h", "drift")
    assert (record.since, record.until) == ("2025-11-03T01:00:00Z", "2025-11-03T03:00:00Z")
    assert record.windows_since == 2
    assert (record.story, record.next_steps) == (report.story, report.steps)
    assert record.chosen == build_record(1, "drift", js_divergence=0.2)
    assert record.strongest == build_record(2, "drift", js_divergence=0.1 * 3)
    assert [each.verdict for each in record.windows] == ["ok", "drift", "drift", "ok"]
    assert [tuple(other.model_dump().values()) for other in record.others] == [
        (STREAM, "2h", "warning", 1, 2)
    ]
    assert (record.origin, record.notes) == ("the window results in a.jsonl", ("A note.",))
    assert ReportRecord.model_validate_json(record.model_dump_json()) == record


def test_run_that_goes_on_has_no_end():
    record = report_record(report_of("drift"))
    assert (record.until, record.strongest) == (None, None)


def test_unknown_publication_is_null():
    results = MadeResults()
    results.publish(0)
    assert report_record(report_on(results)).windows[0].published == "2025-11-03T00:00:00Z"
    unknown = MadeResults()
    unknown.made.values = results.made.values
    unknown.receive(unknown.made.values[0], partition=0, offset=0, published_ms=0)
    assert report_record(report_on(unknown)).windows[0].published is None
