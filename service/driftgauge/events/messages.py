"""Fields of Protobuf messages, as paths reach them.

This module does not import Protobuf, so that paths work without the extra.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import attrgetter, methodcaller
from typing import Any

from driftgauge.events.rejection import EventError, Reason

__all__ = ["field_getter", "timestamp_ms"]

_ENUM = 14  # FieldDescriptor.TYPE_ENUM
_TYPES = 4_096


def field_getter(value_type: type, name: str) -> Callable[[Any], object]:
    """Return the function that gets a field of the values of a type: a message's or mapping's, else None.

    A message's field without presence is missing, None, where it has its default value, because the wire does
    not tell the two apart. A repeated field is a list, a map a mapping by text, an enum's value its name.
    """
    descriptor: Any = getattr(value_type, "DESCRIPTOR", None)
    if descriptor is None:
        return methodcaller("get", name) if issubclass(value_type, Mapping) else _get_nothing
    field = descriptor.fields_by_name.get(name)
    if field is None:
        return _get_nothing
    if field.is_repeated:
        return _repeated_getter(field)
    get = _enum_getter(field) if field.type == _ENUM else attrgetter(name)
    if field.has_presence:
        return lambda message: get(message) if message.HasField(name) else None
    return lambda message: get(message) or None


def timestamp_ms(value: Any) -> int | None:
    """Return the milliseconds of a google.protobuf.Timestamp, None for other values."""
    value_type: Any = type(value)
    if not _is_timestamp(value_type):
        return None
    milliseconds: int = value.seconds * 1_000 + value.nanos // 1_000_000
    return milliseconds


@lru_cache(_TYPES)
def _is_timestamp(value_type: type) -> bool:
    descriptor = getattr(value_type, "DESCRIPTOR", None)
    return getattr(descriptor, "full_name", None) == "google.protobuf.Timestamp"


def _get_nothing(_: object) -> None:
    return None


def _enum_getter(field: Any) -> Callable[[Any], object]:
    get, convert, may_be_zero = attrgetter(field.name), _converter(field), field.has_presence
    return lambda message: convert(number) if (number := get(message)) or may_be_zero else None


def _repeated_getter(field: Any) -> Callable[[Any], object]:
    """Return the function that gets a map or another repeated field."""
    name = field.name
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        convert = _converter(entry.fields_by_name["value"])
        return lambda message: _read_map(getattr(message, name), name, convert)
    if field.type == _ENUM:
        convert = _converter(field)
        return lambda message: [convert(each) for each in getattr(message, name)] or None
    return lambda message: getattr(message, name)[:] or None


def _read_map(
    found: Mapping[object, object], name: str, convert: Callable[[object], object]
) -> dict[str, object] | None:
    """Return a map by text.

    Raises:
        EventError: A key is not UTF-8, which only proto3 requires of it.
    """
    try:
        return {_key(key): convert(each) for key, each in found.items()} or None
    except UnicodeDecodeError:
        raise EventError(Reason.INVALID, f"value: a key of the map {name} is not UTF-8") from None


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
