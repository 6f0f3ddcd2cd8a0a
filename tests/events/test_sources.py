"""Sources of fields, and times in every form."""

import contextlib
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from uuid import UUID

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from driftgauge.config.inputs import Source, TimeSource
from driftgauge.events.records import StoredRecord
from driftgauge.events.sources import compile_path, compile_source, read_time, to_text
from driftgauge.events.timestamps import LAST_MS, format_timestamp, parse_timestamp, read_timestamp

MONDAY_MS = 1_762_128_000_000
MONDAY_S = MONDAY_MS // 1_000
VALUE = {
    "a": {"b": {"c": 1}, "list": [10, {"id": "x"}], "null": None, "text": "abc"},
    "x.y": 2,
    "json": '{"x": [1, {"y": "2"}], "in": "{\\"z\\": 3}", "null": null}',
    "outputs": [{"name": "logits", "data": 3}, 7, {"name": "embedding", "data": 4}, {"name": 5, "data": 6}],
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.b.c", 1),
        ("a.list[0]", 10),
        ("a.list[1].id", "x"),
        ('["x.y"]', 2),
        ("outputs[name=embedding].data", 4),
        ("outputs[name=5].data", 6),
        ("outputs[name=none].data", None),
        ("outputs[nothing=none]", None),
        ("a.list[2]", None),
        ("a.list[99999999999999999999]", None),
        ("a.list.id", None),
        ("a.null", None),
        ("a.null.b", None),
        ("a.text.b", None),
        ("a.text[0]", None),
        ("a[0]", None),
        ("a.b[c=1]", None),
        ("a.b.c.d", None),
        ("missing.b", None),
        ("json[json].x[1].y", "2"),
        ("json[json].in[json].z", 3),
        ("json[json].null[json].z", None),
        ("json.x", None),
        ("a[json].b", None),
        ("a.list[0][json]", None),
    ],
)
def test_path_is_followed_until_it_ends(path, found):
    assert compile_path(path)(VALUE) == found


@pytest.mark.parametrize("value", [None, 5, "text", b"bytes", [], [VALUE], True])
@pytest.mark.parametrize("path", ["a", "a.b", "a[0]", "a[x=y]"])
def test_path_into_other_values_is_missing(path, value):
    assert compile_path(path)(value) is None


class Unreadable(StoredRecord):
    def headers(self):
        raise SystemError


class Headless(StoredRecord):
    def headers(self):
        return None


RECORD = StoredRecord(b"v", stored_key=b"\xff", stored_ms=5)
# The last header of a name counts, and names are exact.
WITH_HEADERS = StoredRecord(b"", stored_headers=[("a", b"1"), ("A", b"2"), ("a", b"3"), ("n", None)])


@pytest.mark.parametrize(
    ("source", "record", "found"),
    [
        ({"record": "key"}, RECORD, b"\xff"),
        ({"record": "value"}, RECORD, {"a": 1}),
        ({"record": "timestamp"}, RECORD, 5),
        ({"record": "timestamp"}, StoredRecord(b"v"), None),
        ({"record": "key"}, StoredRecord(b"v"), None),
        ({"constant": "c"}, RECORD, "c"),
        ({"header": "a"}, WITH_HEADERS, b"3"),
        ({"header": "A"}, WITH_HEADERS, b"2"),
        ({"header": "n"}, WITH_HEADERS, None),
        ({"header": "b"}, WITH_HEADERS, None),
        ({"header": "a"}, Unreadable(b""), None),
        ({"header": "a"}, Headless(b""), None),
    ],
)
def test_source_reads_its_part_of_a_record(source, record, found):
    assert compile_source(Source(**source))(record, {"a": 1}) == found


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("t", "t"),
        ("", ""),
        (b"\xc3\xa9", "é"),
        (7, "7"),
        (-(2**63), "-9223372036854775808"),
        (True, "true"),
        (False, "false"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_text_of_value(value, text):
    assert to_text(value) == text


def time(value, unit="ms", **more):
    return read_time(TimeSource(path="t", unit=unit, **more), value)


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("ms", MONDAY_MS + 250),
        ("ms", float(MONDAY_MS + 250)),
        ("ms", MONDAY_MS + 250.999),
        ("ms", MONDAY_MS + 250.9996),
        ("ms", str(MONDAY_MS + 250)),
        ("ms", b"1762128000250"),
        ("s", MONDAY_S + 0.25),
        ("s", f"{MONDAY_S}.25"),
        ("s", f"{MONDAY_S}.250999999999999999999"),
        ("us", MONDAY_MS * 1_000 + 250_999),
        ("us", float(MONDAY_MS * 1_000 + 250_999)),
        ("ns", MONDAY_MS * 1_000_000 + 250_999_999),
        ("ns", str(MONDAY_MS * 1_000_000 + 250_999_999)),
        ("ns", "2025-11-03T00:00:00.250Z"),
        ("s", b"2025-11-03T01:00:00.2509+01:00"),
        ("ns", datetime(2025, 11, 3, 0, 0, 0, 250_999, UTC)),
        ("s", Timestamp(seconds=MONDAY_S, nanos=250_999_999)),
        ("ms", datetime(2025, 11, 3, 2, 0, 0, 250_000, timezone(timedelta(hours=2)))),
    ],
)
def test_time_in_every_form(unit, value):
    assert time(value, unit) == MONDAY_MS + 250


@pytest.mark.parametrize("text", ["2025-11-03 00:00:00.250000+00:00", "2025-11-03 01:00:00.25+01:00"])
def test_time_as_python_writes_it_needs_an_offset_unless_utc_is_assumed(text):
    assert time(text) == time(text, assume_utc=True) == MONDAY_MS + 250
    avro = datetime(2025, 11, 3, 0, 0, 0, 250_000)  # noqa: DTZ001 - Avro's local timestamps have no zone
    for local in ("2025-11-03 00:00:00.250", "2025-11-03T00:00:00.25", avro):
        assert time(local, assume_utc=True) == MONDAY_MS + 250
        with pytest.raises(ValueError, match=r"without an offset .* set timestamp\.assume_utc to true"):
            time(local)


@example(186_169_572_190_113)
@given(st.integers(0, LAST_MS))
def test_decimal_seconds_are_exact_to_the_millisecond(time_ms):
    seconds, fraction = divmod(time_ms, 1_000)
    assert time(f"{seconds}.{fraction:03}", "s") == time_ms
    # A double holds 53 bits: of the last millennia, no fraction of a millisecond.
    if time_ms < 2**42:
        assert time(time_ms / 1_000, "s") == time_ms
    assert time(float(time_ms)) == time_ms
    assert time(time_ms * 1_000_000, "ns") == time_ms


@given(
    st.sampled_from(["s", "ms", "us", "ns"]),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.datetimes()),
)
def test_any_value_is_a_time_or_a_value_error(unit, value):
    with contextlib.suppress(ValueError):
        assert 0 <= time(value, unit) <= LAST_MS


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


NO_DATE_TIMES = (
    "", "2025-11-03", "2025-11-03T00:00:00", "2025-11-03 00:00:00Z", "2025-11-03T00:00Z",
    "2025-11-03T00:00:00.Z", "2025-11-03T00:00:00,5Z", "20251103T000000Z", "2025-W45-1T00:00:00Z",
    "2025-11-03T24:00:00Z", "2025-11-03T00:60:00Z", "2025-11-03T00:00:61Z", "2025-11-03T12:59:60Z",
    "2025-13-03T00:00:00Z", "2025-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "2025-11-03T00:00:00+24:00",
    "2025-11-03T00:00:00+01:60", "2025-11-03T00:00:00+01:00:30", "2025-11-03T00:00:00+0100",
    "2025-11-03T00:00:00+01",
    "2025-11-03T00:00:00Z\n", " 2025-11-03T00:00:00Z", "२०२५-11-03T00:00:00Z", "1762128000000",
    "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01",
)  # fmt: skip
NO_TIMES = (
    True, None, [], {}, "", "x", b"\xff", -1, "-1", "1e9", "1.", ".5", "٣", "1_000", " 1", "1" * 5_000,
    float("nan"), float("inf"), -1.0, 1e300, 1e308, 2**63 * 10**9, "2025-11-03", "2025-11-03T00:00:00",
    datetime(1969, 12, 31, tzinfo=UTC), Timestamp(seconds=-1), Duration(seconds=1),
)  # fmt: skip
NO_EPOCH_TIMES = (True, 1.0, None, [], {}, -1, LAST_MS + 1, 10**30)


@pytest.mark.parametrize(
    ("read", "value", "said"),
    [
        *(
            (to_text, value, "not UTF-8|neither text nor a whole number")
            for value in (b"\xff", 1.0, None, [], {}, ["a"])
        ),
        *((partial(time, unit=unit), value, r"\w") for unit in ("s", "ms", "us", "ns") for value in NO_TIMES),
        *((parse_timestamp, text, r"\w") for text in NO_DATE_TIMES),
        *(
            (read_timestamp, value, "a number is in milliseconds|neither an integer")
            for value in NO_EPOCH_TIMES
        ),
    ],
    ids=lambda each: None if callable(each) else str(each)[:60],
)
def test_other_values_are_no_text_and_no_time(read, value, said):
    with pytest.raises(ValueError, match=said):
        read(value)


@given(st.integers(0, LAST_MS))
def test_formatted_time_parses_to_same_time(time_ms):
    assert parse_timestamp(format_timestamp(time_ms)) == read_timestamp(time_ms) == time_ms
