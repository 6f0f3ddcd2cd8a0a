"""Fields of Protobuf messages, as paths reach them.

This module does not import Protobuf, so that paths work without the extra.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from operator import attrgetter, methodcaller
from typing import Any

from driftgauge.events.rejection import EventError, Reason

__all__ = ["field_getter", "is_timestamp", "message_field_getter", "timestamp_ms", "to_ms"]

# FieldDescriptor.TYPE_INT64 and others.
_INT64, _INT32, _STRING, _ENUM = 3, 5, 9, 14
_NO_NUMBERS = frozenset((_STRING, 12, _ENUM))  # and bytes
_TYPES = 4_096


def field_getter(value_type: type, name: str, *, is_number: bool = False) -> Callable[[Any], object]:
    """Return the function that gets a field of the values of a type: a message's or mapping's, else None.

    `is_number` is that of `message_field_getter`.
    """
    descriptor: Any = getattr(value_type, "DESCRIPTOR", None)
    if descriptor is None:
        return methodcaller("get", name) if issubclass(value_type, Mapping) else _get_nothing
    return message_field_getter(descriptor, name, is_number=is_number)


def message_field_getter(descriptor: Any, name: str, *, is_number: bool = False) -> Callable[[Any], object]:
    """Return the function that gets a field of a message; it raises EventError for a text that is not UTF-8.

    A field without presence is missing, None, if it has its default value, because the wire does not tell
    the two apart; with `is_number` it is 0 there. A repeated field is a list, of messages even if it is
    empty; a map is a mapping by text, and an enum's value its name.
    """
    field = descriptor.fields_by_name.get(name)
    if field is None:
        return _get_nothing
    if field.is_repeated:
        return _repeated_getter(field)
    get, convert = attrgetter(name), _converter(field)
    if field.has_presence:
        return lambda message: convert(get(message)) if message.HasField(name) else None
    if is_number and field.type not in _NO_NUMBERS:
        return get
    return lambda message: convert(value) if (value := get(message)) else None


def timestamp_ms(value: Any) -> int | None:
    """Return the milliseconds of a google.protobuf.Timestamp, None for other values."""
    descriptor = getattr(type(value), "DESCRIPTOR", None)
    return to_ms(value) if descriptor is not None and is_timestamp(descriptor) else None


def to_ms(stamp: Any) -> int:
    """Return the milliseconds of a Timestamp."""
    return int(stamp.seconds * 1_000 + stamp.nanos // 1_000_000)


@lru_cache(_TYPES)
def is_timestamp(descriptor: Any) -> bool:
    """Return whether a descriptor is that of google.protobuf.Timestamp."""
    if descriptor.full_name != "google.protobuf.Timestamp":
        return False
    # A registry may have a file of its own for that type.
    fields = {field.name: (field.type, field.is_repeated) for field in descriptor.fields}
    return fields == {"seconds": (_INT64, False), "nanos": (_INT32, False)}


def _get_nothing(_: object) -> None:
    return None


def _repeated_getter(field: Any) -> Callable[[Any], object]:
    """Return the function that gets a map or another repeated field."""
    name = field.name
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        convert = _converter(entry.fields_by_name["value"])
        return lambda message: _read_map(getattr(message, name), name, convert)
    convert = _converter(field)
    if entry is not None:
        # A list of objects without any has no events, as in other encodings.
        return lambda message: getattr(message, name)[:]
    if convert is _as_it_is:
        return lambda message: getattr(message, name)[:] or None
    return lambda message: [convert(each) for each in getattr(message, name)] or None


def _read_map(
    found: Mapping[object, object], name: str, convert: Callable[[object], object]
) -> dict[str, object] | None:
    """Return a map by text.

    Raises:
        EventError: A key or a text is not UTF-8, which only proto3 requires of them.
    """
    try:
        return {_key(key): convert(each) for key, each in found.items()} or None
    except UnicodeDecodeError:
        raise EventError(Reason.INVALID, f"value: a key of the map {name} is not UTF-8") from None


def _converter(field: Any) -> Callable[[Any], object]:
    """Return the function that turns a single value of a field into what a path finds."""
    if field.type == _STRING:
        return partial(_to_text, field.name)
    if field.type != _ENUM:
        return _as_it_is
    names = {number: value.name for number, value in field.enum_type.values_by_number.items()}
    return lambda number: names.get(number, number)


def _to_text(name: str, value: object) -> object:
    # Protobuf gives the bytes of a text that is not UTF-8, which only proto3 refuses.
    if type(value) is bytes:
        raise EventError(Reason.INVALID, f"value: the text {name} is not UTF-8")
    return value


def _as_it_is(value: object) -> object:
    return value


def _key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)
