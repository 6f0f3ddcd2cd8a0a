"""Parsing and formatting of durations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.durations import format_duration, parse_duration, round_duration


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("250ms", 250),
        ("30s", 30_000),
        ("10m", 600_000),
        ("1h", 3_600_000),
        ("1d", 86_400_000),
        ("1h30m", 5_400_000),
        ("1d12h", 129_600_000),
        ("1m5ms", 60_005),
        ("1d1h1m1s1ms", 90_061_001),
        ("90m", 5_400_000),
        ("0s", 0),
    ],
)
def test_parse_sums_terms(text, milliseconds):
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize(
    "text", ["", "0", "30", "s", "-5s", "1.5h", "1 h", " 1h", "1h ", "1h\n", "1H", "1w", "10µs", "1h and 5m"]
)
def test_parse_rejects_other_texts_with_example(text):
    with pytest.raises(ValueError, match="write a number and a unit, such as 30s"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["30m1h", "1h1h", "1s1d", "1ms1s"])
def test_parse_rejects_units_that_repeat_or_ascend(text):
    with pytest.raises(ValueError, match="must descend"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0s"), (86_400_000, "1d"), (5_400_000, "1h30m"), (61_001, "1m1s1ms"), (604_800_000, "7d")],
)
def test_format_is_canonical(milliseconds, text):
    assert format_duration(milliseconds) == text


@given(st.integers(min_value=0, max_value=10**15))
def test_parse_inverts_format(milliseconds):
    assert parse_duration(format_duration(milliseconds)) == milliseconds


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (1_999, "1999 ms"),
        (2_000, "2 s"),
        (300_001, "5 min"),
        (7_169_999, "119 min"),
        (7_170_000, "2 h"),
        (86_399_901, "24 h"),
        (172_800_000, "2 days"),
        (1_760_000_000_000, "56 years"),
    ],
)
def test_rounded_duration_is_in_the_largest_unit_of_which_it_has_two(milliseconds, text):
    assert round_duration(milliseconds) == text
