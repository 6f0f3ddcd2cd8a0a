"""A proposal of a topic's mapping from what its records hold."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import yaml

from driftgauge.config.inputs import ENCODINGS, InputSettings
from driftgauge.errors import ConfigError, InputError
from driftgauge.events.columns import Columns
from driftgauge.events.conditions import Unmet
from driftgauge.events.mapped_readers import build_readers
from driftgauge.events.own_contract import build_own_reader
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError
from driftgauge.events.schemas import SchemaSource
from driftgauge.events.sources import compile_path
from driftgauge.inspection.proposed_names import FEW, find_named, is_segment, stream_names
from driftgauge.inspection.proposed_time import find_time
from driftgauge.inspection.proposed_vector import ProposedVector, describe_vector, find_vectors
from driftgauge.inspection.topic_fields import TopicField, find_topic_fields

__all__ = ["Proposal", "flow", "propose"]

# The likeliest encoding first, each with conditions on its records. All but the last refuse what is none of
# theirs, but bytes of any kind may be a message without outputs.
_CANDIDATES: Mapping[str, Sequence[Mapping[str, object]]] = {
    **dict.fromkeys(("cloudevents", "json", "avro", "protobuf"), ()),
    "inference": [{"path": "outputs[0]", "exists": True}],
    "bytes": (),
}
_UNAVAILABLE = "__debezium_unavailable_value"
_NO_BREAK = 1_000_000
_MOST_SEGMENTS = 5


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed mapping.

    Attributes:
        streams: The streams.
        mapping: The topic's input; None if its records are events of the service's own contract.
        notes: What was found, and what the proposal is not sure of.
    """

    streams: Sequence[str]
    mapping: Mapping[str, object] | None = None
    notes: Sequence[str] = ()


def propose(topic: str, records: Sequence[RawRecord], schemas: SchemaSource | None) -> Proposal:
    """Return a proposal for a topic's records.

    Raises:
        BrokerError: The schema registry does not answer.
        InputError: No vector was found in them.
    """
    encoding, decoded = max(
        ((encoding, _decode(encoding, records, schemas)) for encoding in _CANDIDATES),
        # Of as many records the first encoding's. If there are no paths, anything can be read.
        key=lambda each: len(each[1]) if ENCODINGS[each[0]].has_paths else 0.5,
    )
    own = Columns()
    build_own_reader().read(records, 0, own)
    if len(own) > len(decoded) // 2:
        return Proposal(sorted(set(own.stream)))
    fields = find_topic_fields(decoded)
    vectors = find_vectors(fields)
    if not vectors:
        listed = ", ".join(map(str, fields)) or "none"
        message = (
            f"{topic}: no vector was found in {_count(len(records))}, read as {encoding} (fields: {listed}); "
            "name a --registry that answers if they are in Avro or Protobuf, or write the mapping "
            "(schemas/README.md)"
        )
        raise InputError(message)
    return _describe(topic, encoding, [value for _, value in decoded], fields, vectors)


def _decode(
    encoding: str, records: Sequence[RawRecord], schemas: SchemaSource | None
) -> list[tuple[RawRecord, object]]:
    """Return the records that an encoding reads, with their values."""
    vector = {"stream": {"constant": "any"}, "embedding": {"record": "value"}}
    settings = InputSettings.model_validate(
        {
            "encoding": encoding,
            "where": _CANDIDATES[encoding],
            "vectors": [vector],
            "timestamp": {"record": "timestamp"},
        }
    )
    try:
        reader = build_readers({"": settings}, schemas)[""]
    except ConfigError:
        # Without the extra, or a registry, nothing can be read in it.
        return []
    decoded: list[tuple[RawRecord, object]] = []
    for record in records:
        with suppress(EventError):
            value = reader.decode(record)
            if not isinstance(value, Unmet):
                decoded.append((record, value))
    return decoded


def _describe(
    topic: str,
    encoding: str,
    values: Sequence[object],
    fields: Sequence[TopicField],
    vectors: Sequence[ProposedVector],
) -> Proposal:
    """Return the proposal for a topic's decoded values and their fields; the first vector is taken."""
    vector, *others = vectors
    found, list_path = vector.field, vector.field.list_path
    mapping: dict[str, object] = {"encoding": encoding}
    notes = describe_vector(vector, others, len(values))
    # Conditions are on records, of which the list is a field.
    source = found.source if list_path is None else {"path": list_path} if list_path else {"record": "value"}
    conditions: list[object] = []
    if list_path is None and any(value == _UNAVAILABLE for _, value in found.values):
        conditions.append({**found.source, "not_in": [_UNAVAILABLE]})
    missing, wrong = _count_missing(found, values)
    if missing:
        conditions.append({**source, "exists": True})
        name = found if list_path is None else list_path or "value"
        notes.append(
            f"where: {missing:,} of {_count(len(values))} have no {name}, and are filtered, not refused"
        )
    if wrong:
        notes.append(
            f"embedding: {wrong:,} of {_count(len(values))} have items without {found}, or no list of items, "
            "and are refused"
        )
    if conditions:
        mapping["where"] = conditions
    # The fields of other lists' items belong to no single event.
    fields = [each for each in fields if each.list_path in (None, list_path)]
    stream = find_named("stream", fields, vector)
    rest = [each for each in fields if each is not stream]
    named = {kind: find_named(kind, rest, vector) for kind in ("model_version", "event_id")}
    if stream is None:
        notes.append(
            "stream: one for the whole topic, since no field has a usual name of streams, such as model_name"
        )
        notes += [
            f"stream: the record's key has {len(set(keys))} values ({', '.join(sorted(set(keys)))}); if "
            "each is a stream of its own, write stream: {record: key}, and an entry of streams for each"
            for keys in (each.texts() for each in fields if each.source == {"record": "key"})
            if 1 < len(set(keys)) == len(stream_names(keys)) <= min(FEW, len(keys) // 2)
        ]
    mapping["stream"] = {"constant": topic} if stream is None else _shorten(stream.source)
    shape = f"{str(found).rpartition('.')[0]}.shape"
    has_shape = found.letters == "data" and any(str(each) == shape for each in fields)
    mapping["embedding"] = _shorten(
        found.source
        | ({"dtype": vector.dtype} if vector.dtype not in {None, "f32"} else {})
        | ({"shape": shape} if has_shape else {})
    )
    timestamp = _shorten(find_time(fields, vector, notes))
    preset = ENCODINGS[encoding].timestamp or {}
    if timestamp != preset.get("path"):  # the preset also reads events without a time
        mapping["timestamp"] = timestamp
    notes += [f"{key}: no field was found for it" for key, each in named.items() if each is None]
    mapping |= {key: _shorten(each.source) for key, each in named.items() if each is not None}
    segments = [each for each in fields if each not in (stream, *named.values()) and is_segment(each)]
    if segments:
        listed = ", ".join(map(str, segments[:_MOST_SEGMENTS]))
        notes.append(f"segments: of few values are {listed}; add those you want")
        names = [each for each in segments if len(set(each.texts())) == len(stream_names(each.texts()))]
        if stream is None and names:
            notes.append(
                f"segments: {', '.join(map(str, names[:_MOST_SEGMENTS]))} may name streams instead: segments "
                "share their stream's baseline; if each value needs its own, "
                f"write stream: {flow(_shorten(names[0].source))}, and an entry of streams for each"
            )
    return Proposal([topic] if stream is None else stream_names(stream.texts()), mapping, notes)


def _count_missing(found: TopicField, values: Sequence[object]) -> tuple[int, int]:
    """Return how many values lack a field, or the list of its items, and how many are refused for an item."""
    if found.list_path is None:
        return len(values) - found.records, 0
    rest = found.source["path"].partition("[*]")[2].removeprefix(".")
    lists = [_follow(found.list_path, value) for value in values]
    are_read = [isinstance(each, list) and all(_follow(rest, item) for item in each) for each in lists]
    missing = lists.count(None)
    return missing, are_read.count(False) - missing


def _follow(path: str, value: object) -> object:
    try:
        return compile_path(path)(value) if path else value
    except EventError:
        # A text that is no JSON is refused, as a value that is no list.
        return False


def _count(records: int) -> str:
    return f"{records:,} {'record' if records == 1 else 'records'}"


def _shorten(source: Mapping[str, object]) -> object:
    """Return a source in its short form, if it has one."""
    return source["path"] if source.keys() == {"path"} else dict(source)


def flow(value: object) -> str:
    """Return a value as YAML in one line."""
    # A scalar alone would end with a document's end.
    return yaml.safe_dump([value], default_flow_style=True, sort_keys=False, width=_NO_BREAK).strip()[1:-1]
