"""Reports of plans as text and as JSON."""

import math
from typing import Any

import orjson
import pytest

from driftgauge.cli.printing import render
from driftgauge.core.statistics.power import Sensitivity
from driftgauge.planning.plan import make_plan
from driftgauge.planning.report import as_json, describe
from tests.builders.plans import build_request

# A part of each warning, in the text joined to one line.
NOTHING = "No window is long enough"
SMALL_BASELINE = "The baseline counts too few events"
MANY_CLUSTERS = "clusters are many for this traffic"
RATIO = "its sampling error affects every window"
DAILY = "A daily cycle looks like drift"
INDEPENDENT = "The plan assumes independent events"
EVERY = {NOTHING, SMALL_BASELINE, MANY_CLUSTERS, RATIO, DAILY, INDEPENDENT}


def one_line(plan):
    return " ".join(render(describe(plan)).split())


@pytest.mark.parametrize(
    ("asked", "warnings"),
    [
        (build_request(1_000), {INDEPENDENT}),
        (build_request(1_000, sensitivity=Sensitivity(20, 32, math.inf, 1.5, 2)), set()),
        (build_request(1_310, clusters=60), {MANY_CLUSTERS, INDEPENDENT}),
        (build_request(1_000, baseline_count=119_999), {RATIO, INDEPENDENT}),
        (build_request(1_000, baseline_count=120_000), {INDEPENDENT}),
        (build_request(1_000, daily_cycle=True), {DAILY, INDEPENDENT}),
        (build_request(1), {NOTHING, INDEPENDENT}),
        (build_request(10**6, baseline_count=500), {SMALL_BASELINE, INDEPENDENT}),
        (
            build_request(10**6, baseline_count=500, mean_shift=5),
            {SMALL_BASELINE, MANY_CLUSTERS, INDEPENDENT},
        ),
        (build_request(5.4, clusters=80), {NOTHING, MANY_CLUSTERS, INDEPENDENT}),
    ],
)
def test_plan_gives_exactly_expected_warnings(asked, warnings):
    plan = make_plan(asked)
    text = one_line(plan)
    assert {warning for warning in EVERY if warning in text} == warnings
    assert len(as_json(plan)["warnings"]) == len(warnings)


def test_warning_of_many_clusters_names_sufficient_number():
    text = one_line(make_plan(build_request(1_310, clusters=60)))
    assert "60 clusters are many for this traffic: with 50, windows of 1h are long enough." in text
    assert "--clusters 50 or fewer" in text


def test_plan_states_count_that_baseline_needs():
    assert "The baseline should count 120,000 events or more" in one_line(make_plan(build_request(1_000)))
    text = one_line(make_plan(build_request(1_000, baseline_count=30_000)))
    assert "The baseline counts 5.0 times the events of a 6h window" in text
    assert "Fit a baseline that counts 120,000 or more" in text


def test_warning_of_small_baseline_names_sufficient_count():
    text = one_line(make_plan(build_request(10**6, baseline_count=500)))
    count = int(text.partition("Fit a baseline that counts ")[2].split()[0].replace(",", ""))
    assert make_plan(build_request(10**6, baseline_count=count)).recommended is not None


def test_text_has_row_per_window_and_marks_recommended():
    plan = make_plan(build_request(1_000))
    rows = [line for line in render(describe(plan)).splitlines() if line.count("%") == 2]
    assert [row.split()[0] for row in rows] == ["5m", "15m", "1h", ">", "1d", "7d"]
    assert rows[2].split()[1:] == [
        "1,000",
        "1.1e-04",
        "0.00343",
        "0.00904",
        "0.0603",
        "88%",
        "59%",
        "1,206",
    ]
    assert "Recommended: windows of 6h" in render(describe(plan))
    assert "level is 0.01 at most" in render(describe(plan))


def test_text_keeps_tables_at_100_columns():
    for asked in (
        build_request(1_000),
        build_request(10**9, clusters=1_000, baseline_count=500),
        build_request(0.1),
    ):
        assert max(map(len, render(describe(make_plan(asked)), 100).splitlines())) <= 100


def test_text_mentions_level_cap_only_if_reached():
    assert (
        "at most"
        not in render(describe(make_plan(build_request(1_000, false_pages_per_year=0.1)))).split("Recomm")[0]
    )


def test_json_has_all_windows_and_only_json_numbers():
    for asked in (build_request(1_000), build_request(1), build_request(10**6, baseline_count=500)):
        plan = make_plan(asked)
        record = orjson.loads(orjson.dumps(as_json(plan)))
        assert record == as_json(plan)
        assert [window["window"] for window in record["windows"]] == ["5m", "15m", "1h", "6h", "1d", "7d"]
        assert [window["count"] for window in record["windows"]] == [c.count for c in plan.candidates]
        assert [need["clusters"] for need in record["needs"]] == [5, 10, 20, 50]


def test_json_has_request_and_recommendation():
    record: dict[str, Any] = as_json(make_plan(build_request(1_000, streams=3, baseline_count=120_000)))
    assert (record["events_per_hour"], record["streams"], record["baseline_count"]) == (1_000, 3, 120_000)
    assert record["recommended"] == "6h"
    assert [window["enough"] for window in record["windows"]] == [False, False, False, True, True, True]
    assert as_json(make_plan(build_request(1)))["recommended"] is None
    assert as_json(make_plan(build_request(1)))["baseline_count"] is None
