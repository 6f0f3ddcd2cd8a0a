"""Tests of `driftgauge.page.summary`."""

import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.page.summary import (
    CALIBRATED,
    COUNTED_TWICE,
    EVENTS_LOST,
    KINDS,
    SEGMENT_DRIFT,
    SUMMARY,
    VERDICTS,
    Series,
    read_summary,
)
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.page import build_row, record_tree


def test_summary_takes_less_than_150_bytes():
    assert SUMMARY.itemsize == 94


def test_summary_has_the_numbers_of_the_record():
    tree = record_tree(3, incomplete=[{"topic": "t", "partition": 1}] * 2, events_lost=True)
    series, row = read_summary(orjson.dumps(tree), partition=5, offset=7, published_ms=9)
    assert series == Series("resnet18-fc1", HOUR_MS)
    assert row["start_ms"] == MONDAY_MS + 3 * HOUR_MS
    assert [row[name] for name in ("partition", "offset", "published_ms")] == [5, 7, 9]
    for name in ("revision", "count", "js_divergence", "noise_floor", "p_value"):
        assert row[name] == tree[name]
    assert row["mean_shift"] == pytest.approx(tree["mean_shift"]["excess"])
    assert row["novelty_excess"] == pytest.approx(tree["novelty_excess"])
    assert row["spread"] == pytest.approx(tree["spread"]["components"]["change"])
    assert row["duplicates"] == pytest.approx(tree["duplicates"]["share"])
    assert row["slow_drift"] == pytest.approx(2.0)
    assert row["detectable_js"] == pytest.approx(0.02)
    assert row["missing"] == 2
    assert (VERDICTS[row["verdict"]], KINDS[row["kind"]]) == ("drift", "shift")
    assert row["flags"] == CALIBRATED + EVENTS_LOST + SEGMENT_DRIFT


def test_spread_is_that_of_larger_size():
    change = {"outliers": 0.0, "excess": 0.0, "p_value": 0.5}
    spread = {"components": change | {"change": 0.1}, "residual": change | {"change": -0.3}}
    assert build_row(spread=spread)["spread"] == pytest.approx(-0.3)


def test_missing_numbers_are_nan():
    row = build_row(0, "insufficient", segments=[])
    for name in ("js_divergence", "noise_floor", "p_value", "mean_shift", "novelty_excess", "spread"):
        assert math.isnan(row[name])
    assert row["flags"] == 0


def test_record_without_later_fields_is_read():
    tree = record_tree(counted_twice=True)
    for name in ("novelty_excess", "spread", "duplicates", "kind", "evidence", "incomplete_reason"):
        del tree[name]
    row = read_summary(orjson.dumps(tree), partition=0, offset=0, published_ms=0)[1]
    assert row["flags"] & COUNTED_TWICE
    assert KINDS[row["kind"]] is None


def test_kind_of_later_version_is_none():
    assert KINDS[build_row(kind="seasons")["kind"]] is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'"text"',
        orjson.dumps(record_tree(count="many")),
        orjson.dumps(record_tree() | {"verdict": "maybe"}),
        orjson.dumps(record_tree() | {"stream": 7}),
        orjson.dumps(record_tree() | {"start": "Monday"}),
        orjson.dumps(record_tree() | {"baseline": "x"}),
        orjson.dumps(record_tree() | {"window": "week"}),
        orjson.dumps(record_tree() | {"revision": 2**40}),
        orjson.dumps(record_tree() | {"revision": -1}),
        orjson.dumps(record_tree() | {"count": -3}),
        orjson.dumps(record_tree() | {"count": True}),
        orjson.dumps(record_tree() | {"js_divergence": "inf"}),
        orjson.dumps(record_tree() | {"stream": ""}),
        orjson.dumps(record_tree() | {"window": "0s"}),
        orjson.dumps(record_tree() | {"window": "100000000d"}),
        orjson.dumps(record_tree() | {"start": "9999-12-31T23:30:00Z"}),
    ],
)
def test_other_values_are_refused(value):
    with pytest.raises(ValueError, match="not a window result"):
        read_summary(value, partition=0, offset=0, published_ms=0)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(record_tree())), _JSON)
def test_any_field_of_any_value_is_read_or_refused(name, value):
    try:
        series, row = read_summary(
            orjson.dumps(record_tree() | {name: value}), partition=0, offset=0, published_ms=0
        )
    except ValueError:
        return
    assert isinstance(series.stream, str)
    assert row.dtype == SUMMARY
