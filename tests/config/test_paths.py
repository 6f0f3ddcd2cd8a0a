"""Tests of `driftgauge.config.paths`."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.config.paths import Choice, Json, parse_path


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("id", ("id",)),
        ("payload.items[0].id", ("payload", "items", 0, "id")),
        ("[2].x", (2, "x")),
        ("a[0][1]", ("a", 0, 1)),
        ('data["x.y"].z', ("data", "x.y", "z")),
        ('["a b"]["[0]"]', ("a b", "[0]")),
        ("outputs[name=embedding].data", ("outputs", Choice("name", "embedding"), "data")),
        ("outputs[name=a b=c.d]", ("outputs", Choice("name", "a b=c.d"))),
        ("tags[0=x]", ("tags", Choice("0", "x"))),
        ("payload[json].id", ("payload", Json(), "id")),
        ("[json][json=json]", (Json(), Choice("json", "json"))),
        ("größe.日付", ("größe", "日付")),
        ("a-b.c_d/e:f", ("a-b", "c_d/e:f")),
    ],
)
def test_path_has_steps(text, steps):
    assert parse_path(text) == steps


@pytest.mark.parametrize(
    "text",
    ["", ".", ".a", "a.", "a..b", "a.[0]", "a[", "a[]", "a[-1]", "a[x]", "a]", 'a[""]', "a b", "a[=x]",
     "a[n=]", "[0]a", '"a"', "a=b", "a[٣]"],
)  # fmt: skip
def test_other_text_is_no_path(text):
    with pytest.raises(ValueError, match="is no path; write names, dots and brackets"):
        parse_path(text)


NAMES = st.text(st.characters(exclude_characters='.[]="', exclude_categories=["Z", "C"]), min_size=1)


@given(st.lists(st.one_of(NAMES, st.integers(0, 99), st.builds(Choice, NAMES, NAMES)), min_size=1))
def test_written_path_is_read_back(steps):
    text = ""
    for step in steps:
        match step:
            case str():
                text += f".{step}" if text else step
            case int():
                text += f"[{step}]"
            case Choice():
                text += f"[{step.field}={step.value}]"
    assert parse_path(text) == tuple(steps)


@given(st.text(alphabet='a0.[]="\n '))
def test_any_text_is_a_path_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        assert parse_path(text)
