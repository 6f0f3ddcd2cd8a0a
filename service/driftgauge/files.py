"""Files: opening those that someone else may have made, and naming those of streams."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

__all__ = ["name_of_stream", "open_regular"]


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
