"""Files that someone else may have made, files that cannot be written, and the names of streams' files."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from driftgauge.errors import InputError

__all__ = ["check_expansion", "name_of_stream", "open_regular", "writing"]

# Vectors shrink by a half or so if they are compressed, and zeros by a thousand.
_MOST_EXPANSION = 100
_ALWAYS_BYTES = 256 * 1024 * 1024


def name_of_stream(stream: str) -> str:
    """Return a stream's name for use in a file's name, with `/`, `:` and `@` as %2F, %3A and %40."""
    return quote(stream, safe="")


def open_regular(path: Path) -> BinaryIO:
    """Return a regular file, open for reading; a pipe without a writer would wait forever.

    Raises:
        OSError: The file cannot be opened, or is a pipe, a device or another special file.
    """
    # With O_NONBLOCK the opening of a pipe does not wait for a writer; for regular files it changes nothing.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "a pipe, a device or another special file, and not a regular one")
    return file


def check_expansion(path: Path, read_bytes: int) -> None:
    """Raise InputError if a file would take over 256 MiB of memory, and over 100 times its size."""
    size = path.stat().st_size
    if read_bytes > max(_ALWAYS_BYTES, _MOST_EXPANSION * size):
        fault = (
            f"{path}: its {size:,} bytes would take {read_bytes:,} bytes of memory, over {_MOST_EXPANSION} "
            "times as many; name a complete file of vectors, or, if it is one, save it without compression"
        )
        raise InputError(fault)


@contextmanager
def writing(path: Path, what: str) -> Iterator[None]:
    """Raise InputError if a file, which the message calls `what`, cannot be written."""
    try:
        yield
    except OSError as error:
        fault = f"{path}: cannot write {what}: {error.strerror}; check the folder, its rights and its space"
        raise InputError(fault) from error
