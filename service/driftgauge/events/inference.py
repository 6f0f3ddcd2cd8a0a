"""The deserializer of the Open Inference Protocol's responses in Protobuf.

Seldon Core 2 and MLServer write a ModelInferResponse (version 2, grpc_predict_v2.proto) to a model's topic of
outputs.
"""

from collections.abc import Collection, Mapping
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.vectors import F64

__all__ = ["RAW_DATATYPES", "deserialize_inference", "response_class"]

_PACKAGE = "inference"
# The numbers of the fields of InferTensorContents, and the datatypes of tensors that they hold.
_CONTENTS = {
    "bool_contents": ("bool", 1, ("BOOL",)),
    "int_contents": ("int32", 2, ("INT8", "INT16", "INT32")),
    "int64_contents": ("int64", 3, ("INT64",)),
    "uint_contents": ("uint32", 4, ("UINT8", "UINT16", "UINT32")),
    "uint64_contents": ("uint64", 5, ("UINT64",)),
    "fp32_contents": ("float", 6, ("FP32",)),
    "fp64_contents": ("double", 7, ("FP64",)),
    "bytes_contents": ("bytes", 8, ("BYTES",)),
}
_CONTENTS_BY_DATATYPE = {
    datatype: name for name, (_, _, datatypes) in _CONTENTS.items() for datatype in datatypes
}
_PARAMETERS = {"bool_param": "bool", "int64_param": "int64", "string_param": "string"}
_PARAMETERS |= {"double_param": "double", "uint64_param": "uint64"}

# Bytes of another type would pass for numbers of the mapping's.
RAW_DATATYPES = {"f32": "FP32", "f16": "FP16", "bf16": "BF16", "int8": "INT8", "f64": "FP64"}
"""The datatype of raw contents by the dtype of a mapping."""


def deserialize_inference(datatypes: Collection[str], record: RawRecord) -> dict[str, object]:
    """Return a ModelInferResponse as a mapping: model_name, model_version, id, parameters, outputs.

    An output has name, datatype, shape, parameters, and its numbers as `data`: bytes or doubles where the
    response has raw contents, else a list.

    Args:
        datatypes: The datatypes of raw contents that the mapping expects; others but FP64, which are read as
            doubles, are missing.
        record: The record.

    Raises:
        EventError: The value is no ModelInferResponse.
    """
    try:
        response = response_class.FromString(record.value() or b"")
    except DecodeError as error:
        raise EventError(Reason.UNDECODABLE, f"value: no ModelInferResponse ({error})") from None
    raw = response.raw_output_contents
    if raw and len(raw) != len(response.outputs):
        detail = f"value: {len(raw)} raw contents, but {len(response.outputs)} outputs"
        raise EventError(Reason.UNDECODABLE, detail)
    return {
        # What is empty is missing, as in every message of Protobuf.
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
                "data": _read_raw(output.datatype, raw[i], datatypes) if raw else _read_contents(output),
            }
            for i, output in enumerate(response.outputs)
        ],
    }


def _read_raw(datatype: str, raw: bytes, expected: Collection[str]) -> object:
    """Return a tensor's raw contents: doubles, or bytes in the dtype of the mapping; None for other types."""
    if datatype == "FP64":
        doubles = memoryview(raw)
        return doubles.cast("d") if len(raw) % F64.size == 0 else doubles
    return raw if datatype in expected else None


def _read_contents(output: Any) -> list[object] | None:
    """Return a tensor's numbers, None if it has none or an unknown datatype."""
    name = _CONTENTS_BY_DATATYPE.get(output.datatype)
    return None if name is None else getattr(output.contents, name)[:] or None


def _read_parameters(parameters: Mapping[str, Any]) -> dict[str, object]:
    if not parameters:
        return {}
    chosen = ((key, value, value.WhichOneof("parameter_choice")) for key, value in parameters.items())
    return {key: getattr(value, name) for key, value, name in chosen if name is not None}


def _describe() -> FileDescriptorProto:
    """Return the descriptors of ModelInferResponse, as in grpc_predict_v2.proto."""
    file = FileDescriptorProto(name="driftgauge/grpc_predict_v2.proto", package=_PACKAGE, syntax="proto3")
    parameter = file.message_type.add(name="InferParameter")
    parameter.oneof_decl.add(name="parameter_choice")
    for number, (name, kind) in enumerate(_PARAMETERS.items(), 1):
        _add(parameter, name, number, kind).oneof_index = 0
    contents = file.message_type.add(name="InferTensorContents")
    for name, (kind, number, _) in _CONTENTS.items():
        _add(contents, name, number, kind, repeated=True)
    response = file.message_type.add(name="ModelInferResponse")
    output = response.nested_type.add(name="InferOutputTensor")
    _add(output, "name", 1, "string")
    _add(output, "datatype", 2, "string")
    _add(output, "shape", 3, "int64", repeated=True)
    _add_parameters(output, 4, "ModelInferResponse.InferOutputTensor")
    _add(output, "contents", 5, "InferTensorContents")
    _add(response, "model_name", 1, "string")
    _add(response, "model_version", 2, "string")
    _add(response, "id", 3, "string")
    _add_parameters(response, 4, "ModelInferResponse")
    _add(response, "outputs", 5, "ModelInferResponse.InferOutputTensor", repeated=True)
    _add(response, "raw_output_contents", 6, "bytes", repeated=True)
    return file


def _add(
    message: DescriptorProto, name: str, number: int, kind: str, *, repeated: bool = False
) -> FieldDescriptorProto:
    """Add a field to a message; `kind` is a scalar type, or the name of a message in the package."""
    field = message.field.add(name=name, number=number)
    field.label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    if kind[0].isupper():
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"
    else:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    return field


def _add_parameters(message: DescriptorProto, number: int, full_name: str) -> None:
    """Add a map from text to InferParameter."""
    entry = message.nested_type.add(name="ParametersEntry")
    entry.options.map_entry = True
    _add(entry, "key", 1, "string")
    _add(entry, "value", 2, "InferParameter")
    _add(message, "parameters", number, f"{full_name}.ParametersEntry", repeated=True)


def _response_class() -> Any:
    # A pool of its own: another library may have the same names in the default one.
    pool = DescriptorPool()
    pool.AddSerializedFile(_describe().SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.ModelInferResponse"))


response_class = _response_class()
"""The class of ModelInferResponse."""
