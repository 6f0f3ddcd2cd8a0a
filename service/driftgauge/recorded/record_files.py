"""Records in files instead of a topic: samples, and recorded topics; and the decoding of a batch."""

import gzip
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Protocol

import msgspec
import numpy as np

from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.errors import ConfigError, InputError
from driftgauge.events.decoder import Decoded
from driftgauge.events.records import (
    FIRST_ORIGIN,
    RawRecord,
    Records,
    StoredRecord,
    credible_ms,
    read_headers,
)
from driftgauge.events.refusals import Refusals
from driftgauge.events.rejection import Reason
from driftgauge.files import open_regular
from driftgauge.nearest import suggest
from driftgauge.progress import Track, WorkProgress

__all__ = [
    "LONGEST_LINE",
    "EventFiles",
    "RecordFiles",
    "RecordSource",
    "choose_topic",
    "decode_batch",
    "read_lines",
    "read_sample",
]

LONGEST_LINE = 64 * 1024 * 1024
"""The most bytes of a line that are kept."""

_LARGEST_SAMPLE = 256 * 1024 * 1024
# The lines between two reports of the progress.
_REPORT_LINES = 1_000
_BATCH = 1_000
_RECORDS = (".records.jsonl", ".records.jsonl.gz")
_VALUES = (".jsonl", ".jsonl.gz")


def read_lines(
    path: Path, report: Callable[[int, int], None] = lambda _lines, _position: None
) -> Iterator[tuple[int, bytes]]:
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
        with open_regular(path) as file, gzip.open(file) if path.suffix == ".gz" else file as lines:
            for number, line in enumerate(iter(partial(_read_line, lines.readline), b""), start=1):
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


def _read_line(readline: Callable[[int], bytes]) -> bytes:
    line = rest = readline(LONGEST_LINE)
    while len(rest) == LONGEST_LINE and not rest.endswith(b"\n"):
        rest = readline(LONGEST_LINE)
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


def choose_topic(settings: Settings, topic: str | None) -> str:
    """Return the events topic whose records a file holds: the named one, or any if all are read alike.

    Args:
        settings: The configuration.
        topic: The topic, if one is named.

    Raises:
        ConfigError: The topic is none of the events topics, or none is named and they are read differently.
    """
    topics = settings.topics.events
    listed = ", ".join(topics)
    if topic is None and len(topics) > 1 and settings.inputs:
        message = (
            f"the configuration reads several topics, and none is named; choose the topic (--topic): {listed}"
        )
        raise ConfigError(message)
    topic = topic or topics[0]
    if topic not in topics:
        remedy = f"add it to topics.events, or choose another topic (--topic): {listed}"
        message = f"{topic} is not read; {suggest(topic, topics, remedy)}"
        raise ConfigError(message)
    return topic


class RecordSource(Protocol):
    """Recorded partitions of a topic.

    Attributes:
        partitions: A number that is above the index of each partition.
    """

    partitions: int

    def batches(self) -> Iterator[Sequence[RawRecord]]:
        """Yield the records, partition by partition, in the order of their offsets; none is empty."""

    def place(self, record: RawRecord) -> str:
        """Return where a record stands, in words."""


class RecordFiles:
    """Files of a topic's records, each as one partition; the name says what a line is, see `read_sample`.

    Attributes:
        partitions: The number of files.
    """

    def __init__(self, paths: Sequence[Path], topic: str, track: Track, refusals: Refusals) -> None:
        """Check the names of files; `refusals` counts the lines that are no records, such as a cut one.

        Raises:
            InputError: A file is missing, or is not .jsonl or .jsonl.gz.
        """
        missing = [str(path) for path in paths if not path.exists()]
        if missing:
            message = f"no such file: {', '.join(missing)}; check the paths"
            raise InputError(message)
        unsupported = [str(path) for path in paths if not path.name.endswith(_VALUES)]
        if unsupported:
            message = f"not a file of events: {', '.join(unsupported)}; name .jsonl or .jsonl.gz files"
            raise InputError(message)
        self._paths, self._topic, self._track, self._refusals = paths, topic, track, refusals
        self.partitions = len(paths)

    def batches(self) -> Iterator[list[RawRecord]]:
        """Yield the records, file by file; a record's offset is the number of its line.

        A batch has at most 1,000 records, and 128 MiB.

        Raises:
            InputError: A file cannot be read, or holds a record of another topic.
        """
        files = EventFiles(self._paths, self._track)
        for partition, path in enumerate(self._paths):
            batch: list[RawRecord] = []
            size = 0
            for number, line in files.read(path):
                batch += self._read_record(line, partition, number)
                size += len(line)
                if batch and (len(batch) == _BATCH or size >= LONGEST_LINE):
                    yield batch
                    batch, size = [], 0
            if batch:
                yield batch

    def place(self, record: RawRecord) -> str:
        """Return where a record stands, in words."""
        return f"{self._paths[record.partition() or 0]}, line {record.offset()}"

    def _read_record(self, line: bytes, partition: int, number: int) -> list[RawRecord]:
        """Return the record of a line; none if it is refused."""
        path = self._paths[partition]
        where = f"{path}, line {number}"
        try:
            record = _read_record(path, line, self._topic, None, number)
        except ValueError as error:
            self._refusals.add(where, Reason.UNDECODABLE, str(error))
            return []
        if record.stored_topic != self._topic:
            message = (
                f"{where}: a record of {record.stored_topic}, and {self._topic} is read; choose it by --topic"
            )
            raise InputError(message)
        return [replace(record, stored_partition=partition, stored_offset=number)]


def decode_batch(
    decode: Callable[[Records], Decoded], raw: Sequence[RawRecord], clock: Clock
) -> tuple[Decoded, Sequence[RawRecord]]:
    """Return what becomes of records of one partition, with these: those that were sent back are left out."""
    partition = raw[0].partition() or 0
    # What was requeued stands in the topic twice, and its first copy is read now.
    raw = [record for record in raw if FIRST_ORIGIN not in dict(read_headers(record))]
    records = Records(
        raw,
        np.full(len(raw), partition, np.int32),
        np.array([record.offset() for record in raw], np.int64),
        credible_ms(raw, clock.wall_ms()),
    )
    return decode(records), raw


def read_sample(path: Path, topic: str, now_ms: int) -> list[StoredRecord]:
    """Return the records of a sample file.

    The file's name says what it holds:

    - `*.records.jsonl`: a record a line, as `kcat -J` prints them. `payload` and `key` may also be JSON
      values other than text, or base64 in `payload_base64` and `key_base64`; `headers` may be a mapping.
    - other `*.jsonl`: a record's value a line.
    - any other name: the value of one record.

    Args:
        path: The file; with `.gz` at its end it is decompressed.
        topic: The topic of the records that name none.
        now_ms: The timestamp of records that have none, milliseconds since the epoch.

    Raises:
        InputError: The file cannot be read, or a line is no record.
    """
    if not path.name.endswith(_VALUES):
        try:
            with open_regular(path) as file, gzip.open(file) if path.suffix == ".gz" else file as content:
                return [StoredRecord(content.read(LONGEST_LINE), topic, stored_ms=now_ms)]
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or error
            message = f"{path} cannot be read ({reason}); name a file of sample records"
            raise InputError(message) from error
    lines, size = [], 0
    # The file is read to its end, and closed, before a line may be refused.
    for number, line in read_lines(path):
        lines.append((number, line))
        size += len(line)
        if size > _LARGEST_SAMPLE:
            message = f"{path} holds more than {_LARGEST_SAMPLE:,} bytes; take fewer records as a sample"
            raise InputError(message)
    records = []
    for offset, (number, line) in enumerate(lines):
        try:
            records.append(_read_record(path, line, topic, now_ms, offset))
        except ValueError as error:
            message = f"{path}, line {number}: {error}; correct the line"
            raise InputError(message) from None
    return records


_Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Line(msgspec.Struct):
    """A record as `kcat -J` prints it, or as `read_sample` takes it beside."""

    payload: msgspec.Raw = msgspec.Raw()
    payload_base64: bytes | None = None
    key: msgspec.Raw = msgspec.Raw()
    key_base64: bytes | None = None
    topic: str | None = None
    partition: _Whole = 0
    offset: _Whole | None = None
    headers: dict[str, str | None] | list[str | None] | None = None
    ts: _Whole | None = None

    def __post_init__(self) -> None:
        if not bytes(self.payload) and self.payload_base64 is None:
            message = "no payload"
            raise ValueError(message)


def _read_record(path: Path, line: bytes, topic: str, now_ms: int | None, offset: int) -> StoredRecord:
    """Return the record of a file's line; raise ValueError if it is none."""
    if not path.name.endswith(_RECORDS):
        return StoredRecord(line, topic, 0, offset, stored_ms=now_ms)
    try:
        read = msgspec.json.decode(line, type=_Line)
        return StoredRecord(
            _read_content(read.payload, read.payload_base64),
            read.topic or topic,
            read.partition,
            offset if read.offset is None else read.offset,
            _read_content(read.key, read.key_base64),
            _read_headers(read.headers or []),
            now_ms if read.ts is None else read.ts,
        )
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        message = f"no record as `kcat -J` prints it ({error})"
        raise ValueError(message) from None


def _read_content(content: msgspec.Raw, decoded: bytes | None) -> bytes | None:
    """Return the bytes of a text, or of any other JSON value as it stands."""
    raw = bytes(content)
    if decoded is not None or raw in {b"", b"null"}:
        return decoded
    return msgspec.json.decode(raw, type=str).encode() if raw.startswith(b'"') else raw


def _read_headers(headers: dict[str, str | None] | list[str | None]) -> list[tuple[str, bytes | None]]:
    flat = [*chain.from_iterable(headers.items())] if isinstance(headers, dict) else headers
    names = [name for name in flat[::2] if name is not None]
    if 2 * len(names) != len(flat):
        message = "headers are neither a mapping nor a list of names and texts in turn"
        raise ValueError(message)
    texts = [None if text is None else text.encode() for text in flat[1::2]]
    return list(zip(names, texts, strict=True))
