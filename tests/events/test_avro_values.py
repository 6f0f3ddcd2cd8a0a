"""Values of an Avro layout: which differ within it, and are read as text or time."""

import pytest

from tests.events.both_ways import NOON_MS
from tests.events.test_avro_layouts import MAPPING, read_after_event, sized, varint

ENUM = {"type": "enum", "name": "E", "symbols": ["IMAGE", "TEXT"]}


@pytest.mark.parametrize(
    ("kind", "raws", "are_matched"),
    [
        (ENUM, [b"\2", b"\0", b"\4", b"\1", b"\x80\0"], [False, True, False, False, False]),
        ("boolean", [b"\1", b"\0", b"\7"], [False, True, True]),
        ("long", [varint(7), varint(-(2**40)), varint(0)], [False, True, True]),
        ("int", [varint(7), varint(-300)], [False, True]),
        ("double", [bytes(8)] * 2, [False, False]),
    ],
    ids=str,
)
def test_values_with_a_text_can_be_read_as_one(kind, raws, are_matched):
    assert read_after_event(kind, *raws, mapping=MAPPING | {"event_id": "x"}) == are_matched


def test_local_time_is_read():
    kind = {"type": "long", "logicalType": "local-timestamp-millis"}
    mapping = MAPPING | {"timestamp": "x"}
    raws = [varint(NOON_MS), varint(NOON_MS + 1), varint(2**42)]
    assert read_after_event(kind, *raws, mapping=mapping) == [False, True, False]


@pytest.mark.parametrize("unit", ["s", "ms"])
def test_time_that_is_text_is_read(unit):
    texts = [b"2025-11-03T12:00:00Z", b"2025-11-03T12:00:00.5+01:00", b"%d" % NOON_MS, b"1762171200", b"noon"]
    mapping = MAPPING | {"timestamp": {"path": "x", "unit": unit}}
    assert read_after_event("string", *map(sized, texts), mapping=mapping)[:2] == [False, True]


@pytest.mark.parametrize("mapping", [MAPPING, MAPPING | {"event_id": "x"}], ids=["not read", "read"])
def test_texts_of_any_usual_length_are_of_one_layout(mapping):
    texts = [b"de", b"", "é".encode(), b"x" * 63, b"x" * 64, b"x" * 255, b"x" * 256, b"\xff", b"de\xc3"]
    matched = [False, True, True, True, True, True, False, False, False]
    assert read_after_event("string", *map(sized, texts), mapping=mapping) == matched
