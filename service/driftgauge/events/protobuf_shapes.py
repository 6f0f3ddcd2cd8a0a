"""Learning the shapes of Protobuf messages."""

import re
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as Field

from driftgauge.events.shapes import Kind, Layout, Path, Unshaped
from driftgauge.events.varints import from_zigzag, to_number
from driftgauge.events.vectors import F32, F64

__all__ = ["ProtobufWalk"]

# The types of fields by wire type, and the bytes of those whose numbers all have as many.
_WIRE_TYPES = 8
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_TYPES = {
    _VARINT: {
        *(Field.TYPE_INT32, Field.TYPE_UINT32, Field.TYPE_SINT32, Field.TYPE_BOOL, Field.TYPE_ENUM),
        *(Field.TYPE_INT64, Field.TYPE_UINT64, Field.TYPE_SINT64),
    },
    _FIXED64: {Field.TYPE_FIXED64, Field.TYPE_SFIXED64, Field.TYPE_DOUBLE},
    _FIXED32: {Field.TYPE_FIXED32, Field.TYPE_SFIXED32, Field.TYPE_FLOAT},
    _LENGTH: {Field.TYPE_STRING, Field.TYPE_BYTES, Field.TYPE_MESSAGE},
}
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_FLOATS = {Field.TYPE_FLOAT: F32, Field.TYPE_DOUBLE: F64}
_TIMES = {Field.TYPE_INT64, Field.TYPE_UINT64, Field.TYPE_SINT64}

# Nine bytes of a varint hold 63 bits, which are no negative number; nanoseconds have 30 bits.
_LONGEST, _LONGEST_NS = 9, 5
_TIMESTAMP = "google.protobuf.Timestamp"
_SECONDS, _NANOS = b"\x08", b"\x10"  # the tags of its fields
_S_MS, _MS_NS, _S_NS = 1_000, 1_000_000, 1_000_000_000


class ProtobufWalk:
    """A walk over the bytes of a message.

    The same in all messages of a layout are tags and lengths, and the sizes of numbers within an inner
    message, because they make its length. Text that is not read is ASCII, because Protobuf refuses text that
    is not UTF-8. A field that is read is there once, and not empty, because an empty one may be missing.
    """

    def __init__(self, layout: Layout) -> None:
        """Begin where the message does.

        Args:
            layout: The layout of a value that Protobuf has decoded.
        """
        self._layout = layout

    def walk(self, descriptor: Any, end: int, path: Path = ()) -> None:
        """Pass a message that ends at a position.

        Raises:
            Unshaped: The message has unusual fields, or a field that is read has another type.
        """
        if descriptor.is_extendable:
            raise Unshaped
        seen: set[str] = set()
        while self._layout.position < end:
            number, wire = divmod(self._layout.take_varint(), _WIRE_TYPES)
            field = descriptor.fields_by_number.get(number)
            if field is None:
                self._pass_unknown(wire, (*path, None))
                continue
            # Of a field, or a oneof, that is there twice the last one counts, or both are merged.
            name = field.name if field.containing_oneof is None else field.containing_oneof.name
            if name in seen and not field.is_repeated:
                raise Unshaped
            seen.add(name)
            self._pass_field(field, wire, (*path, field.name))

    def _pass_unknown(self, wire: int, path: Path) -> None:
        if wire == _VARINT:
            self._add_varint(path)
        elif wire == _LENGTH:
            size = self._layout.take_varint()
            self._add(size, b".{%d}" % size, path)
        elif wire in _SIZES:
            self._add(_SIZES[wire], b".{%d}" % _SIZES[wire], path)
        else:
            raise Unshaped

    def _pass_field(self, field: Any, wire: int, path: Path) -> None:
        if field.is_repeated and wire == _LENGTH and field.type in _FLOATS:
            # The numbers of a list.
            if path in self._layout.kinds:
                self._layout.number = _FLOATS[field.type]
            size = self._layout.take_varint()
            self._add(size, b".{%d}" % size, path, "vector")
            return
        if field.type not in _TYPES.get(wire, ()):
            raise Unshaped
        if field.is_repeated:
            # A path may lead into a map, which is a repeated message of keys and values.
            if any(read[: len(path)] == path for read in self._layout.kinds):
                raise Unshaped
            path = (*path, None)
        if wire == _VARINT:
            self._add_number(field, path)
        elif wire in _SIZES:
            self._add(_SIZES[wire], b".{%d}" % _SIZES[wire], path)
        else:
            self._pass_bytes(field, self._layout.take_varint(), path)

    def _pass_bytes(self, field: Any, size: int, path: Path) -> None:
        if field.type == Field.TYPE_BYTES:
            self._add(size, b".{%d}" % size, path, "text", "vector")
        elif field.type == Field.TYPE_STRING:
            is_read = path in self._layout.kinds
            self._add(size, b".{%d}" % size if is_read else b"[\x00-\x7f]{%d}" % size, path, "text")
        elif field.message_type.full_name == _TIMESTAMP and path in self._layout.kinds:
            self._add_timestamp(size, path)
        else:
            self._layout.kind(path)
            self.walk(field.message_type, self._layout.position + size, path)

    def _add_timestamp(self, size: int, path: Path) -> None:
        start = self._layout.position
        raw = self._layout.raw[start : start + size]
        sizes = [len(digits) for digits in re.findall(b"[\x80-\xff]*[\x00-\x7f]", raw)]
        # The tag and number of the seconds, and perhaps those of the nanoseconds.
        if raw[:1] != _SECONDS or len(sizes) not in (2, 4) or sizes[1] > _LONGEST:
            raise Unshaped
        nanos_tag = sizes[0] + sizes[1]
        pattern = _SECONDS + _varint(sizes[1])
        if nanos_tag < size:
            if raw[nanos_tag : nanos_tag + 1] != _NANOS or sizes[3] > _LONGEST_NS:
                raise Unshaped
            pattern += _NANOS + _varint(sizes[3])
        self._add(size, pattern, path, "time")
        self._layout.is_in_ms = True
        self._layout.readers["time"] = _timestamp_reader(nanos_tag)

    def _add_number(self, field: Any, path: Path) -> None:
        if field.type not in _TIMES:
            self._add_varint(path)
            return
        self._add_varint(path, "time")
        if self._layout.kinds.get(path) == "time":
            self._layout.readers["time"] = _to_signed if field.type == Field.TYPE_SINT64 else _to_unsigned

    def _add_varint(self, path: Path, *possible: Kind) -> None:
        size = self._layout.varint_size()
        if size > _LONGEST:
            raise Unshaped
        is_inner = len(path) > 1
        self._add(size, _varint(size) if is_inner else b"[\x80-\xff]{0,8}+[\x00-\x7f]", path, *possible)

    def _add(self, size: int, pattern: bytes, path: Path, *possible: Kind) -> None:
        if not size and path in self._layout.kinds:
            raise Unshaped
        self._layout.add(size, pattern, path, *possible)


def _varint(size: int) -> bytes:
    """Return the pattern of a varint of so many bytes."""
    return b"[\x80-\xff]{%d}[\x00-\x7f]" % (size - 1)


def _to_unsigned(raw: bytes) -> int:
    """Return a number that is not 0, which may be missing.

    Raises:
        ValueError: It is 0.
    """
    number = to_number(raw)
    if not number:
        raise ValueError
    return number


def _to_signed(raw: bytes) -> int:
    """Return a number that zigzag has written; raises as `_to_unsigned`."""
    return from_zigzag(_to_unsigned(raw))


def _timestamp_reader(nanos_tag: int) -> Callable[[bytes], int]:
    def read(raw: bytes) -> int:
        nanos = to_number(raw[nanos_tag + 1 :])
        if nanos >= _S_NS:
            raise ValueError
        return to_number(raw[1:nanos_tag]) * _S_MS + nanos // _MS_NS

    return read
