"""Reading vectors from Parquet and Arrow files in batches, with pyarrow of the extra `parquet`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet
from numpy.typing import NDArray

from driftgauge.baseline.collecting import Collector, TableColumns, VectorSet
from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.errors import InputError
from driftgauge.events.records import OLDEST_MS
from driftgauge.events.refusals import Refusals
from driftgauge.events.rejection import Reason
from driftgauge.events.timestamps import LAST_MS, format_timestamp
from driftgauge.events.vectors import VectorFormat
from driftgauge.files import check_expansion, open_regular
from driftgauge.progress import Track, WorkProgress

__all__ = ["read_table"]

# Rows that are read at once: 8,192 of 1,536 floats take 50 MB.
BATCH_ROWS = 8_192
# Bytes that are read from a column at once. Without a buffer pyarrow reads a whole row group's column, which
# is all vectors of a file of a million rows.
BUFFER_BYTES = 1 << 20
# A text of a date, or of a date and a time, that ends without an offset.
_WITHOUT_OFFSET = "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9:.]+)?$"


def read_table(
    path: Path, columns: TableColumns, model_version: str | None, track: Track, refusals: Refusals
) -> VectorSet:
    """Return the vectors of a Parquet or Arrow file, in the order of the file.

    The file is read in batches, and each vector is written once, so the memory is that of the vectors and of
    one batch. A batch of an Arrow file is as large as its writer made it.

    Args:
        path: A file with one of `TABLE_SUFFIXES`.
        columns: The columns to read.
        model_version: The version to record.
        track: Receives the progress.
        refusals: Counts the rows whose vector is missing or not finite; these are left out.

    Raises:
        InputError: The file or a column cannot be read or used.
    """
    try:
        open_regular(path).close()  # pyarrow would wait for a pipe
        with ExitStack() as stack:
            schema, rows, batches = _open(path, stack)
            return _collect(path, schema, rows, batches, columns, model_version, track, refusals)
    except (OSError, pa.ArrowException) as error:
        message = f"{path}: cannot be read ({error}); name a complete Parquet or Arrow file"
        raise InputError(message) from error


_Batches = Callable[[list[str]], Iterator[Any]]


def _open(path: Path, stack: ExitStack) -> tuple[Any, int | None, _Batches]:
    """Return a file's schema, its number of rows if known, and a function to read some columns."""
    if path.suffix == ".parquet":
        parquet = stack.enter_context(
            pa.parquet.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False)
        )
        return (
            parquet.schema_arrow,
            parquet.metadata.num_rows,
            lambda names: parquet.iter_batches(BATCH_ROWS, columns=names, use_threads=False),
        )
    # Not memory-mapped, since the pages of the file would count as memory beside the vectors.
    source = stack.enter_context(pa.OSFile(str(path)))
    try:
        file = stack.enter_context(pa.ipc.open_file(source))
    except pa.ArrowInvalid:
        source.seek(0)
        stream = stack.enter_context(pa.ipc.open_stream(source))
        return stream.schema, None, lambda names: (batch.select(names) for batch in stream)
    batches = (file.get_batch(index) for index in range(file.num_record_batches))
    return file.schema, None, lambda names: (batch.select(names) for batch in batches)


def _collect(
    path: Path,
    schema: Any,
    rows: int | None,
    read: _Batches,
    columns: TableColumns,
    model_version: str | None,
    track: Track,
    refusals: Refusals,
) -> VectorSet:
    vector = _vector_column(path, schema, columns.vector)
    naming = None if columns.name is None else columns.name.column
    named = columns.time, *columns.segments, naming, columns.event_id, *columns.numbers
    others = [name for name in named if name is not None]
    for name in others:
        if name not in schema.names:
            message = f"{path}: no column {name!r}; the columns are {_list(schema)}"
            raise InputError(message)
    collector: Collector | None = None
    number = 0
    track(WorkProgress("rows read", 0, rows))
    for large in read(list(dict.fromkeys([vector, *others]))):
        for start in range(0, large.num_rows, BATCH_ROWS):
            batch = large.slice(start, BATCH_ROWS)
            numbers = np.arange(number, number + batch.num_rows)
            number += batch.num_rows
            track(WorkProgress("rows read", number, rows))
            block, sound = to_vectors(
                batch[vector],
                columns.number,
                partial(_place, path, numbers),
                refusals,
                None if collector is None else collector.dimension,
            )
            if not len(sound):
                continue
            if len(sound) < batch.num_rows:
                batch, numbers = batch.take(pa.array(sound)), numbers[sound]
            where = partial(_place, path, numbers)
            if collector is None:
                check_expansion(path, (rows or 0) * block.nbytes // len(block))
                collector = Collector(block.shape[1], rows or 0, name=columns.name)
            times_ms = (
                None
                if columns.time is None
                else to_times(batch[columns.time], columns.time_unit, where, assume_utc=columns.assume_utc)
            )
            collector.add(
                block,
                times_ms,
                _segments(path, batch, columns.segments),
                None
                if columns.name is None
                else _to_labels(path, batch, columns.name.column, columns.name.option),
                None
                if columns.event_id is None
                else _to_labels(path, batch, columns.event_id, "--id-column"),
                {name: _to_number(path, batch, name) for name in columns.numbers},
            )
    if collector is None:
        message = f"{path}: no rows; give a file that has some"
        raise InputError(message)
    return collector.finish(model_version)


def _place(path: Path, numbers: NDArray[np.intp], row: int) -> str:
    """Return the place of a batch's row, given the rows' numbers in the file."""
    return f"{path}, row {numbers[row]} (counted from 0)"


def _vector_column(path: Path, schema: Any, chosen: str | None) -> str:
    """Return the chosen column, or the only one, that can hold vectors."""
    candidates: list[str] = [entry.name for entry in schema if holds_vectors(entry.type)]
    found = [name for name in candidates if chosen in {None, name}]
    if len(found) == 1:
        return found[0]
    message = (
        f"{path}: choose one column of vectors, lists of floats or bytes, with --vector-column; the columns "
        f"are {_list(schema)}"
    )
    raise InputError(message)


def _list(schema: Any) -> str:
    return ", ".join(f"{entry.name} ({entry.type})" for entry in schema)


def _segments(path: Path, batch: Any, keys: Sequence[str]) -> list[Mapping[str, str]] | None:
    """Return the segments of each row; a null is a row without a value of the key."""
    if not keys:
        return None
    columns = [_to_labels(path, batch, key, "--segment") for key in keys]
    return [
        {key: value for key, value in zip(keys, values, strict=True) if value is not None}
        for values in zip(*columns, strict=True)
    ]


def holds_vectors(kind: Any) -> bool:
    """Return whether a column of this type can hold vectors: lists of floats, or bytes."""
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(is_list and pa.types.is_floating(kind.value_type)) or _is_bytes(kind)


def to_vectors(
    column: Any,
    number: VectorFormat,
    where: Callable[[int], str],
    refusals: Refusals,
    dimension: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return the sound vectors of a column as (m, d) float32, all finite, and their rows, (m,).

    The vectors are a view if the column holds float32 and all are sound.

    Args:
        column: n lists of floats, or n byte strings.
        number: The format of numbers in bytes.
        where: Returns the position of a row, for messages.
        refusals: Counts the rows whose vector is null, is not finite or has another dimension.
        dimension: d; None takes the most frequent one.

    Raises:
        InputError: Most vectors are empty, or hold a part of a number.
    """
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    is_bytes = _is_bytes(column.type)
    size, measure = (number.size, pc.binary_length) if is_bytes else (1, pc.list_value_length)
    # A vector that is null is shorter than any other.
    lengths = np.where(np.asarray(pc.is_null(column)), -1, np.asarray(pc.fill_null(measure(column), -1)))
    distinct, counts = np.unique(lengths[lengths >= 0], return_counts=True)
    length = (
        int(distinct[counts.argmax()]) if dimension is None and len(distinct) else (dimension or 1) * size
    )
    if length == 0 or length % size:
        row = int((lengths == length).argmax())
        message = f"{where(row)}: {length} bytes or numbers are no vector of {number.dtype}"
        raise InputError(message)
    for row in np.flatnonzero(lengths != length).tolist():
        if lengths[row] < 0:
            refusals.add(where(row), Reason.INVALID, "the vector is null")
        else:
            detail = f"the vector has {lengths[row]} {'bytes' if is_bytes else 'numbers'}, most have {length}"
            refusals.add(where(row), Reason.WRONG_DIMENSION, detail)
    kept = np.flatnonzero(lengths == length)
    if len(kept) < len(column):
        column = column.take(pa.array(kept))
    if is_bytes:
        vectors = number.to_float32(b"".join(column.to_pylist()))
    else:
        # Nulls become NaN, and values beyond float32 infinite.
        with np.errstate(over="ignore"):
            vectors = np.asarray(column.flatten()).astype(np.float32, copy=False)
    vectors = vectors.reshape(len(kept), length // size)
    sound = np.isfinite(vectors).all(axis=1)
    if sound.all():
        return vectors, kept
    for row in kept[~sound].tolist():
        detail = "the vector holds null, NaN, infinity or a value beyond float32"
        refusals.add(where(row), Reason.NON_FINITE, detail)
    return vectors[sound], kept[sound]


def to_times(column: Any, unit: str, where: Callable[[int], str], *, assume_utc: bool) -> NDArray[np.int64]:
    """Return the event times of a column, (n,) int64, milliseconds since the epoch.

    Args:
        column: n timestamps, whole numbers, or RFC 3339 date-times.
        unit: The unit of whole numbers: s, ms, us or ns.
        where: Returns the position of a row, for messages.
        assume_utc: Timestamps and date-times without an offset are in UTC; else they are refused.

    Raises:
        InputError: A time is missing, has no offset, or is none of these.
    """
    if (is_null := np.asarray(pc.is_null(column))).any():
        message = f"{where(int(is_null.argmax()))}: the time is null; remove the rows without a time"
        raise InputError(message)
    kind = column.type
    try:
        if pa.types.is_integer(kind):
            column = column.cast(pa.int64()).cast(pa.timestamp(unit, "UTC"))
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            is_local = pc.match_substring_regex(column, _WITHOUT_OFFSET)
            if not assume_utc and pc.any(is_local).as_py():
                raise InputError(_no_offset(where(int(np.asarray(is_local).argmax()))))
            column = pc.if_else(is_local, pc.binary_join_element_wise(column, "Z", ""), column)
            column = column.cast(pa.timestamp("us", "UTC"))
        zone = getattr(column.type, "tz", None)
        if (pa.types.is_timestamp(kind) or pa.types.is_date(kind)) and zone is None and not assume_utc:
            raise InputError(_no_offset(where(0)))
        times_ms = np.asarray(column.cast(pa.timestamp("ms", zone), safe=False).cast(pa.int64()))
    except pa.ArrowException as error:
        message = (
            f"{where(0)}: times of type {kind} ({error}); give timestamps, whole numbers or RFC 3339 text"
        )
        raise InputError(message) from error
    first_ms = SYSTEM_CLOCK.wall_ms() - OLDEST_MS
    valid = (times_ms >= first_ms) & (times_ms <= LAST_MS)
    if not valid.all():
        message = (
            f"{where(int(valid.argmin()))}: the time is before {format_timestamp(first_ms)}, or after "
            "the year 9999; check --time-unit"
        )
        raise InputError(message)
    return times_ms


def _no_offset(place: str) -> str:
    return (
        f"{place}: the time has no offset from UTC; write times with one, or, if they are in UTC, give "
        "--assume-utc"
    )


def _to_labels(path: Path, batch: Any, name: str, option: str) -> list[str | None]:
    """Return the column of a batch that an option names as text, None if it is null.

    Raises:
        InputError: The column's values have no text, or are floats, among which missing values are hidden.
    """
    column = batch[name]
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        if pa.types.is_floating(column.type):
            raise pa.ArrowInvalid
        labels: list[str | None] = column.cast(pa.string()).to_pylist()
    except pa.ArrowException as error:
        message = (
            f"{path}: column {name!r} of {option} holds {column.type}; give text or whole numbers, null "
            "if one is missing"
        )
        raise InputError(message) from error
    return labels


def _to_number(path: Path, batch: Any, name: str) -> NDArray[np.float64]:
    """Return the column of a batch that --number names, (n,) float64; NaN if it is null.

    Raises:
        InputError: The column holds no numbers.
    """
    column = batch[name]
    try:
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        message = f"{path}: column {name!r} of --number holds {column.type}; give numbers, null without one"
        raise InputError(message) from error
    return values


def _is_bytes(kind: Any) -> bool:
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    )
