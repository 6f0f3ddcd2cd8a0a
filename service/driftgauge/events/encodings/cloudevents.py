"""CloudEvents 1.0, in structured and in binary mode."""

from collections.abc import Mapping
from typing import Any

from pybase64 import b64decode

from driftgauge.config.inputs import InputSettings
from driftgauge.events.encodings.encoding import Encoding
from driftgauge.events.encodings.json import Parse, compile_parser, read_json
from driftgauge.events.records import RawRecord, read_headers
from driftgauge.events.rejection import EventError, Reason

__all__ = ["build"]

_STRUCTURED = "application/cloudevents+json"
# The second is HTTP's spelling, which some bridges write.
_PREFIXES = ("ce_", "ce-")


class _CloudEvents(Encoding):
    """Decodes an event to a mapping of its attributes, and `data`.

    In structured mode the value is the whole event in JSON, with binary data in base64. In binary mode
    attributes are headers with the prefix ce_ or ce-, and the value is the data (CloudEvents 1.0, JSON format
    and Kafka protocol binding). Data of a JSON content type is decoded; other data is bytes.
    """

    def __init__(self, settings: InputSettings) -> None:
        self._parsers = compile_parser(settings), compile_parser(settings, 1)

    def decode(self, record: RawRecord) -> object:
        """Return a record's attributes and data."""
        return self._decode(record, read_json, read_json)

    def decode_mapped(self, record: RawRecord) -> object:
        """Return a record's attributes and data, with views as vectors."""
        return self._decode(record, *self._parsers)

    def attributes(self, record: RawRecord) -> dict[str, str] | None:
        """Return the attributes of an event in binary mode; None in structured mode."""
        headers = _text_headers(record)
        content_type = headers.get("content-type", "")
        if content_type.lower().startswith(_STRUCTURED):
            return None
        attributes = {name[3:]: text for name, text in headers.items() if name.startswith(_PREFIXES)}
        return {**attributes, "datacontenttype": content_type}

    def _decode(self, record: RawRecord, parse: Parse, parse_data: Parse) -> object:
        raw = record.value() or b""
        attributes = self.attributes(record)
        if attributes is None:
            event = parse(raw)
            if not isinstance(event, dict) or "specversion" not in event:
                raise EventError(
                    Reason.INVALID, "event: no JSON object with specversion, as structured mode has"
                )
            encoded = event.get("data_base64")
            return event if encoded is None else {**event, "data": _decode_data(encoded, event, parse_data)}
        if "specversion" not in attributes:
            raise EventError(
                Reason.INVALID, "event: neither a structured CloudEvent nor one with ce_ headers"
            )
        return {**attributes, "data": parse_data(raw) if _is_json(attributes["datacontenttype"]) else raw}


def build(settings: InputSettings, _: object) -> Encoding:
    """Return the encoding for a mapping."""
    return _CloudEvents(settings)


def _decode_data(encoded: Any, event: Mapping[str, object], parse: Parse) -> object:
    try:
        data = b64decode(encoded, validate=True)
    except (TypeError, ValueError):
        raise EventError(Reason.INVALID, "data_base64: no base64") from None
    content_type = event.get("datacontenttype")
    # Binary data without a content type is not JSON (CloudEvents 1.0, JSON event format).
    return parse(data) if isinstance(content_type, str) and _is_json(content_type) else data


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
