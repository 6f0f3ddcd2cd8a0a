"""The Open Inference Protocol's responses in Protobuf.

Seldon Core 2 and MLServer write a ModelInferResponse (version 2, grpc_predict_v2.proto) to a model's topic of
outputs.
"""

from array import array
from collections.abc import Collection, Mapping
from typing import Any, Literal

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.text_format import Parse

from driftgauge.config.inputs import InputSettings
from driftgauge.events.encodings.encoding import Encoding
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.vectors import F64

__all__ = ["Inference", "build", "response_class"]

# grpc_predict_v2.proto, as far as a response needs it.
_FILE = """
name: "driftgauge/grpc_predict_v2.proto" package: "inference" syntax: "proto3"
message_type {
  name: "InferParameter"
  oneof_decl { name: "parameter_choice" }
  field { name: "bool_param" number: 1 label: LABEL_OPTIONAL type: TYPE_BOOL oneof_index: 0 }
  field { name: "int64_param" number: 2 label: LABEL_OPTIONAL type: TYPE_INT64 oneof_index: 0 }
  field { name: "string_param" number: 3 label: LABEL_OPTIONAL type: TYPE_STRING oneof_index: 0 }
  field { name: "double_param" number: 4 label: LABEL_OPTIONAL type: TYPE_DOUBLE oneof_index: 0 }
  field { name: "uint64_param" number: 5 label: LABEL_OPTIONAL type: TYPE_UINT64 oneof_index: 0 }
}
message_type {
  name: "InferTensorContents"
  field { name: "bool_contents" number: 1 label: LABEL_REPEATED type: TYPE_BOOL }
  field { name: "int_contents" number: 2 label: LABEL_REPEATED type: TYPE_INT32 }
  field { name: "int64_contents" number: 3 label: LABEL_REPEATED type: TYPE_INT64 }
  field { name: "uint_contents" number: 4 label: LABEL_REPEATED type: TYPE_UINT32 }
  field { name: "uint64_contents" number: 5 label: LABEL_REPEATED type: TYPE_UINT64 }
  field { name: "fp32_contents" number: 6 label: LABEL_REPEATED type: TYPE_FLOAT }
  field { name: "fp64_contents" number: 7 label: LABEL_REPEATED type: TYPE_DOUBLE }
  field { name: "bytes_contents" number: 8 label: LABEL_REPEATED type: TYPE_BYTES }
}
message_type {
  name: "ModelInferResponse"
  nested_type {
    name: "InferOutputTensor"
    nested_type {
      name: "ParametersEntry"
      options { map_entry: true }
      field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
      field {
        name: "value" number: 2 label: LABEL_OPTIONAL
        type: TYPE_MESSAGE type_name: ".inference.InferParameter"
      }
    }
    field { name: "name" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field { name: "datatype" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING }
    field { name: "shape" number: 3 label: LABEL_REPEATED type: TYPE_INT64 }
    field {
      name: "parameters" number: 4 label: LABEL_REPEATED
      type: TYPE_MESSAGE type_name: ".inference.ModelInferResponse.InferOutputTensor.ParametersEntry"
    }
    field {
      name: "contents" number: 5 label: LABEL_OPTIONAL
      type: TYPE_MESSAGE type_name: ".inference.InferTensorContents"
    }
  }
  nested_type {
    name: "ParametersEntry"
    options { map_entry: true }
    field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field {
      name: "value" number: 2 label: LABEL_OPTIONAL
      type: TYPE_MESSAGE type_name: ".inference.InferParameter"
    }
  }
  field { name: "model_name" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "model_version" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "id" number: 3 label: LABEL_OPTIONAL type: TYPE_STRING }
  field {
    name: "parameters" number: 4 label: LABEL_REPEATED
    type: TYPE_MESSAGE type_name: ".inference.ModelInferResponse.ParametersEntry"
  }
  field {
    name: "outputs" number: 5 label: LABEL_REPEATED
    type: TYPE_MESSAGE type_name: ".inference.ModelInferResponse.InferOutputTensor"
  }
  field { name: "raw_output_contents" number: 6 label: LABEL_REPEATED type: TYPE_BYTES }
}
"""
# By the dtype of a mapping: bytes of another type would pass for numbers of the mapping's.
_RAW_DATATYPES = {"f32": "FP32", "f16": "FP16", "bf16": "BF16", "int8": "INT8", "f64": "FP64"}
_CODES: Mapping[str, Literal["f", "d"]] = {"fp32_contents": "f", "fp64_contents": "d"}


class Inference(Encoding):
    """Decodes a ModelInferResponse to a mapping: model_name, model_version, id, parameters, outputs.

    An output has name, datatype, shape, parameters, and its numbers as `data`: bytes or doubles if the
    response has raw contents, else a view of floats or doubles, or a list of other values.
    """

    def __init__(self, datatypes: Collection[str]) -> None:
        """Create the encoding.

        Args:
            datatypes: The datatypes of raw contents that the mapping expects; others but FP64, which are read
                as doubles, are missing.
        """
        self._datatypes = datatypes

    def decode(self, record: RawRecord) -> dict[str, object]:
        """Return a record's response."""
        try:
            response = response_class.FromString(record.value() or b"")
        except DecodeError as error:
            raise EventError(Reason.UNDECODABLE, f"value: no ModelInferResponse ({error})") from None
        raw = response.raw_output_contents
        if raw and len(raw) != len(response.outputs):
            detail = f"value: {len(raw)} raw contents, but {len(response.outputs)} outputs"
            raise EventError(Reason.UNDECODABLE, detail)
        return {
            # An empty text is missing, as in every message of Protobuf.
            "model_name": response.model_name or None,
            "model_version": response.model_version or None,
            "id": response.id or None,
            "parameters": _read_parameters(response.parameters),
            "outputs": [
                {
                    "name": output.name,
                    "datatype": output.datatype,
                    "shape": output.shape[:],
                    "parameters": _read_parameters(output.parameters),
                    "data": _read_raw(output.datatype, raw[i], self._datatypes)
                    if raw
                    else _read_contents(output),
                }
                for i, output in enumerate(response.outputs)
            ],
        }


def build(settings: InputSettings, _: object) -> Encoding:
    """Return the encoding for a mapping."""
    return Inference({_RAW_DATATYPES[vector.embedding.dtype] for vector in settings.vectors})


def _read_raw(datatype: str, raw: bytes, expected: Collection[str]) -> object:
    """Return a tensor's raw contents: doubles, or bytes in the dtype of the mapping; None for other types."""
    if datatype == "FP64":
        return memoryview(raw).cast("d") if len(raw) % F64.size == 0 else None
    return raw if datatype in expected else None


def _read_contents(output: Any) -> object:
    """Return a tensor's numbers, None if it has none; its datatype has one field of contents."""
    for field, numbers in output.contents.ListFields():
        code = _CODES.get(field.name)
        # Floats as objects would take twice the time.
        return numbers[:] if code is None else memoryview(array(code, numbers))
    return None


def _read_parameters(parameters: Mapping[str, Any]) -> dict[str, object]:
    if not parameters:
        return {}
    chosen = ((key, value, value.WhichOneof("parameter_choice")) for key, value in parameters.items())
    return {key: getattr(value, name) for key, value, name in chosen if name is not None}


# Another library may have the same names in the default pool.
_pool = DescriptorPool()
_pool.AddSerializedFile(Parse(_FILE, FileDescriptorProto()).SerializeToString())
response_class: Any = GetMessageClass(_pool.FindMessageTypeByName("inference.ModelInferResponse"))
"""The class of ModelInferResponse."""
