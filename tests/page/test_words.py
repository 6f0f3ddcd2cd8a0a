"""Words and charts: how values are written, and what is drawn where."""

import math
import re
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.statistics.duplicates import Duplicates
from driftgauge.core.statistics.mean_shift import MeanShift
from driftgauge.core.statistics.spread import Spread, SpreadChange
from driftgauge.page import words
from driftgauge.page.chart import PLOT, SPARK_WIDTH, chart, strip
from driftgauge.page.states import STATES, URGENCY
from driftgauge.page.stream_page import strength
from driftgauge.page.summary import VERDICTS, read_summary
from driftgauge.records.window_results import result_record
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.page import build_rows
from tests.builders.results import build_novelty, build_result, build_score, change_score
from tests.builders.specs import ALARM
from tests.core.judging.judged_stream import build_scorer, tally


def test_every_state_and_verdict_is_in_the_table_of_states():
    assert tuple(STATES) == URGENCY
    assert STATES.keys() >= set(VERDICTS)
    # Words and sign tell states apart, whose colours may be one.
    for each in ("words", "counted", "symbol"):
        assert len({getattr(state, each) for state in STATES.values()}) == len(STATES)


NOTHING = "–"  # noqa: RUF001 - as shown
TEXTS: dict[Callable[..., str], dict[Any, str]] = {
    words.format_number: {
        0.00203: "0.00203",
        0.126: "0.126",
        5.2: "5.20",
        1234.5: "1,234",
        0: "0",
        1e-05: "1.0e-05",
        -0.07: "-0.0700",
        None: NOTHING,
        math.nan: NOTHING,
    },
    words.format_percent: {
        0.05: "5.0 %",
        0.183: "18 %",
        0: "0 %",
        1: "100 %",
        0.0996: "10 %",
        0.0004: "< 0.1 %",
        None: NOTHING,
        -0.02: "-2.0 %",
    },
    words.format_p_value: {0.59: "0.59", 1e-3: "0.001", 2.4e-9: "2e-09", 3e-308: "< 1e-15", None: NOTHING},
    words.format_signed_percent: {0.21: "+21.0 %", -0.05: "-5.0 %"},
    words.format_moment: {
        MONDAY_MS: "3 Nov 2025, 00:00 UTC",
        MONDAY_MS + 3_605_000: "3 Nov 2025, 01:00:05 UTC",
    },
    words.format_points: {0.686: "+68.6 points", -0.05: "-5.0 points"},
    words.as_sentence: {"the topic holds none": "The topic holds none."},
    partial(words.name_first, most=2): {"a": "a", "ab": "a, b", "abcd": "a, b and 2 more"},
}


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [(write, value, text) for write, texts in TEXTS.items() for value, text in texts.items()],
)
def test_value_has_words(write, value, text):
    assert write(value) == text


QUIET = build_score(
    (10, 20, 30, 40),
    noise_floor=0.0,
    excess=-0.1,
    js_divergence=0.0,
    mean_shift=MeanShift(0.0, 0.5, 0.0, 0.5, -0.1),
    novelty=build_novelty(0.0, -0.1, 0.5),
    spread=Spread(None, None, None),
    duplicates=Duplicates(0.0, 0.5),
)
# The findings of one statistic, by its excess and its own p-value.
FINDINGS = {
    "js_divergence": lambda size, p: {"js_divergence": size, "excess": size, "js_p_value": p},
    "mean_shift": lambda size, p: {"mean_shift": MeanShift(0.0, p, 0.0, p, size)},
    "novelty": lambda size, p: {"novelty": build_novelty(size, size, p)},
    "spread": lambda size, p: {"spread": Spread(None, SpreadChange(-2 * size, size, p), None)},
    "duplicates": lambda size, p: {"duplicates": Duplicates(size, p)},
}


def points(path):
    return [tuple(map(float, pair)) for pair in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


def rows_of(number, size_ms):
    rows = np.repeat(build_rows("ok"), number)
    rows["start_ms"] += np.arange(number) * size_ms
    return rows


@pytest.mark.parametrize(
    ("rows", "size_ms", "values", "options"),
    [
        # Heights are proportional to numbers, those of the floor and of the limit too.
        (
            build_rows(*["ok"] * 4),
            HOUR_MS,
            [0.1, 0.2, 0.4, -0.1],
            {"floor": np.full(4, 0.05), "limits": [np.full(4, 0.3)]},
        ),
        # A window without a number breaks the line; a single one is a point.
        (build_rows("ok", "insufficient", "ok"), HOUR_MS, [0.1, np.nan, 0.2], {}),
        (build_rows("ok", "insufficient"), HOUR_MS, [0.1, np.nan], {}),
        # A missing one breaks the line and the bands.
        (build_rows("ok", "ok", "ok")[[0, 2]], HOUR_MS, [0.1, 0.2], {}),
        # Bands join windows of the same verdict.
        (build_rows("ok", "ok", "drift", "drift", "ok"), HOUR_MS, [0.1] * 5, {}),
        # Ticks name Mondays, and the first one zone and date.
        (rows_of(21, DAY_MS), DAY_MS, [1] * 21, {}),
        (build_rows(*["ok"] * 7)[4:], HOUR_MS, [1] * 3, {"height": 156}),
        (rows_of(2, DAY_MS), DAY_MS, [1] * 2, {}),
    ],
)
def test_chart_is_drawn(rows, size_ms, values, options, snapshot):
    assert asdict(chart("", "", rows, size_ms, np.array(values), **options)) == snapshot


def test_chart_of_many_windows_has_no_dots():
    assert chart("", "", rows_of(121, HOUR_MS), HOUR_MS, np.ones(121)).dots == ()


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=30),
    st.sampled_from([1_000, MINUTE_MS, HOUR_MS, DAY_MS, 365 * DAY_MS]),
)
def test_any_numbers_fit_the_drawing(values, size_ms):
    drawn = chart("", "", rows_of(len(values), size_ms), size_ms, np.array(values))
    assert all(0 <= x <= PLOT["width"] and -1 <= y <= drawn.height + 1 for x, y in points(drawn.line))
    assert 1 <= len(drawn.y_ticks) <= 12
    assert len(drawn.x_ticks) <= 12
    assert len({tick.text for tick in drawn.y_ticks}) == len(drawn.y_ticks)


def test_strips_of_two_sizes_cover_the_same_time():
    hours, day = build_rows(*["ok"] * 20, *["drift"] * 4), build_rows("warning")
    until_ms = MONDAY_MS + DAY_MS
    hourly, daily = (
        strip(rows, size_ms, MONDAY_MS, until_ms) for rows, size_ms in ((hours, HOUR_MS), (day, DAY_MS))
    )
    assert [(each.verdict, each.x + each.width) for each in hourly][-1] == ("drift", SPARK_WIDTH)
    assert [(each.verdict, each.x, each.width) for each in daily] == [("warning", 0, SPARK_WIDTH)]
    assert strip(hours, HOUR_MS, until_ms, until_ms + DAY_MS) == (), "none is of that time"


@pytest.mark.parametrize("own_p_value", [1e-9, 0.3])
@pytest.mark.parametrize("p_value", [1e-9, 0.3])
@pytest.mark.parametrize("size", [0.9, 1.1])
@pytest.mark.parametrize(
    ("name", "flips"), [*((name, False) for name in FINDINGS), ("mean_shift", True), ("novelty", True)]
)
def test_evidence_reaches_its_limit_where_a_window_is_significant_and_large(
    name, flips, size, p_value, own_p_value, monkeypatch
):
    findings = FINDINGS[name](size * ALARM.floor(name), own_p_value)
    if flips:
        kind = type(findings[name])
        monkeypatch.setattr(kind, "always_counts", not kind.always_counts)
    score = change_score(QUIET, p_value=p_value, **findings)
    value = result_record(build_result(baseline_id="sha256:abcd", score=score), None)
    rows = np.atleast_1d(read_summary(value, partition=0, offset=0, published_ms=0)[1])
    assert (strength(rows, ALARM) >= 1) == build_scorer().read_signs(score, tally(400, 300, 200, 100)).warns
