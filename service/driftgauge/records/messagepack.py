"""MessagePack of the core's own records, behind one byte with the version of their format.

A dataclass is a map of its fields, an array a list of its rows. Any change of a record's fields raises the
version of its format: a reader knows a version whole or not at all.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftgauge.core.statistics import registry
from driftgauge.core.statistics.statistic import Findings
from driftgauge.errors import StateError

__all__ = ["MAX_PARTITIONS", "Format", "check_version", "refusing_damage", "require"]

MAX_PARTITIONS = 2**20
"""The most partitions of a topic: a damaged number must not size an array."""

_DAMAGE = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError)

Record = TypeVar("Record")


class Format(Generic[Record]):
    """The format of a record of a type, of which only types are checked.

    The broker's checksum protects the numbers. The code that fails on one stops its shard alone, but memory
    that a number asks for is the process's: numbers that size arrays need a check of their own.
    """

    def __init__(self, kind: Any) -> None:
        self._decoder = msgspec.msgpack.Decoder[Record](kind, dec_hook=_build)

    def decode(self, name: str, content: bytes) -> Record:
        """Return a record.

        Args:
            name: The record, as messages name it.
            content: Its bytes.

        Raises:
            StateError: The record is damaged.
        """
        with refusing_damage(name):
            record: Record = self._decoder.decode(memoryview(content)[1:])
        return record


def check_version(name: str, content: bytes, version: int) -> None:
    """Refuse a record, named so, of another format version than this.

    Raises:
        StateError: The version is another.
    """
    if not content or content[0] == version:
        return
    message = f"{name} has format version {content[0]}, and this driftgauge reads version {version}"
    if content[0] > version:
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
    types = {each.name: each.finding for each in registry.STATISTICS}
    require(value.keys() <= types.keys(), "a finding is that of no statistic")
    return Findings(
        {name: msgspec.convert(each, types[name], dec_hook=_to_array) for name, each in value.items()}
    )


def _to_array(kind: Any, rows: Any) -> NDArray[Any]:
    """Return an array of the type `NDArray[number]` from its rows."""
    require(isinstance(rows, list), "an array is not a list")
    (number,) = get_args(get_args(kind)[1])
    array = np.array(rows)
    kinds = "if" if issubclass(number, np.floating) else "i"
    require(not array.size or array.dtype.kind in kinds, "an array holds something else than its numbers")
    return array.astype(number, copy=False)
