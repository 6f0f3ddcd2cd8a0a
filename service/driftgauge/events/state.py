"""The records of the state topic: a key that can be read, a value in fixed binary form.

`schemas/state.v1.md` says it byte by byte, for other readers. The same key, and the same value, is
always the same bytes; and whoever meets what a later version wrote says so, and guesses nothing.

Why not JSON: 20 counts of up to 10,000 are 102 bytes instead of 46, and 1,000 take 34 us to read
instead of 1. Why not integers of variable length: 1,000 counts would take 190 us; a progress of 50
streams would be 1.9 kB instead of 3.0 (compressed, 1.0 instead of 1.3), and take no less to read.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.state import (
    BaselineKey,
    Counting,
    FinalKey,
    Gap,
    Key,
    PaneKey,
    Progress,
    ProgressKey,
    Published,
    PublishedKey,
    StreamProgress,
    Value,
)
from driftgauge.core.window import Window
from driftgauge.errors import StateError
from driftgauge.events.contract import STREAM_NAME

__all__ = ["decode", "encode_key", "encode_value"]

_VERSION = 1

_BYTE = struct.Struct("<B")
_TIME = struct.Struct("<q")
_COUNTS = struct.Struct("<BI")  # bytes per count, k
_PUBLISHED = struct.Struct("<IqBI")  # revision, published_ms, flags, number of missing partitions
_INDEX = struct.Struct("<I")
_PROGRESS = struct.Struct("<qI")  # position, number of streams
_STREAM = struct.Struct("<qqqBB")  # newest_ms, idle_to_ms, horizon_ms, gaps (0 or 1), number of baselines
_GAP = struct.Struct("<qq")  # from_ms, to_ms

_NULL = -(2**63)
_SCORED, _EVENTS_LOST = 1, 2
_COUNT_TYPES = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<i8"}
_COUNT_LIMITS = {size: int(np.iinfo(count_type).max) for size, count_type in _COUNT_TYPES.items()}


def encode_key(key: Key) -> bytes:
    """Return a record's key, such as `pane/resnet18-fc1/0123456789abcdef/3600000/1762128000000`."""
    match key:
        case PaneKey():
            text = f"pane/{key.stream}/{key.baseline}/{key.pane.size_ms}/{key.pane.start_ms}"
        case PublishedKey():
            text = f"published/{key.stream}/{key.window.size_ms}/{key.window.start_ms}"
        case FinalKey():
            text = f"final/{key.stream}"
        case BaselineKey():
            text = f"baseline/{key.baseline}/{key.part}/{key.parts}"
        case ProgressKey():
            text = "progress"
    return text.encode("ascii")


def encode_value(value: Value) -> bytes:
    """Return a record's value; its kind is in the key. A negative count is a ValueError."""
    parts = [_BYTE.pack(_VERSION)]
    match value:
        case bytes():
            parts.append(value)
        case int():
            parts.append(_TIME.pack(value))
        case Published():
            parts += _published(value)
        case Progress():
            parts += _progress(value)
        case _:
            parts += _counts(value)
    return b"".join(parts)


def decode(key: bytes, value: bytes | None) -> tuple[Key, Value | None]:
    """Return what a record says; a tombstone's value is None.

    Raises:
        StateError: It is of an unknown kind or version, or is none of driftgauge's.
    """
    text = key.decode("ascii", errors="replace")
    name = text.partition("/")[0]
    kind = _KINDS.get(name)
    if kind is None:
        what = "a record of a kind that this version of driftgauge does not know"
        raise _later(what)
    fields = kind.key.fullmatch(text)
    if fields is None:
        raise _damaged(name, "key")
    parsed = kind.parse(*fields.groups())
    if value is None:
        return parsed, None
    if not value:
        raise _damaged(name, "value")
    if value[0] != _VERSION:
        what = f"a {name} record of version {value[0]}, of which this version of driftgauge reads {_VERSION}"
        raise _later(what)
    reader = _Reader(value)
    try:
        content = kind.read(reader)
        reader.finish()
    except (ValueError, IndexError, struct.error) as error:
        raise _damaged(name, "value") from error
    return parsed, content


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of record.

    Attributes:
        key: The form of its key.
        parse: Makes the key of the form's fields.
        read: Reads the value.
    """

    key: re.Pattern[str]
    parse: Callable[..., Key]
    read: Callable[["_Reader"], Value]


class _Reader:
    """Reads a value on from behind its version; what it cannot read, `decode` answers."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = _BYTE.size

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        fields = form.unpack_from(self._content, self._at)
        self._at += form.size
        return fields

    def take(self, size: int) -> bytes:
        """Return so many bytes; that there are fewer is found out by `finish` at the latest."""
        start, self._at = self._at, self._at + size
        return self._content[start : self._at]

    def rest(self) -> bytes:
        return self.take(len(self._content) - self._at)

    def string(self) -> bytes:
        length = self._content[self._at]
        self._at += _BYTE.size
        return self.take(length)

    def finish(self) -> None:
        _demand(self._at == len(self._content), "it is longer or shorter than it says")


def _published(value: Published) -> list[bytes]:
    flags = _SCORED * value.scored | _EVENTS_LOST * value.events_lost
    parts = [
        _PUBLISHED.pack(value.revision, value.published_ms, flags, len(value.missing)),
        _string(value.baseline_id.encode("ascii")),
        *_counts(value.counts),
        *_counts(value.baseline_counts),
    ]
    for topic, index in value.missing:
        parts += [_string(topic.encode("ascii")), _INDEX.pack(index)]
    return parts


def _read_published(reader: _Reader) -> Published:
    revision, published_ms, flags, missing = reader.unpack(_PUBLISHED)
    _demand(flags <= _SCORED | _EVENTS_LOST, "a flag is unknown")
    baseline_id = reader.string().decode("ascii")
    counts = _read_counts(reader)
    baseline_counts = _read_counts(reader)
    partitions = [(reader.string().decode("ascii"), *reader.unpack(_INDEX)) for _ in range(missing)]
    return Published(
        revision=revision,
        counts=counts,
        baseline_counts=baseline_counts,
        baseline_id=baseline_id,
        scored=bool(flags & _SCORED),
        missing=tuple(partitions),
        events_lost=bool(flags & _EVENTS_LOST),
        published_ms=published_ms,
    )


def _progress(value: Progress) -> list[bytes]:
    parts = [_PROGRESS.pack(value.position, len(value.streams))]
    for name, stream in sorted(value.streams.items()):
        parts += [
            _string(name.encode("ascii")),
            _STREAM.pack(
                _number(stream.newest_ms),
                _number(stream.idle_to_ms),
                _number(stream.horizon_ms),
                stream.gap is not None,
                len(stream.counting),
            ),
        ]
        if stream.gap is not None:
            parts.append(_GAP.pack(_number(stream.gap.from_ms), _number(stream.gap.to_ms)))
        for entry in stream.counting:
            parts += [_string(bytes.fromhex(entry.baseline)), _TIME.pack(_number(entry.from_ms))]
    return parts


def _read_progress(reader: _Reader) -> Progress:
    position, number = reader.unpack(_PROGRESS)
    streams = {reader.string().decode("ascii"): _read_stream(reader) for _ in range(number)}
    _demand(len(streams) == number, "a stream is there twice")
    return Progress(position, streams)


def _read_stream(reader: _Reader) -> StreamProgress:
    newest_ms, idle_to_ms, horizon_ms, gaps, baselines = reader.unpack(_STREAM)
    _demand(gaps <= 1, "there is more than one gap")
    gap = Gap(*map(_time, reader.unpack(_GAP))) if gaps else None
    counting = [Counting(reader.string().hex(), *map(_time, reader.unpack(_TIME))) for _ in range(baselines)]
    return StreamProgress(_time(newest_ms), _time(idle_to_ms), _time(horizon_ms), tuple(counting), gap)


def _counts(counts: NDArray[np.int64]) -> list[bytes]:
    # A negative count, seen as unsigned, is beyond every limit.
    highest = int(counts.view(np.uint64).max(initial=0))
    _demand(highest <= max(_COUNT_LIMITS.values()), "a count is negative")
    size = next(size for size, limit in _COUNT_LIMITS.items() if highest <= limit)
    return [_COUNTS.pack(size, len(counts)), counts.astype(_COUNT_TYPES[size]).tobytes()]


def _read_counts(reader: _Reader) -> NDArray[np.int64]:
    size, clusters = reader.unpack(_COUNTS)
    _demand(size in _COUNT_TYPES, "counts have no such size")
    counts = np.frombuffer(reader.take(size * clusters), _COUNT_TYPES[size]).astype(np.int64)
    # Only the largest type has a sign.
    _demand(size < max(_COUNT_TYPES) or counts.min(initial=0) >= 0, "a count is negative")
    return counts


def _string(content: bytes) -> bytes:
    return _BYTE.pack(len(content)) + content


def _number(time_ms: int | None) -> int:
    return _NULL if time_ms is None else time_ms


def _time(number: int) -> int | None:
    return None if number == _NULL else number


def _demand(fulfilled: object, otherwise: str) -> None:
    if not fulfilled:
        raise ValueError(otherwise)


def _later(what: str) -> StateError:
    remedy = "written by a later version of driftgauge; update this one, or use another group.id"
    return StateError(f"the state topic holds {what}: {remedy}")


def _damaged(kind: str, part: str) -> StateError:
    remedy = "damaged, or not written by driftgauge; use another group.id"
    return StateError(f"the state topic holds a {kind} record with a malformed {part}: {remedy}")


_BASELINE = "[0-9a-f]+"
_INTEGER = "0|[1-9][0-9]{0,17}"

_KINDS = {
    "pane": _Kind(
        re.compile(f"pane/({STREAM_NAME})/({_BASELINE})/({_INTEGER})/({_INTEGER})"),
        lambda stream, baseline, size, start: PaneKey(stream, baseline, Window(int(size), int(start))),
        _read_counts,
    ),
    "published": _Kind(
        re.compile(f"published/({STREAM_NAME})/({_INTEGER})/({_INTEGER})"),
        lambda stream, size, start: PublishedKey(stream, Window(int(size), int(start))),
        _read_published,
    ),
    "final": _Kind(re.compile(f"final/({STREAM_NAME})"), FinalKey, lambda reader: int(*reader.unpack(_TIME))),
    "baseline": _Kind(
        re.compile(f"baseline/({_BASELINE})/({_INTEGER})/({_INTEGER})"),
        lambda baseline, part, parts: BaselineKey(baseline, int(part), int(parts)),
        _Reader.rest,
    ),
    "progress": _Kind(re.compile("progress"), ProgressKey, _read_progress),
}
