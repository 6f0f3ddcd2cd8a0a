"""Learning the shapes of Avro records."""

from collections.abc import Mapping
from typing import Any

from driftgauge.events.schemas import PAYLOAD
from driftgauge.events.shapes import Layout, Path, Unshaped
from driftgauge.events.varints import from_zigzag, to_number
from driftgauge.events.vectors import F32, F64

__all__ = ["AvroWalk"]

# Nine bytes of a varint hold 63 bits. Six bytes of ms and eight of us are times of the years 829 to 3111, all
# of which a datetime holds.
_LONG, _MILLIS, _MICROS = (b"[\x80-\xff]{0,%d}+[\x00-\x7f]" % (most - 1) for most in (9, 6, 8))
_LONGS = {None: _LONG, "timestamp-millis": _MILLIS, "timestamp-micros": _MICROS}
_SIZES = {"boolean": 1, "float": 4, "double": 8}
# fastavro refuses other text of this type, and makes upper case lower.
_UUID = b"-".join(b"[0-9a-f]{%d}" % size for size in (8, 4, 4, 4, 12))
_US_MS = 1_000


class AvroWalk:
    """A walk over the bytes of a value by its schema, which gives the order of the fields.

    The same in all values of a layout are lengths of texts and bytes, branches of unions, numbers of items,
    keys of maps and symbols. Text that is not read is ASCII, because fastavro refuses text that is not UTF-8.
    """

    def __init__(self, named: Mapping[str, Any], layout: Layout) -> None:
        """Pass the frame, which names the schema.

        Args:
            named: The named types of the schema.
            layout: The layout of a value that fastavro has decoded.
        """
        self._named = named
        self._layout = layout
        layout.take(PAYLOAD)

    def walk(self, schema: Any, path: Path = ()) -> None:
        """Pass a value of a type.

        Raises:
            Unshaped: The value has fields of unusual types, or a field that is read has another type.
        """
        if isinstance(schema, list):
            schema = schema[self._take_number()]
        if isinstance(schema, str):
            schema = self._named.get(schema, {"type": schema})
        kind = schema["type"]
        if isinstance(kind, dict | list):
            self.walk(kind, path)
        elif kind in {"record", "error"}:
            self._layout.kind(path)
            for field in schema["fields"]:
                self.walk(field["type"], (*path, field["name"]))
        elif kind == "array" and self._layout.kinds.get(path) == "vector":
            self._add_vector(schema["items"], path)
        elif kind in {"array", "map"}:
            self._walk_items(schema, path)
        elif kind != "null":
            self._add_leaf(kind, schema, path)

    def _walk_items(self, schema: Any, path: Path) -> None:
        self._layout.kind(path)
        while count := self._take_number():
            if count < 0:
                # Their size in bytes follows.
                raise Unshaped
            for _ in range(count):
                if schema["type"] == "array":
                    self.walk(schema["items"], (*path, None))
                else:
                    self.walk(schema["values"], (*path, self._layout.take(self._take_number()).decode()))

    def _add_leaf(self, kind: str, schema: Any, path: Path) -> None:
        logical = schema.get("logicalType")
        if kind in {"int", "long"}:
            self._add_number(kind, logical, path)
        elif kind == "string" and logical == "uuid":
            self._layout.add(self._take_number(), _UUID, path, "text")
        elif logical is not None:
            raise Unshaped
        elif kind in _SIZES:
            self._layout.add(_SIZES[kind], b".{%d}" % _SIZES[kind], path)
        elif kind == "enum":
            self._layout.kind(path, "same")
            self._take_number()
        elif kind == "string":
            size = self._take_number()
            is_read = path in self._layout.kinds
            self._layout.add(size, b".{%d}" % size if is_read else b"[\x00-\x7f]{%d}" % size, path, "text")
        else:
            size = schema["size"] if kind == "fixed" else self._take_number()
            self._layout.add(size, b".{%d}" % size, path, "text", "vector")

    def _add_number(self, kind: str, logical: str | None, path: Path) -> None:
        if logical not in _LONGS or (kind == "int" and logical is not None):
            raise Unshaped
        self._layout.add(self._layout.varint_size(), _LONGS[logical], path, "time")
        if self._layout.kinds.get(path) == "time":
            self._layout.is_in_ms = logical is not None
            self._layout.readers["time"] = _to_micros_in_ms if logical == "timestamp-micros" else _to_number

    def _add_vector(self, items: Any, path: Path) -> None:
        """Pass the numbers of a list in one block."""
        kind = items["type"] if isinstance(items, dict) else items
        if kind not in {"float", "double"}:
            raise Unshaped
        self._layout.number = F32 if kind == "float" else F64
        size = self._take_number() * _SIZES[kind]
        self._layout.add(size, b".{%d}" % size, path, "vector")
        if self._take_number():
            raise Unshaped

    def _take_number(self) -> int:
        return from_zigzag(self._layout.take_varint())


def _to_number(raw: bytes) -> int:
    return from_zigzag(to_number(raw))


def _to_micros_in_ms(raw: bytes) -> int:
    return _to_number(raw) // _US_MS
