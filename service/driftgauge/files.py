"""Opening of files that someone else may have made."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

__all__ = ["open_regular"]


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
