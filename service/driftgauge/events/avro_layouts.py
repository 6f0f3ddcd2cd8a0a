"""The layouts of Avro records."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from driftgauge.config.inputs import TimeSource
from driftgauge.events.layouts import VARINT, Convert, Kind, Layout, Path, UnusualLayout
from driftgauge.events.schemas import PAYLOAD
from driftgauge.events.sources import read_time
from driftgauge.events.varints import from_zigzag, to_number
from driftgauge.events.vectors import F32, F64

__all__ = ["AvroWalk"]

_SIZES = {"float": 4, "double": 8}
_PRIMITIVES = {*_SIZES, "boolean", "null", "int", "long", "string", "bytes"}
# Six bytes of ms are times of the years 1900 to 2039, and eight of us of 829 to 3111: a datetime holds all.
_NUMBERS = {
    "int": VARINT,
    "long": VARINT,
    "long-timestamp-millis": b"[\x80-\xff]{0,5}+[\x00-\x7f]",
    "long-timestamp-micros": b"[\x80-\xff]{0,7}+[\x00-\x7f]",
    "long-local-timestamp-millis": b"[\x80-\xff]{0,5}+[\x00-\x7f]",
    "long-local-timestamp-micros": b"[\x80-\xff]{0,7}+[\x00-\x7f]",
}
# fastavro accepts other spellings too, and makes this one of them.
_UUID = b"-".join(b"[0-9a-f]{%d}" % size for size in (8, 4, 4, 4, 12))
_UUID_SIZE = 36
_US_MS = 1_000
_MOST_SYMBOLS = 64


class AvroWalk:
    """A walk over the bytes of a value by its schema, which gives the order of the fields.

    The same in all values of a layout are lengths of bytes and of long texts, branches of unions, numbers of
    items and keys of maps.
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
            UnusualLayout: The value has fields of unusual types, or a field that is read has another type.
        """
        self._layout.enter(path)
        if isinstance(schema, list):
            schema = schema[self._take_number()]
        if isinstance(schema, str):
            schema = {"type": schema} if schema in _PRIMITIVES else self._named[schema]
        match schema["type"]:
            case "record" | "error":
                for field in schema["fields"]:
                    self.walk(field["type"], (*path, field["name"]))
            case "array" if path in self._layout.kinds:
                self._add_vector(schema["items"], path)
            case "array" | "map":
                self._walk_items(schema, path)
            case "null":
                pass
            case kind:
                self._add_leaf(kind, schema, path)

    def _walk_items(self, schema: Any, path: Path) -> None:
        while count := self._take_number():
            if count < 0:
                # Their size in bytes follows.
                raise UnusualLayout
            for _ in range(count):
                if schema["type"] == "array":
                    self.walk(schema["items"], (*path, None))
                else:
                    self.walk(schema["values"], (*path, self._layout.take(self._take_number()).decode()))

    def _add_leaf(self, kind: str, schema: Any, path: Path) -> None:
        layout, logical = self._layout, schema.get("logicalType")
        match kind if logical is None else f"{kind}-{logical}":
            case name if name in _NUMBERS:
                converts: dict[Kind, Convert] = {"time": _time_reader(logical, layout.time)}
                if logical is None:
                    converts["text"] = _read_number
                layout.add(layout.varint_size(), path, converts, _NUMBERS[name])
            case "boolean":
                layout.add(1, path, {"text": lambda raw: "true" if raw != b"\0" else "false"})
            case "float" | "double":
                layout.add(_SIZES[kind], path)
            case "string":
                layout.add_text(path, unit=2, varies=True)
            case "string-uuid" if self._take_number() == _UUID_SIZE:
                layout.add(_UUID_SIZE, path, {"text": bytes.decode}, _UUID)
            case "bytes":
                layout.add_bytes(self._take_number(), path)
            case "fixed":
                layout.add_bytes(schema["size"], path)
            case "enum" if len(symbols := schema["symbols"]) <= _MOST_SYMBOLS:
                # The number of a symbol is one byte, which zigzag doubles.
                numbers = re.escape(bytes(range(0, 2 * len(symbols), 2)))
                layout.add(1, path, {"text": lambda raw: symbols[raw[0] // 2]}, b"[%b]" % numbers)
            case _:
                raise UnusualLayout

    def _add_vector(self, items: Any, path: Path) -> None:
        """Pass the numbers of a list in one block."""
        match items["type"] if isinstance(items, dict) else items:
            case "float":
                self._layout.number = F32
            case "double":
                self._layout.number = F64
            case _:
                raise UnusualLayout
        self._layout.add(self._take_number() * self._layout.number.size, path, {"vector": None})
        if self._take_number():
            raise UnusualLayout

    def _take_number(self) -> int:
        return from_zigzag(self._layout.take_varint())


def _time_reader(logical: str | None, source: TimeSource) -> Callable[[bytes], int]:
    """Return the function that reads the milliseconds of a time; logical types have units of their own."""
    if logical is None and source.unit != "ms":
        return lambda raw: read_time(source, from_zigzag(to_number(raw)))
    if logical is not None and logical.endswith("micros"):
        return lambda raw: from_zigzag(to_number(raw)) // _US_MS
    return lambda raw: from_zigzag(to_number(raw))


def _read_number(raw: bytes) -> str:
    return str(from_zigzag(to_number(raw)))
