"""Tests of `driftgauge.page.words`."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.page import words
from driftgauge.page.status import URGENCY
from driftgauge.page.summary import VERDICTS
from tests.builders.clocks import MONDAY_MS


def test_every_state_and_verdict_has_words():
    assert words.STATE_WORDS.keys() == words.COUNTED_WORDS.keys() == set(URGENCY)
    assert words.STATE_WORDS.keys() >= set(VERDICTS)


def test_moments_have_seconds_only_where_there_are_any():
    assert words.format_moment(MONDAY_MS) == "3 Nov 2025, 00:00 UTC"
    assert words.format_moment(MONDAY_MS + 3_605_000) == "3 Nov 2025, 01:00:05 UTC"


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
    words.describe_odds: {
        0.7: "Chance alone makes most windows so extreme",
        0.04: "Chance alone makes a window so extreme once in 25 windows",
        2.5e-5: "Chance alone makes a window so extreme once in 40,000 windows",
        3e-7: "Chance alone makes a window so extreme once in 3.3 million windows",
        0.0: "Practically certain: chance would not produce this",
    },
    words.format_signed_percent: {0.21: "+21.0 %", -0.05: "-5.0 %"},
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


@given(st.floats(0, 1), st.floats(0, 1))
def test_any_p_value_has_odds(first, second):
    assert words.describe_odds(min(first, second)).startswith(("Practically", "Chance alone"))
