"""Tests of `driftgauge.events.timestamps`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.events.timestamps import LAST_MS, format_timestamp, parse_timestamp, read_timestamp

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2025-11-03T00:00:00Z", 1_762_128_000_000),
        ("2025-11-03T00:00:00.5Z", 1_762_128_000_500),
        ("2025-11-03T00:00:00.1239999999Z", 1_762_128_000_123),
        ("2025-11-03T01:30:00+01:30", 1_762_128_000_000),
        ("2025-11-02T23:00:00-01:00", 1_762_128_000_000),
        ("2025-11-03t00:00:00z", 1_762_128_000_000),
        ("2016-12-31T23:59:60Z", 17_167 * DAY_MS),
        ("2016-12-31T23:59:60.75Z", 17_167 * DAY_MS + 750),
        ("2017-01-01T08:59:60+09:00", 17_167 * DAY_MS),
        ("9999-12-31T23:59:59.999Z", LAST_MS),
    ],
)
def test_rfc_3339_date_time_is_parsed(text, time_ms):
    assert parse_timestamp(text) == time_ms


@pytest.mark.parametrize(
    "text",
    [
        "", "2025-11-03", "2025-11-03T00:00:00", "2025-11-03 00:00:00Z", "2025-11-03T00:00Z",
        "2025-11-03T00:00:00.Z", "2025-11-03T00:00:00,5Z", "20251103T000000Z", "2025-W45-1T00:00:00Z",
        "2025-11-03T24:00:00Z", "2025-11-03T00:60:00Z", "2025-11-03T00:00:61Z", "2025-11-03T12:59:60Z",
        "2025-13-03T00:00:00Z", "2025-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "2025-11-03T00:00:00+24:00",
        "2025-11-03T00:00:00+01:60", "2025-11-03T00:00:00+01:00:30", "2025-11-03T00:00:00+0100",
        "2025-11-03T00:00:00+01",
        "2025-11-03T00:00:00Z\n", " 2025-11-03T00:00:00Z", "२०२५-11-03T00:00:00Z", "1762128000000",
        "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01",
    ],
)  # fmt: skip
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match=r"\w"):
        parse_timestamp(text)


@pytest.mark.parametrize("value", [True, 1.0, None, [], {}, -1, LAST_MS + 1, 10**30])
def test_only_integer_in_range_is_epoch_time(value):
    with pytest.raises(ValueError, match=r"a number is in milliseconds|neither an integer"):
        read_timestamp(value)


@given(st.integers(0, LAST_MS))
def test_formatted_time_parses_to_same_time(time_ms):
    assert parse_timestamp(format_timestamp(time_ms)) == read_timestamp(time_ms) == time_ms
