"""The records of the state topic: a key that can be read, a value in fixed form.

`schemas/state.v1.md` says it byte by byte, for other readers. The same key, and the same value, is
always the same bytes; and whoever meets what another version wrote says so, and guesses nothing.

Why binary: 20 counts of up to 10,000 are 102 bytes of JSON instead of 46, and 1,000 take 34 us to read
instead of 1. Why not integers of variable length: 1,000 counts would take 190 us; a progress of 50
streams would be 1.9 kB instead of 3.0 (compressed, 1.0 instead of 1.3), and take no less to read.
Results and what else is written but once a window are JSON (see `kept`).
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.result import WindowResult
from driftgauge.core.state import (
    BaselineKey,
    Counting,
    ExamplesKey,
    FinalKey,
    Gap,
    HistoryKey,
    Key,
    PaneKey,
    Progress,
    ProgressKey,
    PublishedKey,
    StreamProgress,
    Value,
)
from driftgauge.core.verdict import History
from driftgauge.core.windows.window import Window
from driftgauge.errors import StateError
from driftgauge.events import kept
from driftgauge.events.contract import STREAM_NAME

__all__ = ["decode", "encode_key", "encode_value"]

_VERSION = 1
_HISTORY_VERSION = 2  # in 1 there was one matrix, and nothing of the segments

_BYTE = struct.Struct("<B")
_TIME = struct.Struct("<q")
_TALLY = struct.Struct("<BII")  # bytes of each narrow number, how many of them, how many wide ones
_PROGRESS = struct.Struct("<qI")  # position, number of streams
_STREAM = struct.Struct("<qqqBB")  # newest_ms, idle_to_ms, horizon_ms, gaps (0 or 1), number of baselines
_GAP = struct.Struct("<qq")  # from_ms, to_ms

_NULL = -(2**63)
_NARROW = {1: "<u1", 2: "<u2", 4: "<u4"}
_NARROW_LIMITS = {size: int(np.iinfo(narrow).max) for size, narrow in _NARROW.items()}
_WIDE = "<i8"


def encode_key(key: Key) -> bytes:
    """Return a record's key, such as `pane/resnet18-fc1/0123456789abcdef/3600000/1762128000000`."""
    match key:
        case PaneKey():
            text = f"pane/{key.stream}/{key.baseline}/{key.pane.size_ms}/{key.pane.start_ms}"
            if key.segment is not None:
                name, value = (quote(part, safe="") for part in key.segment)
                text = f"segment{text.removeprefix('pane')}/{name}/{value}"
        case ExamplesKey():
            text = f"examples/{key.stream}/{key.baseline}/{key.pane.size_ms}/{key.pane.start_ms}"
        case HistoryKey():
            text = f"history/{key.stream}/{key.size_ms}"
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
    """Return a record's value; its kind is in the key."""
    parts = [_BYTE.pack(_HISTORY_VERSION if isinstance(value, History) else _VERSION)]
    match value:
        case bytes():
            parts.append(value)
        case int():
            parts.append(_TIME.pack(value))
        case WindowResult():
            parts.append(kept.write_result(value))
        case History():
            parts.append(kept.write_history(value))
        case Progress():
            parts += _progress(value)
        case tuple():
            parts.append(kept.write_examples(value))
        case _:
            parts += _tally(value)
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
    try:
        parsed = kind.parse(*fields.groups())
    except ValueError as error:
        raise _damaged(name, "key") from error
    if value is None:
        return parsed, None
    if not value:
        raise _damaged(name, "value")
    if value[0] != kind.version:
        reads = f"of which this version of driftgauge reads {kind.version}"
        what = f"a {name} record of version {value[0]}, {reads}"
        raise _later(what) if value[0] > kind.version else _earlier(what)
    reader = _Reader(value)
    try:
        content = kind.read(reader)
        reader.finish()
    except (ValueError, IndexError, OverflowError, struct.error) as error:
        raise _damaged(name, "value") from error
    return parsed, content


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of record.

    Attributes:
        key: The form of its key.
        parse: Makes the key of the form's fields; ValueError where they are none.
        read: Reads the value.
        version: The version of the value.
    """

    key: re.Pattern[str]
    parse: Callable[..., Key]
    read: Callable[["_Reader"], Value]
    version: int = _VERSION


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


def _tally(values: NDArray[np.int64]) -> list[bytes]:
    # Counts are small and come first; sums of places are large, and signed.
    wide = np.flatnonzero((values < 0) | (values > max(_NARROW_LIMITS.values())))
    narrow = int(wide[0]) if len(wide) else len(values)
    highest = int(values[:narrow].max(initial=0))
    size = next(size for size, limit in _NARROW_LIMITS.items() if highest <= limit)
    return [
        _TALLY.pack(size, narrow, len(values) - narrow),
        values[:narrow].astype(_NARROW[size]).tobytes(),
        values[narrow:].astype(_WIDE).tobytes(),
    ]


def _read_tally(reader: _Reader) -> NDArray[np.int64]:
    size, narrow, wide = reader.unpack(_TALLY)
    _demand(size in _NARROW, "numbers have no such size")
    return np.concatenate(
        [
            np.frombuffer(reader.take(size * narrow), _NARROW[size]).astype(np.int64),
            np.frombuffer(reader.take(8 * wide), _WIDE).astype(np.int64),
        ]
    )


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


def _earlier(what: str) -> StateError:
    remedy = "written by an earlier version of driftgauge; use another group.id, or that version again"
    return StateError(f"the state topic holds {what}: {remedy}")


def _damaged(kind: str, part: str) -> StateError:
    remedy = "damaged, or not written by driftgauge; use another group.id"
    return StateError(f"the state topic holds a {kind} record with a malformed {part}: {remedy}")


_BASELINE = "[0-9a-f]+"
_INTEGER = "0|[1-9][0-9]{0,17}"

_PLACE = f"({STREAM_NAME})/({_BASELINE})/({_INTEGER})/({_INTEGER})"
_QUOTED = r"([A-Za-z0-9._~%-]*)"


def _parse_segment(stream: str, baseline: str, size: str, start: str, name: str, value: str) -> PaneKey:
    return PaneKey(stream, baseline, Window(int(size), int(start)), (_unquote(name), _unquote(value)))


def _unquote(quoted: str) -> str:
    text = unquote(quoted, errors="strict")
    # Otherwise one segment would have two keys, and compaction would keep both.
    _demand(quote(text, safe="") == quoted, "it is quoted otherwise than it would be written")
    return text


_KINDS = {
    "pane": _Kind(
        re.compile(f"pane/{_PLACE}"),
        lambda stream, baseline, size, start: PaneKey(stream, baseline, Window(int(size), int(start))),
        _read_tally,
    ),
    "segment": _Kind(re.compile(f"segment/{_PLACE}/{_QUOTED}/{_QUOTED}"), _parse_segment, _read_tally),
    "examples": _Kind(
        re.compile(f"examples/{_PLACE}"),
        lambda stream, baseline, size, start: ExamplesKey(stream, baseline, Window(int(size), int(start))),
        lambda reader: kept.read_examples(reader.rest()),
    ),
    "published": _Kind(
        re.compile(f"published/({STREAM_NAME})/({_INTEGER})/({_INTEGER})"),
        lambda stream, size, start: PublishedKey(stream, Window(int(size), int(start))),
        lambda reader: kept.read_result(reader.rest()),
    ),
    "history": _Kind(
        re.compile(f"history/({STREAM_NAME})/({_INTEGER})"),
        lambda stream, size: HistoryKey(stream, int(size)),
        lambda reader: kept.read_history(reader.rest()),
        _HISTORY_VERSION,
    ),
    "final": _Kind(re.compile(f"final/({STREAM_NAME})"), FinalKey, lambda reader: int(*reader.unpack(_TIME))),
    "baseline": _Kind(
        re.compile(f"baseline/({_BASELINE})/({_INTEGER})/({_INTEGER})"),
        lambda baseline, part, parts: BaselineKey(baseline, int(part), int(parts)),
        _Reader.rest,
    ),
    "progress": _Kind(re.compile("progress"), ProgressKey, _read_progress),
}
