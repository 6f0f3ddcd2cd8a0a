"""Deserializers of values that need no schema: JSON, bytes, CloudEvents."""

from collections.abc import Callable, Sequence
from typing import Any

from pybase64 import b64decode

from driftgauge.events.array_parser import IS_AVAILABLE, ArrayParser
from driftgauge.events.contract import read_json
from driftgauge.events.records import RawRecord, read_headers
from driftgauge.events.rejection import EventError, Reason

__all__ = [
    "compile_array",
    "deserialize_bytes",
    "deserialize_cloudevent",
    "deserialize_json",
    "read_attributes",
]

_STRUCTURED = "application/cloudevents+json"
# The second is HTTP's spelling, which some bridges write.
_PREFIXES = ("ce_", "ce-")


def deserialize_json(record: RawRecord) -> object:
    """Return the JSON value of a record.

    Raises:
        EventError: It is not strict JSON.
    """
    return read_json(record.value() or b"")


def compile_array(names: Sequence[str]) -> Callable[[RawRecord], object]:
    """Return the deserializer of JSON values whose array of numbers at a path of names may be doubles.

    See `ArrayParser`. It raises EventError for what is not strict JSON.
    """
    if not IS_AVAILABLE:
        return deserialize_json
    parse = ArrayParser(names).parse

    def deserialize(record: RawRecord) -> object:
        raw = record.value() or b""
        value = parse(raw)
        return read_json(raw) if value is None else value

    return deserialize


def deserialize_bytes(record: RawRecord) -> object:
    """Return the bytes of a record."""
    return record.value()


def deserialize_cloudevent(record: RawRecord) -> object:
    """Return a CloudEvent as a mapping of its attributes, and `data`.

    In structured mode the value is the whole event in JSON, with binary data in base64. In binary mode
    attributes are headers with the prefix ce_ or ce-, and the value is the data (CloudEvents 1.0, JSON format
    and Kafka protocol binding). Data of a JSON content type is decoded; other data is bytes.

    Raises:
        EventError: The record is no CloudEvent, or its JSON is not strict.
    """
    raw = record.value() or b""
    attributes = read_attributes(record)
    if attributes is None:
        structured = read_json(raw)
        if not isinstance(structured, dict) or "specversion" not in structured:
            raise EventError(Reason.INVALID, "event: no JSON object with specversion, as structured mode has")
        encoded = structured.get("data_base64")
        return structured if encoded is None else {**structured, "data": _decode_data(encoded, structured)}
    if "specversion" not in attributes:
        raise EventError(Reason.INVALID, "event: neither a structured CloudEvent nor one with ce_ headers")
    return {**attributes, "data": read_json(raw) if _is_json(attributes["datacontenttype"]) else raw}


def read_attributes(record: RawRecord) -> dict[str, Any] | None:
    """Return the attributes of a CloudEvent in binary mode; None in structured mode."""
    headers = _text_headers(record)
    content_type = headers.get("content-type", "")
    if content_type.lower().startswith(_STRUCTURED):
        return None
    attributes = {name[3:]: text for name, text in headers.items() if name.startswith(_PREFIXES)}
    return {**attributes, "datacontenttype": content_type}


def _decode_data(encoded: Any, event: dict[str, Any]) -> object:
    try:
        data = b64decode(encoded, validate=True)
    except (TypeError, ValueError):
        raise EventError(Reason.INVALID, "data_base64: no base64") from None
    content_type = event.get("datacontenttype")
    # Binary data without a content type is not JSON (CloudEvents 1.0, JSON event format).
    return read_json(data) if isinstance(content_type, str) and _is_json(content_type) else data


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    # Data without a content type is JSON (CloudEvents 1.0, datacontenttype).
    return media_type in {"", "application/json", "text/json"} or media_type.endswith("+json")


def _text_headers(record: RawRecord) -> dict[str, str]:
    """Return the headers that are UTF-8, names in lower case."""
    texts = {}
    for name, value in read_headers(record):
        try:
            if value is not None:
                texts[name.lower()] = value if isinstance(value, str) else value.decode()
        except UnicodeDecodeError:
            continue
    return texts
