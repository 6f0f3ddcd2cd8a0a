"""The framing of a commit's parts: version, checksum, index of the part, JSON header, sections of numbers.

`schemas/partial.v2.md` describes it byte by byte. Later versions may add keys to the header and sections
after the known ones; a reader ignores both. Any other change raises the version.
"""

import struct
import zlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import orjson
from pydantic import Field

from driftgauge.core.counting.partial import CommitId
from driftgauge.records.model import RecordModel
from driftgauge.records.record_errors import damage_error, require, version_error

__all__ = [
    "FRAME_BYTES",
    "RECORD_NAME",
    "Frame",
    "NameTable",
    "PartHeader",
    "decode_frame",
    "encode_body",
    "encode_frame",
]

_VERSION = 2
_CHECKSUM = struct.Struct("<BI")  # version, CRC-32 of the rest
_PART = struct.Struct("<BII")  # kind, index of the part, number of parts
_LENGTH = struct.Struct("<I")  # of the header and of each section, in bytes

FRAME_BYTES = _CHECKSUM.size + _PART.size
"""The bytes that a frame adds to a body."""

RECORD_NAME = "a record of the partials"
"""The name of a part in messages."""

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Frame:
    """One part of a commit.

    Attributes:
        kind: The kind of its content: deltas or progress.
        index: The index of the part, from 0.
        parts: The number of parts that the commit has for this shard.
        header: The header, JSON.
        sections: The numbers, as bytes.
    """

    kind: int
    index: int
    parts: int
    header: bytes
    sections: tuple[memoryview, ...]


class PartHeader(RecordModel):
    """The fields in the header of every part; keys of later versions are ignored."""

    producer: str
    epoch: Annotated[int, Field(ge=0)]
    commit: Annotated[int, Field(ge=0)]
    shards: Annotated[int, Field(ge=1)]

    @property
    def commit_id(self) -> CommitId:
        """The commit that the part belongs to."""
        return CommitId(self.producer, self.epoch, self.commit)


class NameTable(Generic[Name]):
    """Distinct names in order of first use; the sections refer to a name by its index."""

    def __init__(self) -> None:
        self._indices: dict[Name, int] = {}

    def __iter__(self) -> Iterator[Name]:
        return iter(self._indices)

    def index(self, name: Name) -> int:
        """Return the index of a name, from 0; a new name is added."""
        return self._indices.setdefault(name, len(self._indices))


def encode_body(commit: CommitId, shards: int, header: Mapping[str, Any], sections: Sequence[bytes]) -> bytes:
    """Return a body: the header and the sections, each preceded by its length."""
    identity = {"producer": commit.producer, "epoch": commit.epoch, "commit": commit.number}
    pieces = [orjson.dumps({**identity, "shards": shards, **header}), *sections]
    return b"".join(chunk for piece in pieces for chunk in (_LENGTH.pack(len(piece)), piece))


def encode_frame(kind: int, index: int, parts: int, body: bytes) -> bytes:
    """Return the record that holds a body."""
    content = _PART.pack(kind, index, parts) + body
    return _CHECKSUM.pack(_VERSION, zlib.crc32(content)) + content


def decode_frame(value: bytes) -> Frame:
    """Return the frame of a record.

    Raises:
        StateError: The record is of another version, or damaged.
    """
    if value and value[0] != _VERSION:
        raise version_error(RECORD_NAME, value[0], _VERSION)
    try:
        _, checksum = _CHECKSUM.unpack_from(value)
        content = memoryview(value)[_CHECKSUM.size :]
        require(zlib.crc32(content) == checksum, "the checksum differs")
        kind, index, parts = _PART.unpack_from(content)
        require(index < parts, "the index of the part is not below the number of parts")
        header, *sections = _split(content[_PART.size :])
    except (ValueError, struct.error) as error:
        raise damage_error(RECORD_NAME, error) from error
    return Frame(kind, index, parts, bytes(header), tuple(sections))


def _split(body: memoryview) -> Iterator[memoryview]:
    at = 0
    while at < len(body):
        (length,) = _LENGTH.unpack_from(body, at)
        at += _LENGTH.size
        require(at + length <= len(body), "a section is cut short")
        yield body[at : at + length]
        at += length
