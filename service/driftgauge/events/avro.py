"""The deserializer of Avro behind a schema registry."""

import json
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_reader

from driftgauge.events.avro_cursor import Cursor, compile_cursor
from driftgauge.events.needs import Need
from driftgauge.events.readers import ReaderCache, UnusableSchema
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.schemas import PAYLOAD, Schema, SchemaSource, read_schema_id

__all__ = ["AvroDeserializer"]

_NAMED = frozenset({"record", "error", "enum", "fixed"})
# A record of one field adds no bytes. Only in a record fastavro finds the types of other schemas.
_WRAPPER = "driftgauge_wrapper"
# Of a topic. The code of each takes some 100 KiB at most.
_MOST_CURSORS = 256


class AvroDeserializer:
    """Decodes records with the schemas that they were written with; a `Deserializer` and a `FieldReader`.

    Records are mappings; logical types become datetime or UUID.

    Attributes:
        names: The names of the fields that the mapping reads.
    """

    def __init__(self, schemas: SchemaSource, need: Need) -> None:
        """Create a deserializer.

        Args:
            schemas: Where schemas come from.
            need: What the mapping reads of a value.
        """
        self.names: Sequence[str] = tuple(need.fields)
        self._need = need
        self._cursors: dict[bytes, Cursor] = {}
        self._schemas: ReaderCache[Any] = ReaderCache(schemas, "AVRO", _parse)

    def read_mapped(self, record: RawRecord) -> object:
        """Return a record's decoded value, see `FieldReader`."""
        fields = self.read_fields(record)
        return self(record) if fields is None else dict(zip(self.names, fields, strict=False))

    def read_fields(self, record: RawRecord) -> tuple[object, ...] | None:
        """Return the fields that the mapping reads, see `FieldReader`."""
        raw = record.value()
        if raw is None:
            return None
        cursor = self._cursors.get(raw[:PAYLOAD]) or self._find_cursor(raw)
        try:
            return None if cursor is None else cursor(raw)
        except Exception:  # noqa: BLE001 - fastavro judges the record
            return None

    def __call__(self, record: RawRecord) -> object:
        """Return a record's decoded value.

        Raises:
            EventError: The value cannot be decoded.
            SchemaPending: Its schema is not known yet.
        """
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

    def _find_cursor(self, raw: bytes) -> Cursor | None:
        """Return the cursor of the schema that a record names, which is kept; None beyond the most.

        Raises:
            EventError: The record names no schema, there is none, or it cannot be used.
            SchemaPending: The schema is not known yet.
        """
        schema = self._schemas.get(raw)
        if len(self._cursors) == _MOST_CURSORS:
            return None
        cursor = compile_cursor(schema["fields"][0]["type"], schema["__named_schemas"], self._need)
        self._cursors[raw[:PAYLOAD]] = cursor
        return cursor


def _parse(schema: Schema) -> Any:
    """Return a schema as fastavro reads it.

    Raises:
        UnusableSchema: A small record of it could exhaust the process.
        Exception: It is no Avro schema; fastavro documents no set of errors.
    """
    named: dict[str, Any] = {}
    for _, text in schema.references:
        parse_schema(_without_decimals(_load(text)), named)
    field = {"name": "value", "type": _without_decimals(_load(schema.text))}
    parsed = parse_schema({"type": "record", "name": _WRAPPER, "fields": [field]}, named)
    if _is_recursive(parsed, named, set(), set()):
        # fastavro decodes nested records on the C stack, which a hostile record would overflow.
        message = "it is recursive, and a record could nest too deep"
        raise UnusableSchema(message)
    if any(_is_empty(items, named, {}) for items in _items(parsed, named, set())):
        # A record of some bytes could name any number of them.
        message = "it has an array of items that take no bytes"
        raise UnusableSchema(message)
    return parsed


def _load(text: str) -> Any:
    """Return a schema's JSON; the name of a primitive type may stand without quotes."""
    return json.loads(text) if text.lstrip()[:1] in {"{", "[", '"'} else text.strip()


def _without_decimals(schema: Any) -> Any:
    """Return a schema in which a decimal is its bytes: to decode one takes time quadratic in its length."""
    if isinstance(schema, list):
        return [_without_decimals(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: _without_decimals(value) for name, value in schema.items()}
    if kept.get("logicalType") == "decimal":
        del kept["logicalType"]
    return kept


def _is_recursive(schema: Any, named: Mapping[str, Any], within: set[str], done: set[str]) -> bool:
    """Return whether a type contains itself.

    Args:
        schema: The type.
        named: The named types.
        within: The names of the types around it.
        done: The names of types that do not contain themselves; each is walked once.
    """
    if isinstance(schema, list):
        return any(_is_recursive(branch, named, within, done) for branch in schema)
    if isinstance(schema, str):
        if schema in within:
            return True
        return schema in named and schema not in done and _is_recursive(named[schema], named, within, done)
    kind = schema["type"]
    if kind in _NAMED:
        name = schema["name"]
        within.add(name)
        found = any(_is_recursive(field["type"], named, within, done) for field in schema.get("fields", ()))
        within.discard(name)
        done.add(name)
        return found
    if kind in {"array", "map"}:
        return _is_recursive(schema["items" if kind == "array" else "values"], named, within, done)
    return isinstance(kind, dict | list) and _is_recursive(kind, named, within, done)


def _items(schema: Any, named: Mapping[str, Any], done: set[str]) -> Iterator[Any]:
    """Yield the types of the items of all arrays within a type that is not recursive.

    Args:
        schema: The type.
        named: The named types.
        done: The names of the types that were walked; each is walked once.
    """
    if isinstance(schema, list):
        inner = schema
    elif isinstance(schema, str):
        inner = [named[schema]] if schema in named and schema not in done else []
        done.add(schema)
    elif schema["type"] == "array":
        yield schema["items"]
        inner = [schema["items"]]
    elif schema["type"] == "map":
        inner = [schema["values"]]
    elif schema["type"] in _NAMED:
        done.add(schema["name"])
        inner = [field["type"] for field in schema.get("fields", ())]
    else:
        inner = [schema["type"]] if isinstance(schema["type"], dict | list) else []
    for each in inner:
        yield from _items(each, named, done)


def _is_empty(schema: Any, named: Mapping[str, Any], known: dict[str, bool]) -> bool:
    """Return whether the values of a type that is not recursive take no bytes; `known` says so by name."""
    if isinstance(schema, list):
        return False
    if isinstance(schema, str):
        if schema not in named:
            return schema == "null"
        if schema not in known:
            known[schema] = _is_empty(named[schema], named, known)
        return known[schema]
    if schema["type"] in {"record", "error"}:
        return all(_is_empty(field["type"], named, known) for field in schema["fields"])
    return bool(schema["type"] == "null" or schema.get("size") == 0)
