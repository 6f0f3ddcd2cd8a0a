"""Tests of `driftgauge.page.stream_page`."""

import pytest

from driftgauge.config.page import PageSettings
from driftgauge.config.stream import SmallestDrift
from driftgauge.page.story import Run
from driftgauge.page.stream_page import detail, stream_page
from driftgauge.page.summary import Series
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.page import build_record, build_rows

SERIES = Series("resnet18-fc1", HOUR_MS)
RUN = Run("drift", 1, MONDAY_MS, before=True)


def page_of(rows, shown=200, at=None, smallest=None):
    at_ms = None if at is None else MONDAY_MS + at * HOUR_MS
    return stream_page(SERIES, rows, shown=shown, at_ms=at_ms, smallest=smallest)


def hours(rows):
    return [(int(start) - MONDAY_MS) // HOUR_MS for start in rows["start_ms"]]


def test_newest_window_is_chosen_and_its_neighbour_named():
    page = page_of(build_rows("ok", "ok", "drift"))
    assert page.is_newest
    assert hours(page.chosen.reshape(1)) == [2]
    assert page.earlier_ms == MONDAY_MS + HOUR_MS
    assert page.later_ms is None
    assert page.run == Run("drift", 1, MONDAY_MS + 2 * HOUR_MS, before=True)


def test_older_window_tells_what_was_known_then():
    page = page_of(build_rows("ok", "drift", "ok"), at=1)
    assert not page.is_newest
    assert page.run.verdict == "drift"
    assert (page.earlier_ms, page.later_ms) == (MONDAY_MS, MONDAY_MS + 2 * HOUR_MS)


@pytest.mark.parametrize(
    ("at", "expected"), [(None, range(20, 30)), (25, range(20, 30)), (3, range(9)), (15, range(11, 21))]
)
def test_chosen_window_is_in_the_charts(at, expected):
    page = page_of(build_rows(*["ok"] * 30), shown=10, at=at)
    assert hours(page.rows) == list(expected)


def test_unknown_windows_have_no_page():
    assert page_of(build_rows()) is None
    assert page_of(build_rows("ok"), at=1) is None
    assert page_of(build_rows("ok", "ok")[1:], at=0) is None


def test_charts_show_all_kinds_of_drift_and_what_is_large():
    charts = page_of(build_rows("ok", "drift"), smallest=SmallestDrift()).charts
    assert [(each.title, len(each.chart.limits)) for each in charts] == [
        ("Divergence", 1),
        ("Mean shift", 1),
        ("Novelty", 1),
        ("Spread", 2),
        ("Duplicates", 1),
    ]
    assert charts[0].chart.floor
    unknown = page_of(build_rows("ok", "drift")).charts
    assert [each.chart.limits for each in unknown] == [()] * 5


def test_unscored_windows_have_no_charts():
    assert page_of(build_rows("insufficient", "insufficient")).charts == ()


def test_detail_orders_clusters_by_contribution_and_links_events():
    settings = PageSettings(example_url="https://shop.example/{stream}/{event_id}")
    examples = [{"cluster": 2, "event_ids": ["a/b?c"], "baseline_event_ids": ["d"]}]
    record = build_record(examples=examples)
    shown = detail(record, RUN, size_ms=HOUR_MS, published_ms=7, settings=settings)
    assert [row.cluster.id for row in shown.clusters] == [2, 1, 0]
    assert shown.clusters[0].part == pytest.approx(0.5666, abs=1e-3)
    (event,) = shown.clusters[0].now
    assert (event.event_id, event.url) == ("a/b?c", "https://shop.example/resnet18-fc1/a%2Fb%3Fc")
    assert event.thumbnail is None
    assert [event.event_id for event in shown.clusters[0].before] == ["d"]
    assert shown.clusters[1].now == ()
    assert (shown.start_ms, shown.end_ms, shown.published_ms) == (MONDAY_MS, MONDAY_MS + HOUR_MS, 7)
    assert len(shown.map.bubbles) == 3


def test_unscored_detail_orders_clusters_by_share():
    record = build_record(0, "insufficient")
    shown = detail(record, RUN, size_ms=HOUR_MS, published_ms=0, settings=PageSettings())
    shares = [row.cluster.share for row in shown.clusters]
    assert shares == sorted(shares, reverse=True) or record.clusters[0].js_contribution is not None


def test_charts_reach_back_to_the_start_of_the_run():
    rows = build_rows(*["ok"] * 50, *["drift"] * 300)
    page = page_of(rows, shown=None)
    assert page.shown == len(page.rows) == 320
    assert page_of(build_rows(*["ok"] * 10), shown=None).shown == 200


def test_older_window_of_a_run_that_ended_says_so():
    page = page_of(build_rows("ok", "drift", "drift", "ok"), at=1)
    assert page.run == Run("drift", 2, MONDAY_MS + HOUR_MS, before=True, until_ms=MONDAY_MS + 3 * HOUR_MS)
