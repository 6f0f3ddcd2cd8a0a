"""The codec of a shard's changelog records: a readable key, a versioned value.

`schemas/changelog.v1.md` describes both byte by byte. Equal keys and equal values have equal bytes. Values
written at every commit are binary, values that change more rarely are JSON. Later versions may add fields and
kinds of records; a reader ignores both. Any other change raises the version.
"""

import struct
from collections.abc import Callable

import numpy as np

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
from driftgauge.records.binary_values import (
    decode_event_times,
    decode_source_block,
    decode_tally,
    encode_event_times,
    encode_source_block,
    encode_tally,
)
from driftgauge.records.keys import decode_key, encode_key
from driftgauge.records.record_errors import damage_error, require, version_error
from driftgauge.records.result_values import (
    decode_examples,
    decode_history,
    decode_result,
    encode_examples,
    encode_history,
    encode_result,
)
from driftgauge.records.status_values import decode_position, decode_status, encode_position, encode_status

__all__ = ["decode", "encode_key", "encode_value"]

_VERSION = 1

_DECODERS: dict[type[Key], Callable[[bytes], Value]] = {
    PositionKey: decode_position,
    SourcesKey: decode_source_block,
    StreamKey: decode_status,
    EventTimeKey: decode_event_times,
    PaneKey: decode_tally,
    ExamplesKey: decode_examples,
    PublishedKey: decode_result,
    HistoryKey: decode_history,
}


def encode_value(value: Value) -> bytes:
    """Return the bytes of a record's value; the key holds its kind."""
    match value:
        case ShardPosition():
            content = encode_position(value)
        case SourceBlock():
            content = encode_source_block(value)
        case StreamStatus():
            content = encode_status(value)
        case WindowResult():
            content = encode_result(value)
        case VerdictHistory():
            content = encode_history(value)
        case np.ndarray():
            content = encode_tally(value) if value.ndim == 1 else encode_event_times(value)
        case _:
            content = encode_examples(value)
    return bytes([_VERSION]) + content


def decode(key: bytes, value: bytes | None) -> tuple[Key, Value | None] | None:
    """Return a record's key and value; the value of a tombstone is None.

    Return None for a kind of a later version: the caller skips such a record and leaves it in the topic.

    Raises:
        StateError: The key is malformed, or the value is damaged or of another version.
    """
    parsed = decode_key(key)
    if parsed is None:
        return None
    if value is None:
        return parsed, None
    name = f"the changelog record {key.decode('ascii')}"
    if value and value[0] != _VERSION:
        raise version_error(name, value[0], _VERSION)
    try:
        require(value, "the value is empty")
        return parsed, _DECODERS[type(parsed)](value[1:])
    except (ValueError, OverflowError, struct.error) as error:
        raise damage_error(name, error) from error
