"""MessagePack of the core's own records, in an envelope that lets them grow.

The first byte is the format's version. An array of two follows: the names of the fields that a reader must
understand, and the map of the record's fields. A reader ignores fields that it does not know, and refuses a
record that names one. A dataclass is a map of its fields, a NumPy array a list of its rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar, get_args, get_type_hints

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftgauge.core.growth import is_marked
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.statistic import Findings
from driftgauge.errors import StateError

__all__ = ["MAX_PARTITIONS", "Format", "envelope", "names_to_understand", "refusing_damage", "require"]

MAX_PARTITIONS = 2**20
"""The most partitions of a topic: a damaged number must not size an array."""

# Raised only by a change that neither a new field nor a new kind of record can express.
_VERSION = 7

_ENCODER = msgspec.msgpack.Encoder(enc_hook=np.ndarray.tolist)
# An array of two items, the first of which is an empty array.
_NOTHING_TO_UNDERSTAND = b"\x92\x90"
_ENVELOPE = msgspec.msgpack.Decoder(tuple[list[str], msgspec.Raw])
_DAMAGE = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError)

Record = TypeVar("Record")


class Format(Generic[Record]):
    """The format of a record of a type, of which only types are checked.

    The broker's checksum protects the numbers. The code that fails on one stops its shard alone, but memory
    that a number asks for is the process's: numbers that size arrays need a check of their own.
    """

    def __init__(self, kind: Any) -> None:
        self._decoder = msgspec.msgpack.Decoder[Record](kind, dec_hook=_build)
        held = [each for found in _dataclasses_in(kind, set()) for each in fields(found)]
        self._known = frozenset(each.name for each in held)
        self._has_marked = any(map(is_marked, held))

    def encode(self, record: Any) -> bytes:
        """Return the bytes of a record."""
        return envelope(self.must_understand(record), _ENCODER.encode(record))

    def must_understand(self, value: Any) -> list[str]:
        """Return the names of the fields in a record, or in a part of it, that a reader must understand."""
        return sorted(_names_to_understand(value)) if self._has_marked else []

    def decode(self, name: str, content: bytes) -> Record:
        """Return a record.

        Args:
            name: The record, as messages name it.
            content: Its bytes.

        Raises:
            StateError: The record is damaged, of another version, or has a field that must be understood and
                that this version does not know.
        """
        names, content_of_fields = _open(name, content)
        if unknown := [each for each in names if each not in self._known]:
            message = (
                f"{name} has {', '.join(unknown)}, which a reader must understand and this driftgauge does "
                "not know: a later driftgauge wrote it; update this replica"
            )
            raise StateError(message)
        with refusing_damage(name):
            record: Record = self._decoder.decode(content_of_fields)
        return record


def envelope(names: Sequence[str], content: bytes) -> bytes:
    """Return the bytes of a record from the names that a reader must understand, and its encoded fields."""
    return bytes([_VERSION]) + b"\x92" + _ENCODER.encode(names) + content


def names_to_understand(name: str, content: bytes) -> Sequence[str]:
    """Return the names of the fields in a record, named so, that its reader must understand.

    Raises:
        StateError: The record is damaged, or of another version.
    """
    return _open(name, content)[0]


def _open(name: str, content: bytes) -> tuple[Sequence[str], memoryview]:
    """Return the names of the fields in a record that its reader must understand, and its encoded fields."""
    if content[1:3] == _NOTHING_TO_UNDERSTAND and content[0] == _VERSION:
        return (), memoryview(content)[3:]
    if not content or content[0] == _VERSION:
        with refusing_damage(name):
            names, content_of_fields = _ENVELOPE.decode(memoryview(content)[1:])
        return names, memoryview(content_of_fields)
    message = f"{name} has format version {content[0]}, and this driftgauge reads version {_VERSION}"
    if content[0] > _VERSION:
        message += ": a later driftgauge wrote it; update this replica"
    else:
        message += (
            ": an earlier driftgauge wrote it; stop all replicas, delete both internal topics and the "
            "offsets of both groups, then start again"
        )
    raise StateError(message)


@contextmanager
def refusing_damage(name: str) -> Iterator[None]:
    """Raise StateError for a record, named so, that breaks its format."""
    try:
        yield
    except _DAMAGE as error:
        message = (
            f"{name} is malformed ({error}): it is damaged, or another program wrote it; keep other programs "
            "from writing to this topic, and set another topics.internal"
        )
        raise StateError(message) from error


def require(condition: object, message: str) -> None:
    """Check a condition that a sound record fulfils.

    Raises:
        ValueError: The condition is false; the error has this message.
    """
    if not condition:
        raise ValueError(message)


def _build(kind: Any, value: Any) -> Any:
    """Return an array, or the findings of a window, from the plain value."""
    if kind is not Findings:
        return _to_array(kind, value)
    require(isinstance(value, dict), "the findings are not a map")
    # A later version may have more statistics, whose findings this version does not need.
    return Findings(
        {
            each.name: msgspec.convert(value[each.name], each.finding, dec_hook=_to_array)
            for each in registry.STATISTICS
            if each.name in value
        }
    )


def _to_array(kind: Any, rows: Any) -> NDArray[Any]:
    """Return an array of the type `NDArray[number]` from its rows."""
    require(isinstance(rows, list), "an array is not a list")
    (number,) = get_args(get_args(kind)[1])
    array = np.array(rows)
    kinds = "if" if issubclass(number, np.floating) else "i"
    require(not array.size or array.dtype.kind in kinds, "an array holds something else than its numbers")
    return array.astype(number, copy=False)


def _names_to_understand(value: Any) -> set[str]:
    if is_dataclass(value) and not isinstance(value, type):
        held = [(each, getattr(value, each.name)) for each in fields(value)]
        own = {each.name for each, part in held if is_marked(each) and part != each.default}
        return own.union(*(_names_to_understand(part) for _, part in held))
    if isinstance(value, Mapping):
        return set().union(*map(_names_to_understand, value.values()))
    if isinstance(value, tuple | list):
        return set().union(*map(_names_to_understand, value))
    return set()


def _dataclasses_in(kind: Any, found: set[type]) -> set[type]:
    """Return the dataclasses that a type is made of, added to those found."""
    if kind is Findings:
        for statistic in registry.STATISTICS:
            _dataclasses_in(statistic.finding, found)
    elif is_dataclass(kind):
        if isinstance(kind, type) and kind not in found:
            found.add(kind)
            for part in get_type_hints(kind).values():
                _dataclasses_in(part, found)
    else:
        for part in get_args(kind):
            _dataclasses_in(part, found)
    return found
