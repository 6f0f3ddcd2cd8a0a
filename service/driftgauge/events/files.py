"""Reading of recorded events: files with one JSON event per line, optionally gzipped."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from driftgauge.errors import InputError

__all__ = ["read_lines"]


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the number, from 1, and the bytes of each line that is not blank; `.gz` is decompressed.

    Raises:
        InputError: The file cannot be read, or is truncated.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.isspace():
                    yield number, line.rstrip(b"\r\n")
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"{path} cannot be read ({reason}); name a complete .jsonl or .jsonl.gz file of events"
        raise InputError(message) from error
