"""Reading of recorded events: files with one JSON event per line, optionally gzipped."""

import gzip
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import BufferedIOBase
from pathlib import Path

from driftgauge.errors import InputError
from driftgauge.progress import Track, WorkProgress

__all__ = ["LONGEST_LINE", "EventFiles", "read_lines"]

LONGEST_LINE = 64 * 1024 * 1024
"""The most bytes of a line that are kept."""

# The lines between two reports of the progress.
_REPORT_LINES = 1_000


def _ignore(_lines: int, _position: int) -> None:
    pass


def read_lines(path: Path, report: Callable[[int, int], None] = _ignore) -> Iterator[tuple[int, bytes]]:
    """Yield the number, from 1, and the bytes of each line that is not blank; `.gz` is decompressed.

    A byte order mark at the start, which editors leave there, is skipped. Of a longer line 64 MiB are kept,
    which `largest_record` refuses.

    Args:
        path: The file.
        report: Receives the number of lines and of the file's bytes that were read, once in 1,000 lines.

    Raises:
        InputError: The file cannot be read, or is truncated.
    """
    try:
        with path.open("rb") as file, gzip.open(file) if path.suffix == ".gz" else file as lines:
            for number, line in enumerate(iter(partial(_read_line, lines), b""), start=1):
                if number % _REPORT_LINES == 0:
                    report(number, file.tell())
                if number == 1:
                    line = line.removeprefix(BOM_UTF8)  # noqa: PLW2901 - the mark belongs to no line
                if line and not line.isspace():
                    yield number, line.rstrip(b"\r\n")
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"{path} cannot be read ({reason}); name a complete .jsonl or .jsonl.gz file of events"
        raise InputError(message) from error


def _read_line(lines: BufferedIOBase) -> bytes:
    line = rest = lines.readline(LONGEST_LINE)
    while len(rest) == LONGEST_LINE and not rest.endswith(b"\n"):
        rest = lines.readline(LONGEST_LINE)
    return line


class EventFiles:
    """Files of events that are read one after the other, with the progress over all of them."""

    def __init__(self, paths: Sequence[Path], track: Track) -> None:
        """Start the reading of files that are read in any order, each once."""
        # A missing file is reported when it is read.
        self._bytes = sum(path.stat().st_size for path in paths if path.is_file())
        self._read_bytes = self._read_lines = 0
        self._track = track
        self._report(0, 0)

    def read(self, path: Path) -> Iterator[tuple[int, bytes]]:
        """Yield the lines of one file, as `read_lines` does."""
        number = 0
        for number, line in read_lines(path, self._report):
            yield number, line
        self._read_lines += number
        self._read_bytes += path.stat().st_size

    def _report(self, lines: int, position: int) -> None:
        share = (self._read_bytes + position) / self._bytes if self._bytes else None
        self._track(WorkProgress("lines read", self._read_lines + lines, share=share))
