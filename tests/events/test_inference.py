"""Responses of the Open Inference Protocol."""

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.events.inference import deserialize_inference, response_class
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.sources import compile_path
from tests.events.schema_records import stored

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
    data = (None, VECTORS.tobytes()) if raw else ([b"x"], VECTORS.ravel().tolist())
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
    assert deserialize_inference({"FP32"}, stored(response(raw=raw))) == {
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
    decoded: Any = deserialize_inference({"FP32"}, stored(message.SerializeToString()))
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
    value_read = deserialize_inference({"FP32"}, stored(message.SerializeToString()))
    assert compile_path("outputs[0].data[0]")(value_read) == value


def test_raw_contents_that_do_not_match_the_outputs_are_undecodable():
    message = response_class(raw_output_contents=[b"x"])
    with pytest.raises(EventError, match="1 raw contents, but 0 outputs") as caught:
        deserialize_inference({"FP32"}, stored(message.SerializeToString()))
    assert caught.value.reason is Reason.UNDECODABLE


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_any_value_is_decoded_or_undecodable(raw):
    with suppress(EventError):
        assert "outputs" in deserialize_inference({"FP32"}, stored(raw))


@pytest.mark.parametrize("datatype", ["FP32", "FP16", ""])
def test_output_without_contents_has_no_data(datatype):
    message = response_class()
    message.outputs.add(name="x", datatype=datatype)
    value_read = deserialize_inference({"FP32"}, stored(message.SerializeToString()))
    assert compile_path("outputs[0].data")(value_read) is None


def test_empty_fields_are_missing():
    value = deserialize_inference({"FP32"}, stored(b""))
    nothing = {"model_name": None, "model_version": None, "id": None}
    assert value == {**nothing, "parameters": {}, "outputs": []}
