"""Reading files of embedding vectors; the suffix of a file's name says how it is read."""

import zlib
from collections.abc import Collection, Iterable
from math import prod
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.collecting import TABLE_SUFFIXES, TableColumns, VectorSet
from driftgauge.baseline.event_range import read_events
from driftgauge.baseline.moments import blocks
from driftgauge.baseline.stream_decoder import TopicEvents
from driftgauge.errors import InputError
from driftgauge.events.own_contract import build_own_reader
from driftgauge.events.refusals import Refusals
from driftgauge.files import check_expansion, open_regular
from driftgauge.progress import Track, ignore_progress

__all__ = ["read_vectors"]

# The axes of an array of vectors.
MATRIX = 2


_NO_COLUMNS = TableColumns()


def read_vectors(
    path: Path,
    *,
    array: str | None = None,
    stream: str = "",
    model_version: str | None = None,
    refusals: Refusals,
    track: Track = ignore_progress,
    keys: Collection[str] | None = None,
    columns: TableColumns = _NO_COLUMNS,
) -> VectorSet:
    """Return the vectors of a file; the suffix of the name determines the format.

    Args:
        path: A .npy, .npz, .jsonl, .jsonl.gz, .parquet, .arrow, .feather or .ipc file.
        array: The array of a .npz file; required if several arrays are two-dimensional.
        stream: The stream to read from a .jsonl file, which needs one.
        model_version: From a .jsonl file, read only events of this version or without one; for the other
            formats, the version to record for the vectors.
        refusals: Counts the events and rows that are refused and left out; an array must be sound.
        track: Receives the progress of reading events and tables.
        keys: The segment keys of events to keep; None keeps all.
        columns: The columns of a Parquet or Arrow file to read, by default the only one with vectors; the
            arrays of a .npz file with labels, texts or event ids; the labels or texts of events.

    Raises:
        InputError: The file cannot be read or used; the message states the position and the remedy.
    """
    if array is not None and path.suffix != ".npz":
        message = f"{path}: --array chooses an array of a .npz file; leave it out"
        raise InputError(message)
    if path.suffix in {".npy", ".npz"}:
        try:
            vectors = _as_vectors(path, _read_array(path, array))
            return _with_columns(path, vectors, model_version, columns)
        # A damaged header may ask for more memory than there is.
        except (OSError, EOFError, MemoryError, ValueError, BadZipFile, zlib.error) as error:
            reason = getattr(error, "strerror", None) or error
            message = (
                f"{path}: cannot be read ({reason}); name a complete .npy or .npz file of numbers, with "
                f"labels, texts and ids saved by .astype(str)"
            )
            raise InputError(message) from error
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        if columns.event_id is not None:
            message = f"{path}: leave out --id-column; events have their event_id"
            raise InputError(message)
        wanted = TopicEvents(
            "", stream, model_version=model_version, keys=keys, name=columns.name, numbers=columns.numbers
        )
        return read_events(path, wanted, build_own_reader(), track, refusals).finish(str(path))
    if path.suffix in TABLE_SUFFIXES:
        try:
            from driftgauge.baseline.tables import read_table  # noqa: PLC0415 - pyarrow is an extra
        except ModuleNotFoundError as error:
            message = f"{path}: reading it needs pyarrow; install driftgauge[parquet]"
            raise InputError(message) from error
        return read_table(path, columns, model_version, track, refusals)
    message = (
        f"{path}: unknown file format; name a .npy, .npz, .jsonl or .jsonl.gz file, or one of "
        f"{', '.join(TABLE_SUFFIXES)}"
    )
    raise InputError(message)


def _read_array(path: Path, key: str | None, option: str = "--array") -> NDArray[Any]:
    """Return the array of a .npy file, or the one of a .npz file that an option names; none is unpickled.

    Of all others only the headers are read, because an archive may hold far more than its size. The header of
    the array says what it will take.
    """
    with open_regular(path) as file:
        if path.suffix == ".npy":
            _check_size(path, file)
            file.seek(0)
            return np.asarray(np.lib.format.read_array(file))
        with ZipFile(file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            if key is None:
                key = _choose(path, archive, names)
            elif key not in names:
                message = f"{path}: no array {key!r}; choose with {option} one of: {', '.join(names)}"
                raise InputError(message)
            with archive.open(f"{key}.npy") as member:
                _check_size(path, member)
            with archive.open(f"{key}.npy") as member:
                return np.asarray(np.lib.format.read_array(member))


def _choose(path: Path, archive: ZipFile, names: Iterable[str]) -> str:
    """Return the name of the only array of an archive that can hold vectors."""
    shapes = {}
    for name in names:
        with archive.open(f"{name}.npy") as member:
            shapes[name], _ = _read_header(member)
    matrices = [name for name, shape in shapes.items() if len(shape) == MATRIX]
    if len(matrices) == 1:
        return matrices[0]
    listed = ", ".join(f"{name} {shapes[name]}" for name in matrices or shapes)
    message = (
        f"{path}: choose one array of vectors, (n, d), with --array; the file holds {listed or 'nothing'}"
    )
    raise InputError(message)


def _check_size(path: Path, file: IO[bytes]) -> None:
    """Raise InputError if an array would take far more memory than its file."""
    shape, dtype = _read_header(file)
    check_expansion(path, prod(shape) * max(dtype.itemsize, np.dtype(np.float32).itemsize))


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and type that the header of a file of NumPy's format states."""
    is_first = np.lib.format.read_magic(file) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _with_columns(
    path: Path, vectors: NDArray[np.float32], model_version: str | None, columns: TableColumns
) -> VectorSet:
    """Return vectors with their labels or texts, and their event ids, from the archive that holds them."""
    name, count = columns.name, len(vectors)
    names = None if name is None else _read_column(path, name.column, name.option, count)
    event_ids = (
        None if columns.event_id is None else _read_column(path, columns.event_id, "--id-column", count)
    )
    labels, texts = (None, names) if name is not None and name.holds_texts else (names, None)
    numbers = {each: _read_number(path, each, count) for each in columns.numbers}
    return VectorSet(vectors, None, model_version, None, labels, texts, event_ids, numbers)


def _read_number(path: Path, key: str, count: int) -> NDArray[np.float64]:
    """Return the array of a .npz file that --number names, NaN if a value is missing."""
    array = _read_beside(path, key, "--number")
    if array.shape != (count,) or array.dtype.kind not in "fiub":
        message = (
            f"{path}: array {key!r} of --number holds {array.dtype} of shape {array.shape}; give numbers, "
            f"one for each of the {count:,} vectors"
        )
        raise InputError(message)
    return array.astype(np.float64)


def _read_beside(path: Path, key: str, option: str) -> NDArray[Any]:
    """Return the array of a .npz file that an option names."""
    if path.suffix == ".npy":
        message = (
            f"{path}: a .npy file holds vectors alone, and no {key!r}; save both arrays into a .npz "
            f"file with np.savez, and name that"
        )
        raise InputError(message)
    return _read_array(path, key, option)


def _read_column(path: Path, key: str, option: str, count: int) -> list[str]:
    """Return the array of a .npz file that an option names as text."""
    array = _read_beside(path, key, option)
    if array.shape != (count,) or array.dtype.kind not in "Uiub":
        message = (
            f"{path}: array {key!r} of {option} holds {array.dtype} of shape {array.shape}; give text or "
            f"whole numbers, one for each of the {count:,} vectors"
        )
        raise InputError(message)
    return [str(value) for value in array.tolist()]


def _as_vectors(path: Path, array: NDArray[Any]) -> NDArray[np.float32]:
    """Return an array as (n, d) float32 vectors, all finite."""
    if array.ndim != MATRIX or 0 in array.shape:
        message = f"{path}: give vectors as an array (n, d), one per row; the shape is {array.shape}"
        raise InputError(message)
    # Integers are labels, pixels or token ids far more often than embeddings.
    if array.dtype.kind != "f":
        message = f"{path}: the array holds {array.dtype}; if these are embeddings, save them as float32"
        raise InputError(message)
    with np.errstate(over="ignore"):  # values too large for float32 become infinite and are rejected below
        vectors = array.astype(np.float32, copy=False)
    # In blocks, since the flags of all numbers would take a quarter of their memory.
    finite = [np.isfinite(vectors[rows]).all(axis=1) for rows in blocks(np.arange(len(vectors)))]
    invalid_rows = np.flatnonzero(~np.concatenate(finite))
    if len(invalid_rows):
        message = (
            f"{path}: {len(invalid_rows):,} of {len(vectors):,} rows hold NaN, infinity or values too large "
            f"for float32, the first being row {invalid_rows[0]} (counted from 0); remove or repair them"
        )
        raise InputError(message)
    return vectors
