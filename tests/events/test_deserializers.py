"""CloudEvents, inference responses, and the framing that names a record's schema."""

import base64
import io
import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.events.encodings import build_encoding
from driftgauge.events.encodings.inference import Inference, response_class
from driftgauge.events.records import StoredRecord
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.schemas import read_message_indexes, read_schema_id
from driftgauge.events.sources import compile_path
from tests.events.mapped import IMAGES, read_settings
from tests.events.schema_records import framed, stored
from tests.examples import examples

BINARY = [("ce_specversion", b"1.0"), ("ce_type", b"t"), ("ce_id", b"5")]
STRUCTURED = [("content-type", b"application/cloudevents+json; charset=UTF-8")]


def cloudevent(value, headers):
    mapping = read_settings({"encoding": "cloudevents", "embedding": "data.v", **IMAGES})
    return build_encoding("", mapping, None).decode(StoredRecord(value, stored_headers=headers))


def refusal(value, headers):
    with pytest.raises(EventError) as caught:
        cloudevent(value, headers)
    return caught.value.reason, caught.value.detail


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", "text/json",
                                          "application/vnd.x+json", None])  # fmt: skip
def test_binary_mode_has_attributes_in_headers_and_json_in_value(content_type):
    headers = [*BINARY] if content_type is None else [*BINARY, ("content-type", content_type.encode())]
    event = cloudevent(b'{"v": [1]}', headers)
    assert event == {
        "specversion": "1.0", "type": "t", "id": "5", "data": {"v": [1]},
        "datacontenttype": content_type or "",
    }  # fmt: skip


def test_header_names_have_any_case_and_values_may_be_text_or_missing():
    headers = [
        ("CE-SpecVersion", "1.0"), ("Content-Type", "application/json"), ("ce_subject", None),
        ("ce_bad", b"\xff"), ("ce_data", b"x"), ("other", b"y"),
    ]  # fmt: skip
    event = cloudevent(b"1", headers)
    assert event == {"specversion": "1.0", "datacontenttype": "application/json", "data": 1}


def test_structured_mode_is_json_with_attributes():
    document = {"specversion": "1.0", "type": "t", "data": {"v": [1]}, "extension": True}
    assert cloudevent(json.dumps(document).encode(), STRUCTURED) == document


@pytest.mark.parametrize(
    ("content_type", "data"),
    [("application/json", {"v": [1]}), ("application/octet-stream", b'{"v": [1]}'), (None, b'{"v": [1]}')],
)
def test_structured_mode_has_binary_data_in_base64(content_type, data):
    document = {"specversion": "1.0", "data_base64": base64.b64encode(b'{"v": [1]}').decode()}
    if content_type:
        document["datacontenttype"] = content_type
    assert cloudevent(json.dumps(document).encode(), STRUCTURED)["data"] == data


@pytest.mark.parametrize(
    ("value", "headers", "reason", "part"),
    [
        (b"{}", [], "invalid", "neither a structured CloudEvent nor one with ce_ headers"),
        (b"{}", [("ce_type", b"t")], "invalid", "neither"),
        (b"{}", [("ce_specversion", b"\xff")], "invalid", "neither"),
        (b"{}", STRUCTURED, "invalid", "no JSON object with specversion"),
        (b"[]", STRUCTURED, "invalid", "no JSON object with specversion"),
        (b"{", STRUCTURED, "undecodable", ""),
        (b"{", BINARY, "undecodable", ""),
        (b"", BINARY, "undecodable", ""),
        (b'{"specversion": "1.0", "data_base64": "A"}', STRUCTURED, "invalid", "data_base64: no base64"),
        (b'{"specversion": "1.0", "data_base64": 5}', STRUCTURED, "invalid", "data_base64: no base64"),
        (
            b'{"specversion": "1.0", "data_base64": "ew==", "datacontenttype": "text/json"}',
            STRUCTURED,
            "undecodable",
            "",
        ),
    ],
)
def test_other_records_are_no_cloudevent(value, headers, reason, part):
    found, detail = refusal(value, headers)
    assert found == reason
    assert part in detail


def test_binary_mode_of_other_content_has_bytes():
    event = cloudevent(b"\xff\0", [*BINARY, ("content-type", b"application/octet-stream")])
    assert event["data"] == b"\xff\0"


def test_null_data_base64_is_absent():
    document = {"specversion": "1.0", "data": 5, "data_base64": None}
    assert cloudevent(json.dumps(document).encode(), STRUCTURED)["data"] == 5


VECTORS = np.array([[0.5, -1.25, 3, 0.1], [1, 2, 3, 4]], "<f4")


def response(*, raw):
    message = response_class(model_name="encoder", model_version="2025-10", id="0193")
    message.parameters["sent"].int64_param = 5
    message.outputs.add(name="label", datatype="BYTES", shape=[1])
    output = message.outputs.add(name="embedding", datatype="FP32", shape=VECTORS.shape)
    output.parameters["content_type"].string_param = "np"
    if raw:
        message.raw_output_contents.extend([b"\1\0\0\0x", VECTORS.tobytes()])
    else:
        message.outputs[0].contents.bytes_contents.append(b"x")
        output.contents.fp32_contents.extend(VECTORS.ravel())
    return message.SerializeToString()


@pytest.mark.parametrize("raw", [True, False])
def test_response_is_a_mapping(raw):
    data = (None, VECTORS.tobytes()) if raw else ([b"x"], memoryview(VECTORS.ravel()))
    outputs = [
        {"name": "label", "datatype": "BYTES", "shape": [1], "parameters": {}, "data": data[0]},
        {
            "name": "embedding",
            "datatype": "FP32",
            "shape": [2, 4],
            "parameters": {"content_type": "np"},
            "data": data[1],
        },
    ]
    assert Inference({"FP32"}).decode(stored(response(raw=raw))) == {
        "model_name": "encoder",
        "model_version": "2025-10",
        "id": "0193",
        "parameters": {"sent": 5},
        "outputs": outputs,
    }


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("FP32", b"12345678"),
        ("FP64", memoryview(b"12345678").cast("d")),
        ("BF16", None),
        ("INT8", None),
        ("INT32", None),
        ("BOOL", None),
        ("BYTES", None),
    ],
)
def test_raw_contents_are_numbers_of_their_datatype_or_missing(datatype, data):
    """Four bytes of a whole number would pass for a float."""
    message = response_class()
    message.outputs.add(name="embedding", datatype=datatype, shape=[1])
    message.raw_output_contents.append(b"12345678")
    decoded: Any = Inference({"FP32"}).decode(stored(message.SerializeToString()))
    assert decoded["outputs"][0]["data"] == data


@pytest.mark.parametrize(
    ("datatype", "field", "value"),
    [
        ("BOOL", "bool_contents", True),
        ("INT8", "int_contents", -3),
        ("INT64", "int64_contents", -3),
        ("UINT16", "uint_contents", 3),
        ("UINT64", "uint64_contents", 3),
        ("FP64", "fp64_contents", 0.5),
        ("BYTES", "bytes_contents", b"x"),
    ],
)
def test_contents_are_taken_by_datatype(datatype, field, value):
    message = response_class()
    output = message.outputs.add(name="x", datatype=datatype, shape=[1])
    getattr(output.contents, field).append(value)
    value_read = Inference({"FP32"}).decode(stored(message.SerializeToString()))
    assert compile_path("outputs[0].data[0]")(value_read) == value


def test_raw_contents_that_do_not_match_the_outputs_are_undecodable():
    message = response_class(raw_output_contents=[b"x"])
    with pytest.raises(EventError, match="1 raw contents, but 0 outputs") as caught:
        Inference({"FP32"}).decode(stored(message.SerializeToString()))
    assert caught.value.reason is Reason.UNDECODABLE


@settings(max_examples=examples(300))
@given(st.binary(max_size=60))
def test_any_value_is_decoded_or_undecodable(raw):
    with suppress(EventError):
        assert "outputs" in Inference({"FP32"}).decode(stored(raw))


@pytest.mark.parametrize("datatype", ["FP32", "FP16", ""])
def test_output_without_contents_has_no_data(datatype):
    message = response_class()
    message.outputs.add(name="x", datatype=datatype)
    value_read = Inference({"FP32"}).decode(stored(message.SerializeToString()))
    assert compile_path("outputs[0].data")(value_read) is None


def test_empty_fields_are_missing():
    value = Inference({"FP32"}).decode(stored(b""))
    nothing = {"model_name": None, "model_version": None, "id": None}
    assert value == {**nothing, "parameters": {}, "outputs": []}


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
