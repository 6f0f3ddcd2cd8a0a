"""CloudEvents, inference responses, and the framing that names a record's schema."""

import base64
import io
import json
from functools import partial

import numpy as np
import pytest
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.events.encodings import build_encoding
from driftgauge.events.encodings.inference import Inference, response_class
from driftgauge.events.records import StoredRecord
from driftgauge.events.rejection import EventError
from driftgauge.events.schemas import read_message_indexes, read_schema_id
from tests.events.mapped import IMAGES, read_settings
from tests.events.schema_records import framed, stored

BINARY = [("ce_specversion", b"1.0"), ("ce_type", b"t"), ("ce_id", b"5")]
STRUCTURED = [("content-type", b"application/cloudevents+json; charset=UTF-8")]


def decode(value, headers):
    mapping = read_settings({"encoding": "cloudevents", "embedding": "data.v", **IMAGES})
    return build_encoding("", mapping, None).decode(StoredRecord(value, stored_headers=headers))


ATTRIBUTES: dict[str, object] = {"specversion": "1.0", "type": "t", "id": "5"}
DOCUMENT = {"specversion": "1.0", "type": "t", "data": {"v": [1]}, "extension": True}
ODD_HEADERS = [
    ("CE-SpecVersion", "1.0"),
    ("Content-Type", "application/json"),
    ("ce_subject", None),
    ("ce_bad", b"\xff"),
    ("ce_data", b"x"),
    ("other", b"y"),
]
BASE64 = {"specversion": "1.0", "data_base64": base64.b64encode(b'{"v": [1]}').decode()}


@pytest.mark.parametrize(
    ("headers", "value", "event"),
    [
        *(
            (
                [*BINARY, ("content-type", each.encode())] if each else BINARY,
                b'{"v": [1]}',
                ATTRIBUTES | {"datacontenttype": each, "data": {"v": [1]}},
            )
            for each in (
                "application/json",
                "Application/JSON; charset=utf-8",
                "text/json",
                "application/vnd.x+json",
                "",
            )
        ),
        (
            [*BINARY, ("content-type", b"application/octet-stream")],
            b"\xff\0",
            ATTRIBUTES | {"datacontenttype": "application/octet-stream", "data": b"\xff\0"},
        ),
        (ODD_HEADERS, b"1", {"specversion": "1.0", "datacontenttype": "application/json", "data": 1}),
        (STRUCTURED, json.dumps(DOCUMENT).encode(), DOCUMENT),
        # Structured mode may have binary data in base64.
        *(
            (STRUCTURED, json.dumps(fields).encode(), fields | {"data": data})
            for fields, data in (
                (BASE64 | {"datacontenttype": "application/json"}, {"v": [1]}),
                (BASE64 | {"datacontenttype": "application/octet-stream"}, b'{"v": [1]}'),
                (BASE64, b'{"v": [1]}'),
                (BASE64 | {"data": 5, "data_base64": None}, 5),
            )
        ),
    ],
)
def test_cloudevent_has_attributes_and_data(headers, value, event):
    assert decode(value, headers) == event


VECTORS = np.array([[0.5, -1.25, 3, 0.1], [1, 2, 3, 4]], "<f4")
NUMBERS = {"fp32_contents": VECTORS.ravel()}
EMBEDDING = {
    "name": "embedding",
    "datatype": "FP32",
    "shape": VECTORS.shape,
    "parameters": {"content_type": {"string_param": "np"}},
}
LABEL = {"name": "label", "datatype": "BYTES", "shape": [1]}
HEAD = {
    "model_name": "encoder",
    "model_version": "2025-10",
    "id": "0193",
    "parameters": {"sent": {"int64_param": 5}},
}
DECODED = [LABEL | {"parameters": {}}, EMBEDDING | {"shape": [2, 4], "parameters": {"content_type": "np"}}]


def decode_response(**fields):
    return Inference({"FP32"}).decode(stored(response_class(**fields).SerializeToString()))


@pytest.mark.parametrize(
    ("contents", "raw", "data"),
    [
        ([{}, {}], [b"\1\0\0\0x", VECTORS.tobytes()], [None, VECTORS.tobytes()]),
        ([{"bytes_contents": [b"x"]}, NUMBERS], [], [[b"x"], memoryview(VECTORS.ravel())]),
    ],
)
def test_response_is_a_mapping(contents, raw, data):
    outputs = [each | {"contents": own} for each, own in zip((LABEL, EMBEDDING), contents, strict=True)]
    assert decode_response(**HEAD, outputs=outputs, raw_output_contents=raw) == HEAD | {
        "parameters": {"sent": 5},
        "outputs": [each | {"data": own} for each, own in zip(DECODED, data, strict=True)],
    }


@pytest.mark.parametrize(
    ("datatype", "contents", "raw", "data"),
    [
        # Four bytes of a whole number would pass for a float.
        ("FP32", {}, [b"12345678"], b"12345678"),
        ("FP64", {}, [b"12345678"], memoryview(b"12345678").cast("d")),
        *((datatype, {}, [b"12345678"], None) for datatype in ("BF16", "INT8", "INT32", "BOOL", "BYTES")),
        ("BOOL", {"bool_contents": [True]}, [], [True]),
        ("INT8", {"int_contents": [-3]}, [], [-3]),
        ("INT64", {"int64_contents": [-3]}, [], [-3]),
        ("UINT16", {"uint_contents": [3]}, [], [3]),
        ("UINT64", {"uint64_contents": [3]}, [], [3]),
        ("FP64", {"fp64_contents": [0.5]}, [], [0.5]),
        ("BYTES", {"bytes_contents": [b"x"]}, [], [b"x"]),
        *((datatype, {}, [], None) for datatype in ("FP32", "FP16", "")),
    ],
)
def test_contents_are_taken_by_datatype(datatype, contents, raw, data):
    output = {"name": "x", "datatype": datatype, "shape": [1], "contents": contents}
    (found,) = decode_response(outputs=[output], raw_output_contents=raw)["outputs"]
    assert found["data"] == data or [*found["data"]] == data


def test_empty_fields_are_missing():
    nothing = {"model_name": None, "model_version": None, "id": None}
    assert decode_response() == {**nothing, "parameters": {}, "outputs": []}


@given(st.integers(1, 2**31 - 1), st.binary())
def test_schema_id_is_read(schema_id, payload):
    assert read_schema_id(framed(payload, schema_id)) == schema_id


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
    ("read", "reason", "part"),
    [
        (partial(decode, b"{}", []), "invalid", "neither a structured CloudEvent nor one with ce_ headers"),
        (partial(decode, b"{}", [("ce_type", b"t")]), "invalid", "neither"),
        (partial(decode, b"{}", [("ce_specversion", b"\xff")]), "invalid", "neither"),
        (partial(decode, b"{}", STRUCTURED), "invalid", "no JSON object with specversion"),
        (partial(decode, b"[]", STRUCTURED), "invalid", "no JSON object with specversion"),
        (partial(decode, b"{", STRUCTURED), "undecodable", ""),
        (partial(decode, b"{", BINARY), "undecodable", ""),
        (partial(decode, b"", BINARY), "undecodable", ""),
        *(
            (partial(decode, b'{"specversion": "1.0", %b}' % fields, STRUCTURED), reason, part)
            for fields, reason, part in (
                (b'"data_base64": "A"', "invalid", "data_base64: no base64"),
                (b'"data_base64": 5', "invalid", "data_base64: no base64"),
                (b'"data_base64": "ew==", "datacontenttype": "text/json"', "undecodable", ""),
            )
        ),
        (
            partial(decode_response, raw_output_contents=[b"x"]),
            "undecodable",
            "1 raw contents, but 0 outputs",
        ),
        *(
            (partial(read_schema_id, raw), "undecodable", detail)
            for raw, detail in (
                (b"", "0 bytes, too short"),
                (b"\0\0\0\0", "4 bytes, too short"),
                (b"\x01\0\0\0\7x", "its magic byte is 1, not 0"),
                (b'{"stream": 1}', "its magic byte is 123, not 0"),
                (b"\0\0\0\0\0{}", "its schema id is 0, which no schema registry gives"),
                (b"\0\x80\0\0\0{}", "its schema id is 2147483648, which no"),
                (b"\0\xff\xff\xff\xff{}", "its schema id is 4294967295, which no"),
            )
        ),
        *(
            (partial(read_message_indexes, framed(encoded)), "undecodable", detail)
            for encoded, detail in (
                (b"\x01", "-1 message indexes"),
                (b"\xca\x01\x00", "101 message indexes"),
                (b"\x02\x01", "message index -1 is negative"),
                (b"\xff" * 11, "over ten bytes"),
                (b"\x80" * 9, "ends within its message indexes"),
            )
        ),
    ],
    ids=lambda each: str(getattr(each, "args", each))[:60],
)
def test_record_of_no_encoding_is_refused(read, reason, part):
    with pytest.raises(EventError) as caught:
        read()
    assert caught.value.reason == reason
    assert part in caught.value.detail
