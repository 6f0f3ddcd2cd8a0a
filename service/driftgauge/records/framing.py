"""The frame of a part of a commit: its place among the parts, a JSON header, sections of numbers.

`schemas/partial.v1.md` describes it byte by byte. Later versions may add keys to the header and
sections behind those that are known; a reader ignores both. All else that changes raises the version.
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
from driftgauge.records.refusals import damaged, demand, other_version

__all__ = ["FRAME_BYTES", "RECORD", "Frame", "Header", "Names", "assemble", "frame", "unframe"]

_VERSION = 1
_CHECKED = struct.Struct("<BI")  # version, CRC-32 of all that follows
_PLACE = struct.Struct("<BII")  # kind, the part's place, number of parts
_LENGTH = struct.Struct("<I")  # of the header and of each section, in bytes

FRAME_BYTES = _CHECKED.size + _PLACE.size
"""The bytes that a frame adds to a body."""

RECORD = "a record of the partials"
"""What messages call a part."""

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Frame:
    """A part of a commit, taken apart.

    Attributes:
        kind: What the part holds.
        index: The part's place, from 0.
        parts: How many parts the commit has for this shard.
        header: JSON.
        sections: The numbers.
    """

    kind: int
    index: int
    parts: int
    header: bytes
    sections: tuple[memoryview, ...]


class Header(RecordModel):
    """What the header of every part holds; keys of later versions are ignored."""

    producer: str
    epoch: Annotated[int, Field(ge=0)]
    commit: Annotated[int, Field(ge=0)]
    shards: Annotated[int, Field(ge=1)]

    @property
    def commit_id(self) -> CommitId:
        """The commit that the part belongs to."""
        return CommitId(self.producer, self.epoch, self.commit)


class Names(Generic[Name]):
    """Distinct names in the order in which they were met; numbers stand for them in the sections."""

    def __init__(self) -> None:
        self._places: dict[Name, int] = {}

    def __iter__(self) -> Iterator[Name]:
        return iter(self._places)

    def place(self, name: Name) -> int:
        """Return the name's number, from 0."""
        return self._places.setdefault(name, len(self._places))


def assemble(commit: CommitId, shards: int, header: Mapping[str, Any], sections: Sequence[bytes]) -> bytes:
    """Return a body: the header and the sections, each behind its length."""
    of_commit = {"producer": commit.producer, "epoch": commit.epoch, "commit": commit.number}
    pieces = [orjson.dumps({**of_commit, "shards": shards, **header}), *sections]
    return b"".join(chunk for piece in pieces for chunk in (_LENGTH.pack(len(piece)), piece))


def frame(kind: int, index: int, parts: int, body: bytes) -> bytes:
    """Return the record of a body."""
    content = _PLACE.pack(kind, index, parts) + body
    return _CHECKED.pack(_VERSION, zlib.crc32(content)) + content


def unframe(value: bytes) -> Frame:
    """Take a record apart.

    Raises:
        StateError: The record is of another version, or damaged.
    """
    if value and value[0] != _VERSION:
        raise other_version(RECORD, value[0], _VERSION)
    try:
        _, checksum = _CHECKED.unpack_from(value)
        content = memoryview(value)[_CHECKED.size :]
        demand(zlib.crc32(content) == checksum, "its checksum differs")
        kind, index, parts = _PLACE.unpack_from(content)
        demand(index < parts, "its part is none of the commit's")
        header, *sections = _cut(content[_PLACE.size :])
    except (ValueError, struct.error) as error:
        raise damaged(RECORD, error) from error
    return Frame(kind, index, parts, bytes(header), tuple(sections))


def _cut(body: memoryview) -> Iterator[memoryview]:
    at = 0
    while at < len(body):
        (length,) = _LENGTH.unpack_from(body, at)
        at += _LENGTH.size
        demand(at + length <= len(body), "a section is cut short")
        yield body[at : at + length]
        at += length
