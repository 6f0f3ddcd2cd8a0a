"""The codec of changelog keys: readable ASCII text, the kind first.

Equal keys have equal bytes, as compaction requires.
"""

import re
from collections.abc import Callable
from urllib.parse import quote, unquote

from driftgauge.core.windows.changelog import (
    BLOCK,
    EventTimeKey,
    ExamplesKey,
    HistoryKey,
    Key,
    PaneKey,
    PositionKey,
    PublishedKey,
    SourcesKey,
    StreamKey,
)
from driftgauge.core.windows.window import Window
from driftgauge.events.contract import STREAM_NAME
from driftgauge.records.messagepack import MAX_PARTITIONS, require

__all__ = ["decode_key", "encode_key"]

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
_STREAM_NAME = re.compile(STREAM_NAME)


def encode_key(key: Key) -> bytes:
    """Return a key's bytes, such as `pane/resnet18-fc1/0123456789abcdef-89abcdef/60000/1762128000000`."""
    match key:
        case PositionKey():
            text = "position"
        case SourcesKey():
            text = f"sources/{key.topic}/{key.block}"
        case StreamKey():
            text = f"stream/{_quote(key.stream)}"
        case EventTimeKey():
            text = f"time/{_quote(key.stream)}/{key.topic}/{key.block}"
        case PaneKey(segment=None):
            text = f"pane/{_quote(key.stream)}/{key.scheme}/{key.pane.size_ms}/{key.pane.start_ms}"
        case PaneKey(segment=(name, value)):
            pane = f"{key.scheme}/{key.pane.size_ms}/{key.pane.start_ms}"
            text = f"pane/{_quote(key.stream)}/{pane}/{_quote(name)}/{_quote(value)}"
        case ExamplesKey():
            text = f"examples/{_quote(key.stream)}/{key.scheme}/{key.pane.size_ms}/{key.pane.start_ms}"
        case PublishedKey():
            text = f"published/{_quote(key.stream)}/{key.window.size_ms}/{key.window.start_ms}"
        case HistoryKey():
            text = f"history/{_quote(key.stream)}/{key.size_ms}"
    return text.encode("ascii")


def decode_key(key: bytes) -> Key:
    """Return the key of a record.

    Raises:
        ValueError: The key is malformed.
    """
    kind, *fields = key.decode("ascii").split("/")
    require(kind in _PARSERS, "the key is of no known kind")
    try:
        parsed = _PARSERS[kind](*fields)
    except TypeError as error:
        message = "the key has too few or too many fields"
        raise ValueError(message) from error
    # One key with two spellings would keep both through compaction.
    require(encode_key(parsed) == key, "the key is not in its canonical form")
    return parsed


def _quote(text: str) -> str:
    return quote(text, safe="")


def _stream(text: str) -> str:
    name = unquote(text, errors="strict")
    require(_STREAM_NAME.fullmatch(name), "the key has no valid stream")
    return name


def _name(text: str) -> str:
    require(_NAME.fullmatch(text), "the key has no valid topic or scheme")
    return text


def _number(text: str) -> int:
    require(text.isdigit(), "the key has no valid number")
    return int(text)


def _block(text: str) -> int:
    require(_number(text) * BLOCK < MAX_PARTITIONS, "the key's block is too high")
    return int(text)


def _window(size: str, start: str) -> Window:
    return Window(_number(size), _number(start))


def _pane(stream: str, scheme: str, size: str, start: str, *segment: str) -> PaneKey:
    pair = None
    if segment:
        key, value = segment
        pair = unquote(key, errors="strict"), unquote(value, errors="strict")
    return PaneKey(_stream(stream), _name(scheme), _window(size, start), pair)


_PARSERS: dict[str, Callable[..., Key]] = {
    "position": PositionKey,
    "sources": lambda topic, block: SourcesKey(_name(topic), _block(block)),
    "stream": lambda stream: StreamKey(_stream(stream)),
    "time": lambda stream, topic, block: EventTimeKey(_stream(stream), _name(topic), _block(block)),
    "pane": _pane,
    "examples": lambda stream, scheme, *window: ExamplesKey(_stream(stream), _name(scheme), _window(*window)),
    "published": lambda stream, *window: PublishedKey(_stream(stream), _window(*window)),
    "history": lambda stream, size: HistoryKey(_stream(stream), _number(size)),
}
