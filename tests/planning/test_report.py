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
    record: dict[str, Any] = as_json(plan)
    assert len(record["warnings"]) == len(warnings)
    assert record == orjson.loads(orjson.dumps(record))


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        (
            build_request(1_000),
            ["Recommended: windows of 6h", "level is 0.01 at most", "120,000 events or more"],
        ),
        (
            build_request(1_310, clusters=60),
            ["with 50, windows of 1h are long enough.", "--clusters 50 or fewer"],
        ),
        (
            build_request(1_000, baseline_count=30_000),
            ["counts 5.0 times the events of a 6h window", "Fit a baseline that counts 120,000 or more"],
        ),
        (build_request(1_000, false_pages_per_year=0.1), []),
        (build_request(10**9, clusters=1_000, baseline_count=500), []),
    ],
)
def test_text_has_row_per_window_and_remedies(snapshot, asked, parts):
    plan = make_plan(asked)
    assert [part for part in parts if part not in one_line(plan)] == []
    text = render(describe(plan), 100)
    assert max(map(len, text.splitlines())) <= 100
    assert text == snapshot


def test_warning_of_small_baseline_names_sufficient_count():
    text = one_line(make_plan(build_request(10**6, baseline_count=500)))
    count = int(text.partition("Fit a baseline that counts ")[2].split()[0].replace(",", ""))
    assert make_plan(build_request(10**6, baseline_count=count)).recommended is not None


def test_json_has_request_windows_and_recommendation():
    record: dict[str, Any] = as_json(make_plan(build_request(1_000, streams=3, baseline_count=120_000)))
    assert (record["events_per_hour"], record["streams"], record["baseline_count"]) == (1_000, 3, 120_000)
    assert record["recommended"] == "6h"
    windows = {each["window"]: (each["count"], each["enough"]) for each in record["windows"]}
    assert windows == {
        "5m": (83, False),
        "15m": (250, False),
        "1h": (1_000, False),
        "6h": (6_000, True),
        "1d": (24_000, True),
        "7d": (168_000, True),
    }
    assert [need["clusters"] for need in record["needs"]] == [5, 10, 20, 50]
    nothing = as_json(make_plan(build_request(1)))
    assert (nothing["recommended"], nothing["baseline_count"]) == (None, None)
