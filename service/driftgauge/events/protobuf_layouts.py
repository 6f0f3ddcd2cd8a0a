"""The layouts of Protobuf messages."""

import re
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.timestamp_pb2 import Timestamp

from driftgauge.events.layouts import VARINT, Layout, Path, UnusualLayout
from driftgauge.events.sources import read_time
from driftgauge.events.varints import from_zigzag, to_number
from driftgauge.events.vectors import F32, F64

__all__ = ["ProtobufWalk"]

_WIRE_TYPES = 8  # a tag is the field's number times this, plus the wire type
# The types of fields by wire type, and the bytes of those whose numbers all have as many.
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
_KEY = b"\x0a"  # the tag of a map's key
_FLOATS = {Field.TYPE_FLOAT: F32, Field.TYPE_DOUBLE: F64}
_TIMES = {Field.TYPE_INT64, Field.TYPE_UINT64, Field.TYPE_SINT64}

# Seconds, and perhaps nanoseconds, which have 30 bits.
_TIMESTAMP = re.compile(b"\x08(%b)(?:\x10([\x80-\xff]{0,4}+[\x00-\x7f]))?" % VARINT)
_LONGEST_NANOS = 5
_S_MS, _MS_NS, _S_NS = 1_000, 1_000_000, 1_000_000_000


def _fields(descriptor: Any) -> list[tuple[str, int, int]]:
    return [(field.name, field.number, field.type) for field in descriptor.fields]


_TIMESTAMP_FIELDS = _fields(Timestamp.DESCRIPTOR)


class ProtobufWalk:
    """A walk over the bytes of a message.

    The same in all messages of a layout are tags, lengths of bytes, and within an inner message the sizes of
    all fields, because they make its length. A field that is read is not empty, because an empty one may be
    missing.
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
            UnusualLayout: The message has unusual fields, or a field that is read has another type.
        """
        if descriptor.is_extendable:
            raise UnusualLayout
        while self._layout.position < end:
            number, wire = divmod(self._layout.take_varint(), _WIRE_TYPES)
            field = descriptor.fields_by_number.get(number)
            if field is None:
                self._pass_unknown(wire, (*path, None))
            elif field.is_repeated:
                self._pass_repeated(field, wire, (*path, field.name))
            else:
                # Of a oneof only one field counts.
                self._layout.enter((*path, (field.containing_oneof or field).name))
                self._pass_field(field, wire, (*path, field.name))

    def _pass_unknown(self, wire: int, path: Path) -> None:
        if wire == _VARINT:
            self._add_varint(path)
        elif wire == _LENGTH:
            self._layout.add(self._layout.take_varint(), path)
        elif wire in _SIZES:
            self._layout.add(_SIZES[wire], path)
        else:
            raise UnusualLayout

    def _pass_repeated(self, field: Any, wire: int, path: Path) -> None:
        if wire == _LENGTH and field.type in _FLOATS:
            # The numbers of a list.
            if path in self._layout.kinds:
                self._layout.number = _FLOATS[field.type]
            self._layout.add(self._take_length(path), path, {"vector": None})
        elif any(read[: len(path)] == path for read in self._layout.kinds):
            self._pass_entry(field, wire, path)
        else:
            self._pass_field(field, wire, (*path, None))

    def _pass_entry(self, field: Any, wire: int, path: Path) -> None:
        """Pass an entry of a map, whose key is a name of the path; no other repeated field has names."""
        entry = field.message_type
        if wire != _LENGTH or entry is None or not entry.GetOptions().map_entry or path in self._layout.kinds:
            raise UnusualLayout
        key, value = entry.fields
        end = self._layout.take_varint() + self._layout.position
        if key.type != Field.TYPE_STRING or self._layout.take(1) != _KEY:
            raise UnusualLayout
        try:
            own = (*path, self._layout.take(self._layout.take_varint()).decode())
        except UnicodeDecodeError:
            raise UnusualLayout from None
        self._layout.enter(own)
        number, wire = divmod(self._layout.take_varint(), _WIRE_TYPES)
        if number != value.number:
            raise UnusualLayout
        self._pass_field(value, wire, own)
        if self._layout.position != end:
            raise UnusualLayout

    def _pass_field(self, field: Any, wire: int, path: Path) -> None:
        if field.type not in _TYPES.get(wire, ()):
            raise UnusualLayout
        if wire in _SIZES:
            self._layout.add(_SIZES[wire], path)
        elif wire == _VARINT:
            self._add_varint(path, field.type)
        elif field.type == Field.TYPE_STRING:
            # The length of a text within an inner message is part of the message's.
            fewest = 1 if path in self._layout.kinds else 0
            self._layout.add_text(path, varies=len(path) == 1, fewest=fewest)
        elif field.type == Field.TYPE_BYTES:
            self._layout.add_bytes(self._take_length(path), path)
        elif _fields(field.message_type) == _TIMESTAMP_FIELDS and self._add_timestamp(path):
            # A registry may have a file of its own for that type.
            pass
        elif path not in self._layout.kinds:
            size = self._layout.take_varint()
            self.walk(field.message_type, self._layout.position + size, path)
        else:
            raise UnusualLayout

    def _add_timestamp(self, path: Path) -> bool:
        """Pass a Timestamp and its length, if it has seconds, and none of its fields is read by itself."""
        layout = self._layout
        if any(read[:-1] == path for read in layout.kinds):
            return False
        size = layout.raw[layout.position]
        start = layout.position + 1
        found = _TIMESTAMP.fullmatch(layout.raw, start, start + size)
        if found is None:
            return False
        seconds = len(found[1])
        if len(path) > 1:
            layout.take(1)
            pattern = _timestamp_pattern(seconds, len(found[2] or b""))
            layout.add(size, path, {"time": _timestamp_reader(seconds)}, pattern)
        else:
            # One more byte is its length.
            choices = b"|".join(
                b"%c%b" % (1 + seconds + bool(nanos) + nanos, _timestamp_pattern(seconds, nanos))
                for nanos in range(_LONGEST_NANOS + 1)
            )
            read = _timestamp_reader(seconds)
            layout.add(1 + size, path, {"time": lambda raw: read(raw[1:])}, b"(?:%b)" % choices)
        return True

    def _take_length(self, path: Path) -> int:
        size = self._layout.take_varint()
        if not size and path in self._layout.kinds:
            raise UnusualLayout
        return size

    def _add_varint(self, path: Path, field_type: int | None = None) -> None:
        size = self._layout.varint_size()
        is_inner = len(path) > 1
        pattern = _sized_varint(size) if is_inner else VARINT
        if field_type in _TIMES:
            number = _number_reader(is_zigzag=field_type == Field.TYPE_SINT64)
            time = self._layout.time
            self._layout.add(
                size,
                path,
                {"time": lambda raw: read_time(time, number(raw)), "text": lambda raw: str(number(raw))},
                pattern,
            )
        else:
            self._layout.add(size, path, pattern=pattern)


def _sized_varint(size: int) -> bytes:
    """Return the pattern of a varint of so many bytes."""
    return b"[\x80-\xff]{%d}[\x00-\x7f]" % (size - 1)


def _number_reader(*, is_zigzag: bool) -> Callable[[bytes], int]:
    def read(raw: bytes) -> int:
        number = from_zigzag(to_number(raw)) if is_zigzag else to_number(raw)
        if not number:
            # It may be missing.
            raise ValueError
        return number

    return read


def _timestamp_pattern(seconds: int, nanos: int) -> bytes:
    """Return the pattern of a Timestamp whose numbers have so many bytes; 0 nanoseconds: it has none."""
    pattern = b"\x08" + _sized_varint(seconds)
    return pattern + b"\x10" + _sized_varint(nanos) if nanos else pattern


def _timestamp_reader(seconds: int) -> Callable[[bytes], int]:
    """Return the function that reads the milliseconds of a Timestamp whose seconds have so many bytes."""

    def read(raw: bytes) -> int:
        nanos = to_number(raw[seconds + 2 :])
        if nanos >= _S_NS:
            raise ValueError
        return to_number(raw[1 : seconds + 1]) * _S_MS + nanos // _MS_NS

    return read
