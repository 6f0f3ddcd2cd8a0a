"""The codec of changelog keys: readable ASCII text, the kind first.

Equal keys have equal bytes, as compaction requires.
"""

import re
from collections.abc import Callable
from urllib.parse import quote, unquote

from driftgauge.core.windows.changelog import (
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
from driftgauge.records.record_errors import damage_error, require

__all__ = ["decode_key", "encode_key"]


def encode_key(key: Key) -> bytes:
    """Return a key's bytes, such as `pane/resnet18-fc1/0123456789abcdef-89abcdef/60000/1762128000000`."""
    match key:
        case PositionKey():
            text = "position"
        case SourcesKey():
            text = f"sources/{key.topic}/{key.block}"
        case StreamKey():
            text = f"stream/{key.stream}"
        case EventTimeKey():
            text = f"time/{key.stream}/{key.topic}/{key.block}"
        case PaneKey(segment=None):
            text = f"pane/{key.stream}/{key.scheme}/{_window(key.pane)}"
        case PaneKey(segment=(name, value)):
            segment = f"{quote(name, safe='')}/{quote(value, safe='')}"
            text = f"segment/{key.stream}/{key.scheme}/{_window(key.pane)}/{segment}"
        case ExamplesKey():
            text = f"examples/{key.stream}/{key.scheme}/{_window(key.pane)}"
        case PublishedKey():
            text = f"published/{key.stream}/{_window(key.window)}"
        case HistoryKey():
            text = f"history/{key.stream}/{key.size_ms}"
    return text.encode("ascii")


def decode_key(key: bytes) -> Key | None:
    """Return the key of a record; None for a kind that this version does not know.

    Raises:
        StateError: The key is malformed.
    """
    text = key.decode("ascii", errors="replace")
    kind, _, _ = text.partition("/")
    if kind not in _KINDS:
        return None
    form, parse = _KINDS[kind]
    name = f"a changelog record of kind {kind}"
    fields = form.fullmatch(text)
    if fields is None:
        raise damage_error(name, ValueError("the key does not match the form of its kind"))
    try:
        return parse(*fields.groups())
    except ValueError as error:
        raise damage_error(name, error) from error


def _window(window: Window) -> str:
    return f"{window.size_ms}/{window.start_ms}"


def _parse_pane(stream: str, scheme: str, size: str, start: str) -> PaneKey:
    return PaneKey(stream, scheme, Window(int(size), int(start)))


def _parse_segment(stream: str, scheme: str, size: str, start: str, name: str, value: str) -> PaneKey:
    return PaneKey(stream, scheme, Window(int(size), int(start)), (_unquote(name), _unquote(value)))


def _parse_examples(stream: str, scheme: str, size: str, start: str) -> ExamplesKey:
    return ExamplesKey(stream, scheme, Window(int(size), int(start)))


def _unquote(quoted: str) -> str:
    text = unquote(quoted, errors="strict")
    # One segment with two keys would keep both through compaction.
    require(quote(text, safe="") == quoted, "its segment is not in canonical percent-encoding")
    return text


_TOPIC = r"[A-Za-z0-9._-]{1,249}"
_INTEGER = "0|[1-9][0-9]{0,17}"
_PANE = f"({STREAM_NAME})/([A-Za-z0-9._-]+)/({_INTEGER})/({_INTEGER})"
_QUOTED = r"([A-Za-z0-9._~%-]*)"

_KINDS: dict[str, tuple[re.Pattern[str], Callable[..., Key]]] = {
    "position": (re.compile("position"), PositionKey),
    "sources": (
        re.compile(f"sources/({_TOPIC})/({_INTEGER})"),
        lambda topic, block: SourcesKey(topic, int(block)),
    ),
    "stream": (re.compile(f"stream/({STREAM_NAME})"), StreamKey),
    "time": (
        re.compile(f"time/({STREAM_NAME})/({_TOPIC})/({_INTEGER})"),
        lambda stream, topic, block: EventTimeKey(stream, topic, int(block)),
    ),
    "pane": (re.compile(f"pane/{_PANE}"), _parse_pane),
    "segment": (re.compile(f"segment/{_PANE}/{_QUOTED}/{_QUOTED}"), _parse_segment),
    "examples": (re.compile(f"examples/{_PANE}"), _parse_examples),
    "published": (
        re.compile(f"published/({STREAM_NAME})/({_INTEGER})/({_INTEGER})"),
        lambda stream, size, start: PublishedKey(stream, Window(int(size), int(start))),
    ),
    "history": (
        re.compile(f"history/({STREAM_NAME})/({_INTEGER})"),
        lambda stream, size: HistoryKey(stream, int(size)),
    ),
}
