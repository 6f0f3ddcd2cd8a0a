"""Vectors as records hold them: numbers in bytes of several types, lists, base64."""

from collections import Counter
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from struct import pack
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from pybase64 import b64decode

from driftgauge.config.inputs import VectorSource
from driftgauge.events.rejection import EventError, Reason

__all__ = [
    "F32",
    "F64",
    "LISTS",
    "MOST_VECTORS",
    "VectorFormat",
    "are_finite",
    "check_number",
    "check_numbers",
    "describe_kind",
    "first_vector",
    "pack_list",
    "parse_text",
    "split_vectors",
    "to_format",
    "to_matrix",
]

# As many as numpy once allowed; a product of more takes long.
_MAX_AXES = 32
# With a number a vector, a record of a megabyte would take seconds, and its member would leave the group.
MOST_VECTORS = 10_000
"""The most vectors of a record that are read."""
LISTS = (list, memoryview)
"""The types of lists: numbers that were not made objects are a view."""
_KINDS = {
    dict: "an object",
    list: "a list",
    memoryview: "a list",
    str: "text",
    bool: "true or false",
    type(None): "null",
    int: "a number",
    float: "a number",
}
_NUMBERS = frozenset((int, float))
_SIZES = {"f32": 4, "f16": 2, "bf16": 2, "f64": 8, "int8": 1}


@dataclass(frozen=True, slots=True, eq=False)
class VectorFormat:
    """How bytes hold a number of a vector, little-endian; hashed by identity, once for each event.

    Attributes:
        dtype: The type of a number.
        scale, zero_point: An int8 q stands for scale x (q - zero_point).
        size: Bytes of a number.
    """

    dtype: Literal["f32", "f16", "bf16", "f64", "int8"]
    scale: float = 1.0
    zero_point: int = 0
    size: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _SIZES[self.dtype])

    def to_float32(self, raw: bytes | memoryview) -> NDArray[np.float32]:
        """Return the numbers as (n,) float32; one beyond float32 becomes infinite."""
        match self.dtype:
            case "f32":
                return np.frombuffer(raw, "<f4").astype(np.float32, copy=False)
            case "bf16":
                # bfloat16 is the upper half of a float32.
                return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
            case "int8":
                steps = np.frombuffer(raw, np.int8).astype(np.float32) - np.float32(self.zero_point)
                return steps * np.float32(self.scale)
            case "f16" | "f64":
                # A signalling NaN is invalid for the conversion, and becomes NaN like any other.
                with np.errstate(over="ignore", invalid="ignore"):
                    return np.frombuffer(raw, "<f2" if self.dtype == "f16" else "<f8").astype(np.float32)


F32 = VectorFormat("f32")
"""The format of vectors in events of the service's own contract."""

F64 = VectorFormat("f64")
"""The format of vectors whose numbers a JSON parser has left as doubles."""


def to_format(source: VectorSource) -> VectorFormat:
    """Return the format of the numbers of a mapped vector in bytes, the same object for equal ones."""
    return F32 if source.dtype == "f32" else _format(source.dtype, source.scale, source.zero_point)


_format = lru_cache(VectorFormat)


def to_matrix(
    formats: Sequence[VectorFormat], vectors: Sequence[bytes | memoryview], dimension: int
) -> NDArray[np.float32]:
    """Return n vectors, each in its format, as (n, dimension) float32."""
    distinct = set(formats)
    if len(distinct) == 1:
        return formats[0].to_float32(b"".join(vectors)).reshape(-1, dimension)
    matrix = np.empty((len(vectors), dimension), np.float32)
    for each in distinct:
        rows = [row for row, found in enumerate(formats) if found is each]
        matrix[rows] = each.to_float32(b"".join(vectors[row] for row in rows)).reshape(-1, dimension)
    return matrix


def are_finite(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which of n vectors, (n, d), are finite, (n,) bool.

    One product takes a fifth of the time of looking at every number. A sum is finite only if its terms are;
    if it overflows, the terms are looked at.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        finite: NDArray[np.bool_] = np.isfinite(vectors @ np.ones(vectors.shape[1], np.float32))
    if not finite.all():
        finite[~finite] = np.isfinite(vectors[~finite]).all(axis=1)
    return finite


def split_vectors(
    value: object, number: VectorFormat, shape: object | None, dimension: int | None = None
) -> tuple[Sequence[list[object] | bytes | memoryview], bool]:
    """Return the vectors of a value, each as a list or as bytes, and whether there may be several.

    Args:
        value: A list, a list of lists, bytes, a view of floats or doubles, base64, or a list in JSON text.
        number: The format of numbers in bytes.
        shape: The shape of the value, which is flat or nested accordingly; all but the last axis count
            vectors. None: a vector, or one for each list within the list.
        dimension: Without a shape, the dimension of vectors that stand one after another; None: one vector.

    Raises:
        EventError: The value is none of these, or does not have the shape or the dimension.
    """
    if type(value) is str:
        value = parse_text(value)
    if not isinstance(value, bytes | list | memoryview):
        raise EventError(
            Reason.INVALID,
            f"embedding: {describe_kind(value)}, where a list of numbers, bytes or text is expected",
        )
    is_nested = isinstance(value, list) and bool(value) and type(value[0]) in LISTS
    if dimension is not None:
        count = len(value) if is_nested else len(value) // (dimension * _size_of_number(value, number))
        # No vector at all is a fault.
        shape = [max(count, 1), dimension]
    if shape is not None:
        checked = _check_shape(shape)
        return _unnest([value], checked) if is_nested else _cut(value, number, checked), True
    if isinstance(value, list) and is_nested:
        check_number(len(value))
        if not all(type(vector) in LISTS for vector in value):
            raise EventError(Reason.INVALID, "embedding: lists and other values are mixed")
        return value, True
    return (value,), False


def first_vector(value: object) -> list[object] | bytes | memoryview | None:
    """Return the first vector of a value; None if it has none, or one of other values than numbers."""
    with suppress(EventError):
        first = next(iter(split_vectors(value, F32, None)[0]))
        return first if not isinstance(first, list) or _NUMBERS.issuperset(map(type, first)) else None
    return None


def pack_list(numbers: list[Any]) -> memoryview:
    """Return a list of any values as a view of float32; one beyond float32 becomes infinite.

    Raises:
        EventError: A value is no number.
    """
    # struct takes a bool for a number.
    if not _NUMBERS.issuperset(map(type, numbers)):
        index = next(i for i, each in enumerate(numbers) if type(each) not in _NUMBERS)
        kind = describe_kind(numbers[index])
        raise EventError(Reason.INVALID, f"embedding.{index}: {kind}, where a number is expected")
    try:
        packed = pack(f"<{len(numbers)}f", *numbers)
    except OverflowError:
        with np.errstate(over="ignore"):
            packed = np.array(numbers, np.float64).astype("<f4").tobytes()
    return memoryview(packed).cast("f")  # type: ignore[return-value]


def describe_kind(value: object) -> str:
    """Return what a value is, in the words of JSON if these have one for it."""
    return _KINDS.get(type(value), type(value).__name__)


def parse_text(text: str) -> object:
    """Return the bytes of a text in base64, of the standard alphabet and padded, or the list of one in JSON.

    Raises:
        EventError: The text is neither.
    """
    try:
        # pgvector writes a vector as text like this. Arguments by name would take half of the time again.
        return orjson.loads(text) if text.startswith("[") else b64decode(text, None, True)  # noqa: FBT003
    except ValueError as error:
        raise EventError(Reason.INVALID, f"embedding: neither base64 nor a list in JSON ({error})") from None


def _cut(
    value: bytes | memoryview | list[object], number: VectorFormat, shape: list[int]
) -> Sequence[list[object] | bytes | memoryview]:
    length = shape[-1] * _size_of_number(value, number)
    vectors = prod(shape[:-1])
    if len(value) != vectors * length:
        unit = "bytes" if isinstance(value, bytes) else "numbers"
        detail = f"embedding: {len(value)} {unit}, its shape needs {vectors * length}"
        raise EventError(Reason.INVALID, detail)
    return [value[length * i : length * (i + 1)] for i in range(vectors)]


def _size_of_number(value: bytes | memoryview | list[object], number: VectorFormat) -> int:
    """Return how much of the value's length a number takes."""
    return number.size if isinstance(value, bytes) else 1


def _unnest(lists: list[Any], shape: list[int]) -> list[list[object] | bytes]:
    """Return the innermost lists of a list in `lists` that nests as its shape says."""
    for depth, axis in enumerate(shape):
        lists = [inner for each in lists for inner in each] if depth else lists
        if not all(type(each) in LISTS and len(each) == axis for each in lists):
            raise EventError(Reason.INVALID, "embedding: lists that do not nest as its shape says")
    return lists


def check_number(vectors: int) -> None:
    """Raise EventError if a record has more vectors than are read."""
    if vectors > MOST_VECTORS:
        raise EventError(Reason.INVALID, f"embedding: more than {MOST_VECTORS:,} vectors in one record")


def check_numbers(owners: Sequence[Hashable]) -> None:
    """Raise EventError if one record has more vectors than are read, given the record of each vector."""
    if len(owners) > MOST_VECTORS:
        check_number(max(Counter(owners).values()))


def _check_shape(shape: object) -> list[int]:
    """Return a shape of 1 to 32 axes that leaves every vector a number.

    An empty vector would make vectors of no bytes, as many as the other axes say.
    """
    if type(shape) is list and 1 <= len(shape) <= _MAX_AXES and all(type(axis) is int for axis in shape):
        *counts, dimension = shape
        if dimension >= 1 and all(count >= 0 for count in counts):
            check_number(prod(counts))
            return shape
    raise EventError(Reason.INVALID, "embedding: its shape is no list of whole numbers, the last at least 1")
