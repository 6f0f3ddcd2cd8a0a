"""Columns of Arrow record batches as arrays: vectors, event times, versions and segments.

Only this module and `tables` import pyarrow, which is an extra.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from driftgauge.errors import InputError
from driftgauge.events.refusals import Refusals
from driftgauge.events.rejection import Reason
from driftgauge.events.timestamps import LAST_MS
from driftgauge.events.vectors import VectorFormat

__all__ = ["holds_vectors", "to_labels", "to_times", "to_vectors"]


def holds_vectors(kind: Any) -> bool:
    """Return whether a column of this type can hold vectors: lists of floats, or bytes."""
    kind = _storage(kind)
    return _is_float_list(kind) or _is_bytes(kind)


def to_vectors(
    column: Any,
    number: VectorFormat,
    where: Callable[[int], str],
    refusals: Refusals,
    dimension: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return the sound vectors of a column as (m, d) float32, all finite, and their rows, (m,).

    The vectors are a view where the column holds float32 and all are sound.

    Args:
        column: n lists of floats, or n byte strings.
        number: The format of numbers in bytes.
        where: Returns the position of a row, for messages.
        refusals: Counts the rows whose vector is null, holds a null, is not finite or has another dimension.
        dimension: d; None takes the most frequent one.

    Raises:
        InputError: Most vectors are empty, or hold a part of a number.
    """
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    kept = _without_nulls(column, where, refusals)
    if not len(kept):
        return np.empty((0, 0), np.float32), kept
    column = _take(column, kept)
    lengths = _lengths(column)
    size = number.size if _is_bytes(column.type) else 1
    distinct, counts = np.unique(lengths, return_counts=True)
    length = int(distinct[counts.argmax()]) if dimension is None else dimension * size
    if length == 0 or length % size:
        message = f"{where(int(kept[0]))}: {length} bytes or numbers are no vector of {number.dtype}"
        raise InputError(message)
    for row in np.flatnonzero(lengths != length).tolist():
        unit = "numbers" if size == 1 else "bytes"
        detail = f"the vector has {lengths[row]} {unit}, most have {length}"
        refusals.add(where(int(kept[row])), Reason.WRONG_DIMENSION, detail)
    column, kept = _take(column, np.flatnonzero(lengths == length)), kept[lengths == length]
    if _is_bytes(column.type):
        vectors = number.to_float32(b"".join(column.to_pylist()))
    else:
        with np.errstate(over="ignore"):  # values beyond float32 become infinite and are refused
            vectors = np.asarray(column.flatten()).astype(np.float32, copy=False)
    vectors = vectors.reshape(len(column), length // size)
    sound = np.isfinite(vectors).all(axis=1)
    if sound.all():
        return vectors, kept
    for row in kept[~sound].tolist():
        refusals.add(
            where(row), Reason.NON_FINITE, "the vector holds NaN, infinity or a value beyond float32"
        )
    return vectors[sound], kept[sound]


def _take(column: Any, kept: NDArray[np.intp]) -> Any:
    """Return some rows of a column, the column itself where all are kept."""
    return column if len(kept) == len(column) else column.take(pa.array(kept))


def _lengths(column: Any) -> NDArray[np.int64]:
    """Return the number of bytes or of numbers in each row."""
    measure = pc.binary_length if _is_bytes(column.type) else pc.list_value_length
    return np.asarray(measure(column)).astype(np.int64, copy=False)


def _without_nulls(column: Any, where: Callable[[int], str], refusals: Refusals) -> NDArray[np.intp]:
    """Return the rows whose vector is not null and holds no null."""
    is_null = np.asarray(pc.is_null(column))
    holds_null = np.zeros(len(column), np.bool_)
    if not _is_bytes(column.type) and (numbers := column.flatten()).null_count:
        holds_null[np.asarray(pc.list_parent_indices(column))[np.asarray(pc.is_null(numbers))]] = True
    for row in np.flatnonzero(is_null | holds_null).tolist():
        detail = "the vector is null" if is_null[row] else "a number of the vector is null"
        refusals.add(where(row), Reason.INVALID, detail)
    return np.flatnonzero(~(is_null | holds_null))


def to_times(column: Any, unit: str, where: Callable[[int], str]) -> NDArray[np.int64]:
    """Return the event times of a column, (n,) int64, milliseconds since the epoch.

    Args:
        column: n timestamps (without a zone, UTC), whole numbers, or RFC 3339 date-times.
        unit: The unit of whole numbers: s, ms, us or ns.
        where: Returns the position of a row, for messages.

    Raises:
        InputError: A time is missing, or none of these.
    """
    if column.null_count:
        message = f"{where(_first(pc.is_null(column)))}: the time is null; remove the rows without a time"
        raise InputError(message)
    kind = column.type
    try:
        if pa.types.is_integer(kind):
            column = column.cast(pa.int64()).cast(pa.timestamp(unit))
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            column = column.cast(pa.timestamp("us", "UTC"))
        zone = getattr(column.type, "tz", None)
        times_ms = np.asarray(column.cast(pa.timestamp("ms", zone), safe=False).cast(pa.int64()))
    except pa.ArrowException as error:
        message = (
            f"{where(0)}: times of type {kind} ({error}); give timestamps, whole numbers or RFC 3339 text"
        )
        raise InputError(message) from error
    valid = (times_ms >= 0) & (times_ms <= LAST_MS)
    if not valid.all():
        message = (
            f"{where(int(valid.argmin()))}: the time is not within the years 1970 to 9999; check its unit"
        )
        raise InputError(message)
    return times_ms


def to_labels(column: Any, where: str) -> list[str | None]:
    """Return a column as text, None where it is null.

    Args:
        column: n texts, whole numbers, or other values that have one text.
        where: The file, the column and its option, for messages.

    Raises:
        InputError: The column's values have no text, or are floats, among which missing values are hidden.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        if pa.types.is_floating(column.type):
            raise pa.ArrowInvalid
        labels: list[str | None] = column.cast(pa.string()).to_pylist()
    except pa.ArrowException as error:
        message = f"{where} holds {column.type}; give text or whole numbers, null where one is missing"
        raise InputError(message) from error
    return labels


def _first(mask: Any) -> int:
    return int(np.asarray(mask).argmax())


def _storage(kind: Any) -> Any:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _is_float_list(kind: Any) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(is_list and pa.types.is_floating(kind.value_type))


def _is_bytes(kind: Any) -> bool:
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    )
