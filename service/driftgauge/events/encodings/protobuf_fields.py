"""Fields of Protobuf messages for what one mapping reads; a packed vector stays bytes."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from struct import calcsize
from typing import Any, Literal

from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.unknown_fields import UnknownFieldSet

from driftgauge.events.messages import is_timestamp, message_field_getter, to_ms
from driftgauge.events.needs import Need

__all__ = ["UnusualMessage", "compile_getters", "declare_bytes", "find_packed"]

_CODES: dict[int, Literal["f", "d"]] = {Field.TYPE_FLOAT: "f", Field.TYPE_DOUBLE: "d"}


class UnusualMessage(Exception):  # noqa: N818 - a finding, not a fault
    """A message may have numbers of a vector that its reader class does not show."""


def find_packed(descriptor: Any, need: Need) -> Sequence[Any]:
    """Return the fields from a message to its packed vector; none if a mapping reads no such vector."""
    vector = _find_packed(descriptor, need)
    if not vector:
        return ()
    # A cut vector in another field of its type would be missed.
    wanted = vector[-1].containing_type.full_name
    uses = (descriptor.full_name == wanted) + _count_uses(descriptor, wanted, {descriptor.full_name})
    return vector if uses == 1 else ()


def _count_uses(descriptor: Any, wanted: str, seen: set[str]) -> int:
    """Return how many fields have a message type, in a message and all types within that are not seen yet."""
    uses = 0
    for field in descriptor.fields:
        inner = field.message_type
        if inner is not None:
            uses += inner.full_name == wanted
            if inner.full_name not in seen:
                seen.add(inner.full_name)
                uses += _count_uses(inner, wanted, seen)
    return uses


def _find_packed(descriptor: Any, need: Need) -> Sequence[Any]:
    for name, inner in need.fields.items():
        field = descriptor.fields_by_name.get(name)
        if field is None:
            continue
        if field.is_repeated:
            if inner == Need(kinds={"vector"}) and field.type in _CODES and field.is_packed:
                return [field]
        elif field.message_type is not None and not inner.kinds:
            found = _find_packed(field.message_type, inner)
            if found:
                return [field, *found]
    return ()


def declare_bytes(file: FileDescriptorProto, vector: Any) -> FileDescriptorProto:
    """Return a copy of a file in which a packed field is repeated bytes: each is numbers of the vector."""
    changed = FileDescriptorProto()
    changed.CopyFrom(file)
    prefix = f"{file.package}." if file.package else ""
    for each in changed.message_type:
        _declare_bytes(each, prefix + each.name, vector)
    return changed


def _declare_bytes(described: DescriptorProto, full_name: str, vector: Any) -> None:
    for inner in described.nested_type:
        _declare_bytes(inner, f"{full_name}.{inner.name}", vector)
    if full_name == vector.containing_type.full_name:
        (field,) = (each for each in described.field if each.number == vector.number)
        field.type = FieldDescriptorProto.TYPE_BYTES
        field.ClearField("options")


def compile_getters(
    descriptor: Any, need: Need, vector: Sequence[Any]
) -> list[tuple[str, Callable[[Any], object]]]:
    """Return the names of the fields that a mapping reads of a message, and the functions that get them.

    Args:
        descriptor: The message.
        need: What the mapping reads of it.
        vector: The fields from the message to its packed vector, empty if it has none.
    """
    return [(name, _compile_getter(descriptor, name, inner, vector)) for name, inner in need.fields.items()]


def _compile_getter(descriptor: Any, name: str, need: Need, vector: Sequence[Any]) -> Callable[[Any], object]:
    if not vector or vector[0].name != name:
        is_number = need == Need(kinds={"number"})
        return _compile_time(descriptor, name, need) or message_field_getter(
            descriptor, name, is_number=is_number
        )
    field, *others = vector
    if not others:
        return _compile_packed(name, _CODES[field.type])
    inner = compile_getters(field.message_type, need, others)

    def get(message: Any) -> dict[str, object] | None:
        if not message.HasField(name):
            return None
        found = getattr(message, name)
        return {inner_name: take(found) for inner_name, take in inner}

    return get


def _compile_time(descriptor: Any, name: str, need: Need) -> Callable[[Any], int | None] | None:
    """Return the function that gets the milliseconds of a Timestamp, None if the field is to be none."""
    field = descriptor.fields_by_name.get(name)
    kind = None if field is None or field.is_repeated else field.message_type
    if kind is None or need != Need(kinds={"ms"}) or not is_timestamp(kind):
        return None
    get = attrgetter(name)
    return lambda message: to_ms(get(message)) if message.HasField(name) else None


def _compile_packed(name: str, code: Literal["f", "d"]) -> Callable[[Any], object]:
    get_chunks, size = attrgetter(name), calcsize(code)

    def get(message: Any) -> object:
        """Return the numbers; raise UnusualMessage if some may be elsewhere, or a chunk is cut."""
        chunks = get_chunks(message)[:]
        # Numbers that are not packed have another wire type than bytes, and so are unknown.
        if len(UnknownFieldSet(message)):
            raise UnusualMessage
        for chunk in chunks:
            if len(chunk) % size:
                raise UnusualMessage
        numbers = b"".join(chunks)
        return memoryview(numbers).cast(code) if numbers else None

    return get
