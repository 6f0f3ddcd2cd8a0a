"""Sample files: records in a file instead of a topic."""

import base64
import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from driftgauge.errors import InputError
from driftgauge.events.files import read_lines
from driftgauge.events.records import StoredRecord
from driftgauge.files import open_regular

__all__ = ["read_sample"]

_RECORDS = (".records.jsonl", ".records.jsonl.gz")
_VALUES = (".jsonl", ".jsonl.gz")


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
    if path.name.endswith(_RECORDS):
        # The file is read to its end, and closed, before a line may be refused.
        lines = list(read_lines(path))
        return [
            _parse_record(line, f"{path}, line {number}", topic, now_ms, offset)
            for offset, (number, line) in enumerate(lines)
        ]
    if path.name.endswith(_VALUES):
        values = [line for _, line in read_lines(path)]
    else:
        try:
            with open_regular(path) as file, gzip.open(file) if path.suffix == ".gz" else file as content:
                values = [content.read()]
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or error
            message = f"{path} cannot be read ({reason}); name a file of sample records"
            raise InputError(message) from error
    return [StoredRecord(value, topic, 0, offset, stored_ms=now_ms) for offset, value in enumerate(values)]


def _parse_record(line: bytes, where: str, topic: str, now_ms: int, offset: int) -> StoredRecord:
    try:
        record = _read_object(line)
        return StoredRecord(
            _read_content(record, "payload"),
            str(record.get("topic") or topic),
            _read_whole(record, "partition", 0),
            _read_whole(record, "offset", offset),
            _read_content(record, "key"),
            _read_headers(record.get("headers")),
            _read_whole(record, "ts", now_ms),
        )
    except ValueError as error:
        message = f"{where} is no record as `kcat -J` prints it ({error}); correct the line"
        raise InputError(message) from None


def _read_object(line: bytes) -> dict[str, Any]:
    record = orjson.loads(line)
    if not isinstance(record, dict) or not {"payload", "payload_base64"} & record.keys():
        message = "no object with payload"
        raise ValueError(message)
    return record


def _read_content(record: Mapping[str, Any], name: str) -> bytes | None:
    encoded = record.get(f"{name}_base64")
    if encoded is not None:
        return base64.b64decode(str(encoded), validate=True)
    content = record.get(name)
    if content is None or isinstance(content, str):
        return content if content is None else content.encode()
    return orjson.dumps(content)


def _read_whole(record: Mapping[str, Any], name: str, default: int) -> int:
    number = record.get(name, default)
    if type(number) is not int:
        message = f"{name} is no whole number"
        raise ValueError(message)
    return number


def _read_headers(headers: object) -> list[tuple[str, bytes | None]]:
    if isinstance(headers, dict):
        flat = [part for header in headers.items() for part in header]
    else:
        flat = headers if isinstance(headers, list) else [] if headers is None else [headers]
    names, texts = flat[::2], flat[1::2]
    if len(names) != len(texts) or not all(isinstance(name, str) for name in names):
        message = "headers are neither a mapping nor a list of names and texts in turn"
        raise ValueError(message)
    if not all(text is None or isinstance(text, str) for text in texts):
        message = "the value of a header is no text"
        raise ValueError(message)
    return [(name, None if text is None else text.encode()) for name, text in zip(names, texts, strict=True)]
