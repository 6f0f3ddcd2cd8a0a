"""The framing that names a record's schema."""

import io
from contextlib import suppress

import pytest
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.schemas import read_message_indexes, read_schema_id
from tests.events.schema_records import framed


@given(st.integers(1, 2**31 - 1), st.binary())
def test_schema_id_is_read(schema_id, payload):
    assert read_schema_id(framed(payload, schema_id)) == schema_id


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b"", "0 bytes, too short"),
        (b"\0\0\0\0", "4 bytes, too short"),
        (b"\x01\0\0\0\7x", "its magic byte is 1, not 0"),
        (b'{"stream": 1}', "its magic byte is 123, not 0"),
        (b"\0\0\0\0\0{}", "its schema id is 0, which no schema registry gives"),
        (b"\0\x80\0\0\0{}", "its schema id is 2147483648, which no"),
        (b"\0\xff\xff\xff\xff{}", "its schema id is 4294967295, which no"),
    ],
)
def test_value_without_framing_is_undecodable(raw, detail):
    with pytest.raises(EventError, match=detail) as caught:
        read_schema_id(raw)
    assert caught.value.reason is Reason.UNDECODABLE


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=20), st.binary(max_size=3))
def test_message_indexes_of_the_clients_serializer_are_read(indexes, payload):
    buffer = io.BytesIO()
    ProtobufSerializer._encode_varints(buffer, indexes)
    raw = framed(buffer.getvalue())
    assert read_message_indexes(raw + payload) == (tuple(indexes), len(raw))
    for end in range(5, len(raw)):
        with pytest.raises(EventError, match="message index"):
            read_message_indexes(raw[:end])


@pytest.mark.parametrize(
    ("encoded", "detail"),
    [
        (b"\x01", "-1 message indexes"),
        (b"\xca\x01\x00", "101 message indexes"),
        (b"\x02\x01", "message index -1 is negative"),
        (b"\xff" * 11, "over ten bytes"),
        (b"\x80" * 9, "ends within its message indexes"),
    ],
)
def test_wrong_message_indexes_are_undecodable(encoded, detail):
    with pytest.raises(EventError, match=detail):
        read_message_indexes(framed(encoded))


@given(st.binary())
def test_any_bytes_are_read_or_undecodable(raw):
    with suppress(EventError):
        read_schema_id(raw)
        read_message_indexes(raw)
