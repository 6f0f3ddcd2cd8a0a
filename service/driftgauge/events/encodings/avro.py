"""Avro behind a schema registry."""

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_reader

from driftgauge.config.inputs import InputSettings
from driftgauge.events.encodings.avro_cursor import NOT_SURE, Cursor, compile_cursor, never_sure
from driftgauge.events.encodings.encoding import Encoding
from driftgauge.events.needs import Need, find_needs
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.schemas import (
    PAYLOAD,
    ReaderCache,
    Schema,
    SchemaSource,
    UnusableSchema,
    read_schema_id,
)

__all__ = ["Avro", "build"]

# A record of one field adds no bytes. Only in a record fastavro finds the types of other schemas.
_WRAPPER = "driftgauge_wrapper"
_BUILT_IN = frozenset(
    {
        *("null", "boolean", "int", "long", "float", "double", "bytes", "string"),
        *("record", "error", "enum", "array", "map", "fixed", "union"),
    }
)
_MOST_EMPTY = 1_000
# Of a topic. The code of each takes some 100 KiB at most.
_MOST_CURSORS = 256


class Avro(Encoding):
    """Decodes records with the schemas that they were written with.

    Records are mappings; logical types become datetime or UUID.
    """

    def __init__(self, schemas: SchemaSource, need: Need) -> None:
        """Create the encoding.

        Args:
            schemas: Where schemas come from.
            need: What the mapping reads of a value.
        """
        self._need = need
        self._cursors: dict[bytes, Cursor] = {}
        self._schemas: ReaderCache[Any] = ReaderCache(schemas, "AVRO", _parse)

    def decode(self, record: RawRecord) -> object:
        """Return a record's value as fastavro reads it."""
        raw = record.value() or b""
        schema = self._schemas.get(raw)
        # BytesIO shares the memory of bytes.
        source = BytesIO(raw)
        source.seek(PAYLOAD)
        try:
            value = schemaless_reader(source, schema, None)["value"]  # type: ignore[call-overload, index]
        except EOFError:
            # Its text names the object that was read, with its address.
            detail = f"value: ends within the Avro of schema {read_schema_id(raw)}"
            raise EventError(Reason.UNDECODABLE, detail) from None
        except OverflowError:
            detail = f"value: a time beyond the years 1 to 9999 (schema {read_schema_id(raw)})"
            raise EventError(Reason.INVALID, detail) from None
        except Exception as error:  # noqa: BLE001 - fastavro documents no set of errors
            detail = f"value: no Avro of schema {read_schema_id(raw)} ({type(error).__name__}: {error})"
            raise EventError(Reason.UNDECODABLE, detail) from None
        if surplus := len(raw) - source.tell():
            detail = f"value: {surplus} bytes follow the Avro of schema {read_schema_id(raw)}"
            raise EventError(Reason.UNDECODABLE, detail)
        return value

    def decode_mapped(self, record: RawRecord) -> object:
        """Return what a cursor reads of a record's value."""
        raw = record.value() or b""
        cursor = self._cursors.get(raw[:PAYLOAD]) or self._find_cursor(raw)
        try:
            return cursor(raw)
        except NOT_SURE:
            return self.decode(record)

    def _find_cursor(self, raw: bytes) -> Cursor:
        """Return the cursor of the schema that a record names, which is kept; one never sure beyond the most.

        Raises:
            EventError: The record names no schema, there is none, or it cannot be used.
            SchemaPending: The schema is not known yet.
        """
        schema = self._schemas.get(raw)
        if len(self._cursors) == _MOST_CURSORS:
            return never_sure
        cursor = compile_cursor(schema["fields"][0]["type"], schema["__named_schemas"], self._need)
        self._cursors[raw[:PAYLOAD]] = cursor
        return cursor


def build(settings: InputSettings, schemas: SchemaSource) -> Encoding:
    """Return the encoding for a mapping."""
    return Avro(schemas, find_needs(settings))


def _parse(schema: Schema) -> Any:
    """Return a schema as fastavro reads it.

    Raises:
        UnusableSchema: A small record of it could exhaust the process.
        Exception: It is no Avro schema; fastavro documents no set of errors.
    """
    named: dict[str, Any] = {}
    for _, text in schema.references:
        parse_schema(_load(text), named)
    field = {"name": "value", "type": _load(schema.text)}
    parsed = parse_schema({"type": "record", "name": _WRAPPER, "fields": [field]}, named)
    if not _BUILT_IN.isdisjoint(named):
        # fastavro takes such a name for the built-in type.
        message = "it names a type of its own as one of Avro's"
        raise UnusableSchema(message)
    _count_empty(parsed, named, set(), {})
    return parsed


def _load(text: str) -> Any:
    """Return a schema's JSON; the name of a primitive type may stand without quotes."""
    is_json = text.lstrip()[:1] in {"{", "[", '"'}
    return json.loads(text, object_hook=_without_decimal) if is_json else text.strip()


def _without_decimal(schema: dict[str, Any]) -> dict[str, Any]:
    """Make a decimal its bytes: to decode one takes time quadratic in its length."""
    if schema.get("logicalType") == "decimal":
        del schema["logicalType"]
    return schema


def _count_empty(schema: Any, named: Mapping[str, Any], within: set[str], done: dict[str, int]) -> int:
    """Return of how many values a value consists that takes no bytes; 0 if it may take some.

    Args:
        schema: The type.
        named: The named types.
        within: The names of the types around it.
        done: What was returned for named types; each is walked once.

    Raises:
        UnusableSchema: The type contains itself, or an array of items that take no bytes, or too many values.
    """
    if isinstance(schema, str):
        if schema in within:
            # fastavro decodes nested records on the C stack, which a hostile record would overflow.
            message = "it is recursive, and a record could nest too deep"
            raise UnusableSchema(message)
        if schema not in named:
            return int(schema == "null")
        return done[schema] if schema in done else _count_empty(named[schema], named, within, done)
    kind = "union" if isinstance(schema, list) else schema["type"]
    match kind:
        case "record" | "error" | "enum" | "fixed":
            name = schema["name"]
            within.add(name)
            counts = [_count_empty(field["type"], named, within, done) for field in schema.get("fields", ())]
            within.discard(name)
            is_empty = all(counts) if "fields" in schema else schema.get("size") == 0
            done[name] = 1 + sum(counts) if is_empty else 0
            if done[name] > _MOST_EMPTY:
                # Each level of nesting may double them.
                message = f"it has more than {_MOST_EMPTY} values that take no bytes"
                raise UnusableSchema(message)
            return done[name]
        case "array" if _count_empty(schema["items"], named, within, done):
            # A record of some bytes could name any number of them.
            message = "it has an array of items that take no bytes"
            raise UnusableSchema(message)
        case "map":
            _count_empty(schema["values"], named, within, done)
        case "union":
            for branch in schema:
                _count_empty(branch, named, within, done)
    return int(kind == "null")
