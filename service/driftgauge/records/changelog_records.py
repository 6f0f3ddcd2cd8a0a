"""The codec of a shard's changelog records; see `schemas/changelog.md`."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any

import msgspec

from driftgauge.core.counting.examples import Examples
from driftgauge.core.judging.calibration import Calibration
from driftgauge.core.judging.measuring import Measurement
from driftgauge.core.judging.verdict import VerdictHistory
from driftgauge.core.windows.changelog import (
    AcceptedLoss,
    AcceptedLossKey,
    CalibrationKey,
    EventTimeKey,
    EventTimes,
    ExamplesKey,
    HistoryKey,
    Key,
    MeasurementKey,
    PaneCounts,
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
from driftgauge.errors import StateError
from driftgauge.records.messagepack import (
    MAX_PARTITIONS,
    Format,
    names_to_understand,
    refusing_damage,
    require,
)

__all__ = ["decode", "encode_key", "encode_value"]


_FORMATS: dict[type, Format[Any]] = {
    each: Format(each)
    for each in (
        ShardPosition,
        AcceptedLoss,
        SourceBlock,
        StreamStatus,
        EventTimes,
        PaneCounts,
        Examples,
        WindowResult,
        VerdictHistory,
        Measurement,
        Calibration,
    )
}
# The kinds of records: the type of the key, and the format of the value.
_KINDS: dict[str, tuple[type[Key], Format[Any]]] = {
    "position": (PositionKey, _FORMATS[ShardPosition]),
    "accepted_loss": (AcceptedLossKey, _FORMATS[AcceptedLoss]),
    "sources": (SourcesKey, _FORMATS[SourceBlock]),
    "stream": (StreamKey, _FORMATS[StreamStatus]),
    "time": (EventTimeKey, _FORMATS[EventTimes]),
    "pane": (PaneKey, _FORMATS[PaneCounts]),
    "examples": (ExamplesKey, _FORMATS[Examples]),
    "published": (PublishedKey, _FORMATS[WindowResult]),
    "history": (HistoryKey, _FORMATS[VerdictHistory]),
    "measurement": (MeasurementKey, _FORMATS[Measurement]),
    "calibration": (CalibrationKey, _FORMATS[Calibration]),
}
_NAMES = {key: kind for kind, (key, _) in _KINDS.items()}


def encode_key(key: Key) -> bytes:
    """Return a key's bytes, such as `["time",{"stream":"resnet18-fc1","topic":"embeddings","block":1}]`.

    Equal keys have equal bytes, as compaction requires.
    """
    return msgspec.json.encode((_NAMES[type(key)], key))


def encode_value(value: Value) -> bytes:
    """Return the bytes of a record's value; the key holds its kind."""
    return _FORMATS[type(value)].encode(_in_order(value))


def decode(
    key: bytes, value: bytes, tally_lengths: Mapping[str, int] = MappingProxyType({})
) -> tuple[Key, Value] | None:
    """Return a record's key and value; None if a later version wrote it and this one need not understand it.

    Args:
        key: The key's bytes.
        value: The value's bytes.
        tally_lengths: The lengths of tallies by the keys of known schemes.

    Raises:
        StateError: As `Format.decode`, or the record is of no known kind.
    """
    name = f"the changelog record {key.decode(errors='backslashreplace')}"
    with refusing_damage(name):
        kind, content = msgspec.json.decode(key, type=tuple[str, msgspec.Raw])
    if kind not in _KINDS:
        if not names_to_understand(name, value):
            return None
        message = (
            f"{name} is of a kind that a reader must understand and this driftgauge does not know: a later "
            "driftgauge wrote it; update this replica"
        )
        raise StateError(message)
    key_type, form = _KINDS[kind]
    decoded = form.decode(name, value)
    with refusing_damage(name):
        parsed = msgspec.json.decode(content, type=key_type)
        # One key with two spellings would keep both through compaction.
        require(encode_key(parsed) == key, "the key is not in its canonical form")
        match decoded:
            case SourceBlock():
                require(decoded.partitions <= MAX_PARTITIONS, "the topic has too many partitions")
            case PaneCounts() if isinstance(parsed, PaneKey):
                # A shorter or longer tally might be added, or judged in part.
                length = tally_lengths.get(parsed.scheme, len(decoded.values))
                require(decoded.values.shape == (length,), "the tally has not the length of its scheme")
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
