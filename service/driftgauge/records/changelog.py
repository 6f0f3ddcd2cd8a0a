"""The records of a shard's changelog: a key that can be read, a value in fixed form.

`schemas/changelog.v1.md` describes them byte by byte. The same key, and the same value, is always the
same bytes. What is written at every commit is binary, what changes more rarely is JSON. Later versions may
add fields and kinds of records; a reader ignores both. All else that changes raises the version.
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
from driftgauge.records.integers import (
    read_event_times,
    read_source_block,
    read_tally,
    write_event_times,
    write_source_block,
    write_tally,
)
from driftgauge.records.judgements import (
    read_examples,
    read_history,
    read_result,
    write_examples,
    write_history,
    write_result,
)
from driftgauge.records.keys import decode_key, encode_key
from driftgauge.records.refusals import damaged, demand, other_version
from driftgauge.records.status import read_position, read_status, write_position, write_status

__all__ = ["decode", "encode_key", "encode_value"]

_VERSION = 1

_READ: dict[type[Key], Callable[[bytes], Value]] = {
    PositionKey: read_position,
    SourcesKey: read_source_block,
    StreamKey: read_status,
    EventTimeKey: read_event_times,
    PaneKey: read_tally,
    ExamplesKey: read_examples,
    PublishedKey: read_result,
    HistoryKey: read_history,
}


def encode_value(value: Value) -> bytes:
    """Return a record's value; its kind is in the key."""
    match value:
        case ShardPosition():
            content = write_position(value)
        case SourceBlock():
            content = write_source_block(value)
        case StreamStatus():
            content = write_status(value)
        case WindowResult():
            content = write_result(value)
        case VerdictHistory():
            content = write_history(value)
        case np.ndarray():
            content = write_tally(value) if value.ndim == 1 else write_event_times(value)
        case _:
            content = write_examples(value)
    return bytes([_VERSION]) + content


def decode(key: bytes, value: bytes | None) -> tuple[Key, Value | None] | None:
    """Return what a record says: a tombstone's value is None; None for a kind of a later version.

    Such a record is to be skipped, and left as it is.

    Raises:
        StateError: The key is malformed, or the value is damaged or of another version.
    """
    parsed = decode_key(key)
    if parsed is None:
        return None
    if value is None:
        return parsed, None
    what = f"the changelog record {key.decode('ascii')}"
    if value and value[0] != _VERSION:
        raise other_version(what, value[0], _VERSION)
    try:
        demand(value, "it is empty")
        return parsed, _READ[type(parsed)](value[1:])
    except (ValueError, OverflowError, struct.error) as error:
        raise damaged(what, error) from error
