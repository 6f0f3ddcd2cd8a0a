"""Reading vectors from Parquet and Arrow files in batches, with pyarrow of the extra `parquet`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
from numpy.typing import NDArray

from driftgauge.baseline.collecting import Collector, TableColumns, VectorSet
from driftgauge.baseline.table_columns import holds_vectors, to_labels, to_times, to_vectors
from driftgauge.errors import InputError
from driftgauge.events.refusals import Refusals
from driftgauge.files import open_regular
from driftgauge.progress import Track, WorkProgress

__all__ = ["read_table"]

# Rows that are read at once: 8,192 of 1,536 floats take 50 MB.
BATCH_ROWS = 8_192
# Bytes that are read from a column at once. Without a buffer pyarrow reads a whole row group's column, which
# is all vectors of a file of a million rows.
BUFFER_BYTES = 1 << 20


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
    """Return a file's schema, its number of rows where known, and a function to read some columns."""
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
    others = [
        name for name in (columns.time, *columns.segments, naming, columns.event_id) if name is not None
    ]
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
                collector = Collector(block.shape[1], rows or 0, name=columns.name)
            times_ms = (
                None if columns.time is None else to_times(batch[columns.time], columns.time_unit, where)
            )
            collector.add(
                block,
                times_ms,
                _segments(path, batch, columns.segments),
                None
                if columns.name is None
                else _text(path, batch, columns.name.column, columns.name.option),
                None if columns.event_id is None else _text(path, batch, columns.event_id, "--id-column"),
            )
    if collector is None:
        message = f"{path}: no rows; give a file that has some"
        raise InputError(message)
    return collector.finish(model_version)


def _place(path: Path, numbers: NDArray[np.intp], row: int) -> str:
    """Return the place of a batch's row, given the rows' numbers in the file."""
    return f"{path}, row {numbers[row]} (counted from 0)"


def _vector_column(path: Path, schema: Any, chosen: str | None) -> str:
    candidates: list[str] = [entry.name for entry in schema if holds_vectors(entry.type)]
    if chosen is None and len(candidates) == 1:
        return candidates[0]
    if chosen is not None and chosen in candidates:
        return chosen
    if chosen is None and candidates:
        listed = ", ".join(candidates)
        message = f"{path}: several columns can hold vectors; choose one with --vector-column: {listed}"
    elif chosen is not None and chosen not in schema.names:
        message = f"{path}: no column {chosen!r}; the columns are {_list(schema)}"
    else:
        message = f"{path}: vectors must be lists of floats, or bytes; the columns are {_list(schema)}"
    raise InputError(message)


def _list(schema: Any) -> str:
    return ", ".join(f"{entry.name} ({entry.type})" for entry in schema)


def _text(path: Path, batch: Any, column: str, option: str) -> list[str | None]:
    """Return the column of a batch that an option names as text."""
    return to_labels(batch[column], f"{path}: column {column!r} of {option}")


def _segments(path: Path, batch: Any, keys: Sequence[str]) -> list[Mapping[str, str]] | None:
    """Return the segments of each row; a null is a row without a value of the key."""
    if not keys:
        return None
    columns = [_text(path, batch, key, "--segment") for key in keys]
    return [
        {key: value for key, value in zip(keys, values, strict=True) if value is not None}
        for values in zip(*columns, strict=True)
    ]
