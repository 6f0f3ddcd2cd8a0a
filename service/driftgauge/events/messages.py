"""Fields of Protobuf messages, as paths reach them.

This module does not import Protobuf, so that paths work without the extra.
"""

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any

__all__ = ["is_message", "take_field", "timestamp_ms"]

_ENUM = 14  # FieldDescriptor.TYPE_ENUM
_ACCESSORS = 4_096


def is_message(value: object) -> bool:
    """Return whether a value is a Protobuf message."""
    return hasattr(value, "DESCRIPTOR")


def take_field(message: Any, name: str) -> object:
    """Return a field of a message, None where it is missing.

    A field without presence is missing where it has its default value, because the wire does not tell the two
    apart. A repeated field is a list, a map a mapping by text, an enum's value its name.
    """
    message_class: Any = type(message)
    return _accessor(message_class, name)(message)


def timestamp_ms(value: object) -> int | None:
    """Return the milliseconds of a google.protobuf.Timestamp, None for other values."""
    descriptor = getattr(value, "DESCRIPTOR", None)
    if getattr(descriptor, "full_name", None) != "google.protobuf.Timestamp":
        return None
    stamp: Any = value
    return int(stamp.seconds * 1_000 + stamp.nanos // 1_000_000)


@lru_cache(_ACCESSORS)
def _accessor(message_class: Hashable, name: str) -> Callable[[Any], object]:
    """Return the function that takes a field of the messages of a class."""
    descriptor: Any = getattr(message_class, "DESCRIPTOR", None)
    field = descriptor.fields_by_name.get(name)
    if field is None:
        return lambda _: None
    if field.is_repeated:
        return _repeated_accessor(field)
    convert = _converter(field)
    if field.has_presence:
        return lambda message: convert(getattr(message, name)) if message.HasField(name) else None
    return lambda message: convert(value) if (value := getattr(message, name)) else None


def _repeated_accessor(field: Any) -> Callable[[Any], object]:
    """Return the function that takes a map or another repeated field."""
    name = field.name
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        convert = _converter(entry.fields_by_name["value"])
        return lambda message: (
            {_key(key): convert(each) for key, each in getattr(message, name).items()} or None
        )
    if field.type == _ENUM:
        convert = _converter(field)
        return lambda message: [convert(each) for each in getattr(message, name)] or None
    return lambda message: getattr(message, name)[:] or None


def _converter(field: Any) -> Callable[[Any], object]:
    """Return the function that turns a single value of a field into what a path finds."""
    if field.type != _ENUM:
        return _as_it_is
    names = {number: value.name for number, value in field.enum_type.values_by_number.items()}
    return lambda number: names.get(number, number)


def _as_it_is(value: object) -> object:
    return value


def _key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)
