"""Tests of `driftgauge.events.vectors`."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.vectors import F32, VectorFormat, split_vectors

FORMATS = [F32, *map(VectorFormat, ["f16", "bf16", "f64"]), VectorFormat("int8", 0.25, -3)]
NUMPY = {"f32": "<f4", "f16": "<f2", "f64": "<f8", "int8": "i1"}


def same_bits(found, expected):
    assert found.dtype == np.float32
    is_nan = np.isnan(expected)
    assert np.array_equal(np.isnan(found), is_nan)
    assert found[~is_nan].tobytes() == np.asarray(expected, np.float32)[~is_nan].tobytes()


@pytest.mark.parametrize("number", FORMATS, ids=lambda number: number.dtype)
@given(count=st.integers(0, 20), data=st.data())
def test_any_bytes_become_float32(number, count, data):
    raw = data.draw(st.binary(min_size=count * number.size, max_size=count * number.size))
    found = number.to_float32(raw)
    assert found.shape == (count,)
    if number.dtype == "bf16":
        # The bytes of a float32 whose lower half is zero.
        padded = b"".join(b"\0\0" + raw[2 * place : 2 * place + 2] for place in range(count))
        same_bits(found, np.frombuffer(padded, "<f4"))
        return
    values = np.frombuffer(raw, NUMPY[number.dtype])
    if number.dtype == "int8":
        # Exact in float32: a scale that is a power of two, and small whole numbers.
        same_bits(found, 0.25 * (values.astype(np.float64) + 3))
        return
    with np.errstate(all="ignore"):
        same_bits(found, values.astype(np.float32))


def test_signalling_nan_of_f64_is_nan_without_a_warning():
    raw = bytes.fromhex("010000000000f07f") * 3
    assert np.isnan(VectorFormat("f64").to_float32(raw)).all()


@pytest.mark.parametrize("scale", [1e-30, 0.1, 1e30])
def test_int8_of_any_permitted_scale_is_finite(scale):
    raw = bytes(range(256))
    found = VectorFormat("int8", scale, -128).to_float32(raw)
    expected = (np.frombuffer(raw, np.int8).astype(np.float32) + np.float32(128)) * np.float32(scale)
    assert np.isfinite(found).all()
    assert found.tobytes() == expected.tobytes()
    assert np.count_nonzero(found) == 255


def in_base64(raw):
    return base64.b64encode(raw).decode()


def split(value, cut_by):
    """Split a value of f32 by a dimension or a shape, or as it is."""
    return (
        split_vectors(value, F32, None, cut_by)
        if isinstance(cut_by, int)
        else split_vectors(value, F32, cut_by)
    )


@pytest.mark.parametrize(
    ("value", "cut_by", "vectors", "are_many"),
    [
        ([1, 2.5], None, [[1, 2.5]], False),
        ([], None, [[]], False),
        ([[1, 2], [3]], None, [[1, 2], [3]], True),
        ([[]], None, [[]], True),
        (b"12345678", None, [b"12345678"], False),
        (b"", None, [b""], False),
        (in_base64(b"12345678"), None, [b"12345678"], False),
        ("[1, 2.5]", None, [[1, 2.5]], False),
        ("[[1],[2]]", None, [[1], [2]], True),
        ([1, 2, 3, 4], [2, 2], [[1, 2], [3, 4]], True),
        ([1, 2, 3, 4], [4], [[1, 2, 3, 4]], True),
        ([1, 2, 3, 4], [1, 2, 2], [[1, 2], [3, 4]], True),
        ([[1, 2], [3, 4]], [2, 2], [[1, 2], [3, 4]], True),
        ([[[1, 2], [3, 4]]], [1, 2, 2], [[1, 2], [3, 4]], True),
        ([1, [2]], [1, 2], [[1, [2]]], True),
        ([], [0, 4], [], True),
        (b"", [0, 4], [], True),
        (b"12345678", [2, 1], [b"1234", b"5678"], True),
        (in_base64(b"12345678"), [2, 1], [b"1234", b"5678"], True),
        # By the dimension.
        (b"12345678abcdefgh", 2, [b"12345678", b"abcdefgh"], True),
        (b"12345678", 2, [b"12345678"], True),
        (in_base64(b"12345678abcdefgh"), 2, [b"12345678", b"abcdefgh"], True),
        ([1, 2, 3, 4], 2, [[1, 2], [3, 4]], True),
        ([[1, 2], [3, 4]], 2, [[1, 2], [3, 4]], True),
    ],
)
def test_value_is_split_into_vectors(value, cut_by, vectors, are_many):
    found, found_many = split(value, cut_by)
    assert (list(found), found_many) == (vectors, are_many)


@pytest.mark.parametrize(
    ("value", "cut_by"),
    [
        (None, None),
        (5, None),
        ({"a": 1}, None),
        ([[1], 2], None),
        ("not base64", None),
        ("AAAA====", None),
        ("[1, NaN]", None),
        ("[1", None),
        ("é", None),
        ([1, 2, 3], [2, 2]),
        ([[1, 2], [3]], [2, 2]),
        ([[1, 2, 3], [4]], [2, 2]),
        ([[1, 2], 3], [2, 2]),
        (b"1234567", [2, 1]),
        ([], [10**18, 0]),
        (b"", [10**18, 0]),
        ([], []),
        ([1], [-1, -1]),
        ([1], [True]),
        ([1], [1.0]),
        ([1], "1"),
        ([1], {"a": 1}),
        ([1], [1] * 33),
        ([1], [2**63] * 32),
        *((value, 2) for value in (b"", b"123456781234", [], [1, 2, 3], [[1, 2], [3]], [[1, 2, 3]])),
    ],
)
def test_other_value_is_invalid(value, cut_by):
    with pytest.raises(EventError) as caught:
        split(value, cut_by)
    assert caught.value.reason is Reason.INVALID
    assert caught.value.detail.startswith("embedding: ")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
)


@given(JSON | JSON.map(json.dumps) | st.binary(max_size=20), st.none() | JSON)
def test_any_value_is_split_or_invalid(value, shape):
    try:
        vectors, _ = split_vectors(value, VectorFormat("f16"), shape)
    except EventError as error:
        reason = error.reason
        assert reason is Reason.INVALID
    else:
        assert all(type(vector) in {list, bytes} for vector in vectors)


@pytest.mark.parametrize(("value", "shape"), [([[1.0]] * 10_001, None), (bytes(10_001), [10_001, 1])])
def test_too_many_vectors_in_a_record_are_refused_before_they_are_cut(value, shape):
    with pytest.raises(EventError, match="more than 10,000 vectors"):
        split_vectors(value, VectorFormat("int8"), shape)
