"""Varints of Avro and Protobuf."""

import pytest
from google.protobuf.wrappers_pb2 import UInt64Value
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.events.varints import from_zigzag, read_varint
from tests.events.schema_records import avro


@given(st.integers(1, 2**64 - 1), st.binary(max_size=3), st.binary(max_size=3))
def test_varint_of_protobuf_is_read(number, before, after):
    varint = UInt64Value(value=number).SerializeToString()[1:]
    assert read_varint(before + varint + after, len(before)) == (number, len(before + varint))


@given(st.integers(-(2**63), 2**63 - 1))
def test_varint_of_avro_is_read(number):
    varint = avro(number, "long")
    assert from_zigzag(read_varint(varint, 0)[0]) == number


@pytest.mark.parametrize(
    ("raw", "longest"), [(b"", 10), (b"\x80", 10), (b"\x80" * 10 + b"\0", 10), (b"\x80" * 9 + b"\0", 9)]
)
def test_varint_that_ends_early_or_is_too_long_is_refused(raw, longest):
    with pytest.raises(ValueError, match=f"over {longest}"):
        read_varint(raw, 0, longest)
