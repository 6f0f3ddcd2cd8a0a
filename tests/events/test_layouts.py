"""Layouts: what a walk can pass, and what its patterns match."""

import re

import pytest

from driftgauge.config.inputs import InputSettings
from driftgauge.events import layouts
from driftgauge.events.layouts import Layout, UnusualLayout
from driftgauge.events.patterns import compile_patterns
from driftgauge.events.varints import to_varint

MAPPING = {"encoding": "avro", "stream": "stream", "embedding": "v", "timestamp": "at"}


def layout(raw, **mapping):
    settings = InputSettings.model_validate(MAPPING | mapping)
    return Layout(raw, compile_patterns(settings, lambda layout: None)._kinds, settings)


@pytest.mark.parametrize("size", [-1, 65])
def test_literal_of_unusual_size_has_no_pattern(size):
    with pytest.raises(UnusualLayout):
        layout(b"x" * 100).take(size)


def test_field_of_negative_size_has_no_pattern():
    with pytest.raises(UnusualLayout):
        layout(b"x" * 100).add(-8, ("x",))


def test_parts_are_bounded():
    found = layout(b"x" * 1_000)
    for _ in range(layouts._MOST_PARTS):
        found.take(1)
    with pytest.raises(UnusualLayout):
        found.take(1)


@pytest.mark.parametrize("raw", [b"", b"\x80", b"\x80" * 9 + b"\0"])
def test_unusual_varint_has_no_pattern(raw):
    for method in ("take_varint", "varint_size"):
        with pytest.raises(UnusualLayout):
            getattr(layout(raw), method)()


def test_number_of_a_varint_is_part_of_the_layout():
    found = layout(b"\x85\0")
    assert found.take_varint() == 5
    assert found.match()(b"\x85\0") is not None
    assert found.match()(b"\5") is None


def test_field_is_entered_once():
    found = layout(b"")
    found.enter(("x", None, "y"))
    found.enter(("x", None, "y"))
    found.enter(("x", "y"))
    with pytest.raises(UnusualLayout):
        found.enter(("x", "y"))


def test_field_that_is_read_is_there_once():
    found = layout(b"abab")
    found.add_bytes(2, ("v",))
    with pytest.raises(UnusualLayout):
        found.add_bytes(2, ("v",))


def test_field_of_another_kind_has_no_pattern():
    with pytest.raises(UnusualLayout):
        layout(b"abc").add(3, ("v",), {"text": bytes.decode})


@pytest.mark.parametrize("path", [("x",), ("stream",)])
@pytest.mark.parametrize("text", ["", "ab", "é", "x" * 63, "x" * 64, "x" * 255])
def test_text_of_another_length_is_of_the_layout(path, text):
    found = layout(b"\4ab")
    found.add_text(path, unit=2, varies=True)
    group, convert = found.checks[0] if found.checks else found._fields[path]
    written = text.encode()
    assert convert(found.match()(to_varint(2 * len(written)) + written).groups()[group]) == text
    assert found.match()(to_varint(2 * len(written)) + written + b"x") is None


@pytest.mark.parametrize(
    ("raw", "unit", "fewest"), [(b"\5ab", 2, 0), (b"\0", 1, 1)], ids=["half a byte", "too short"]
)
def test_unusual_length_of_a_text_has_no_pattern(raw, unit, fewest):
    with pytest.raises(UnusualLayout):
        layout(raw).add_text(("x",), unit, varies=True, fewest=fewest)


def test_texts_of_varying_length_are_bounded():
    found = layout(b"\0" * 100)
    for number in range(layouts._MOST_TEXTS):
        found.add_text((f"x{number}",), varies=True)
    with pytest.raises(UnusualLayout):
        found.add_text(("x",), varies=True)


def test_text_of_one_length():
    found = layout(b"\2ab")
    found.add_text(("x",), varies=False)
    assert found.match()(b"\2\xc3\xa9") is not None
    assert found.match()(b"\3abc") is None


@pytest.mark.parametrize(
    ("raw", "is_varint"),
    [
        (b"\0", True),
        (b"\xff" * 8 + b"\x7f", True),
        (b"\xff" * 9 + b"\1", False),
        (b"\x80", False),
        (b"\0\0", False),
    ],
)
def test_varint_has_at_most_63_bits(raw, is_varint):
    assert (re.fullmatch(layouts.VARINT, raw) is not None) == is_varint
