"""The codec of a shard's changelog records; see `schemas/changelog.v6.md`."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.examples import Example
from driftgauge.core.windows.changelog import (
    EventTimeKey,
    ExamplesKey,
    HistoryKey,
    Key,
    PaneKey,
    PositionKey,
    PublishedKey,
    ShardPosition,
    SourceBlock,
    SourcesKey,
    StreamKey,
    StreamStatus,
    Value,
)
from driftgauge.core.windows.result import WindowResult
from driftgauge.core.windows.verdict import VerdictHistory
from driftgauge.records.messagepack import MAX_PARTITIONS, Format, check_version, refusing_damage, require

__all__ = ["decode", "encode_key", "encode_value"]

_VERSION = 6
_ENCODER = msgspec.msgpack.Encoder(enc_hook=np.ndarray.tolist)
# The kinds of records: the type of the key, and the format of the value.
_KINDS: dict[str, tuple[type[Key], Format[Any]]] = {
    "position": (PositionKey, Format(ShardPosition)),
    "sources": (SourcesKey, Format(SourceBlock)),
    "stream": (StreamKey, Format(StreamStatus)),
    "time": (EventTimeKey, Format(NDArray[np.int64])),
    "pane": (PaneKey, Format(NDArray[np.int64])),
    "examples": (ExamplesKey, Format(tuple[Example, ...])),
    "published": (PublishedKey, Format(WindowResult)),
    "history": (HistoryKey, Format(VerdictHistory)),
}
_NAMES = {key: kind for kind, (key, _) in _KINDS.items()}


def encode_key(key: Key) -> bytes:
    """Return a key's bytes, such as `["time",{"stream":"resnet18-fc1","topic":"embeddings","block":1}]`.

    Equal keys have equal bytes, as compaction requires.
    """
    return msgspec.json.encode((_NAMES[type(key)], key))


def encode_value(value: Value) -> bytes:
    """Return the bytes of a record's value; the key holds its kind."""
    return bytes([_VERSION]) + _ENCODER.encode(_in_order(value))


def decode(
    key: bytes, value: bytes, tally_lengths: Mapping[str, int] = MappingProxyType({})
) -> tuple[Key, Value]:
    """Return a record's key and value.

    Args:
        key: The key's bytes.
        value: The value's bytes.
        tally_lengths: The lengths of tallies by the keys of known schemes.

    Raises:
        StateError: The record is damaged, or of another version.
    """
    name = f"the changelog record {key.decode(errors='backslashreplace')}"
    check_version(name, value, _VERSION)
    with refusing_damage(name):
        kind, content = msgspec.json.decode(key, type=tuple[str, msgspec.Raw])
        require(kind in _KINDS, "the key is of no known kind")
        key_type, form = _KINDS[kind]
        parsed = msgspec.json.decode(content, type=key_type)
        # One key with two spellings would keep both through compaction.
        require(encode_key(parsed) == key, "the key is not in its canonical form")
        decoded = form.decode(name, value)
        if isinstance(decoded, SourceBlock):
            require(decoded.partitions <= MAX_PARTITIONS, "the topic has too many partitions")
        if isinstance(parsed, PaneKey):
            # A shorter or longer tally might be added, or judged in part.
            require(
                decoded.shape == (tally_lengths.get(parsed.scheme, len(decoded)),),
                "the tally has not the length of its scheme",
            )
    return parsed, decoded


def _in_order(value: Any) -> Any:
    """Return a value whose sets and mappings are in order, so that equal values have equal bytes."""
    if isinstance(value, dict):
        return {key: _in_order(each) for key, each in sorted(value.items())}
    if isinstance(value, frozenset):
        return sorted(value)
    if is_dataclass(value) and not isinstance(value, type):
        before = {each.name: getattr(value, each.name) for each in fields(value)}
        after = {name: _in_order(each) for name, each in before.items()}
        changes = {name: each for name, each in after.items() if each is not before[name]}
        return replace(value, **changes) if changes else value
    return value
