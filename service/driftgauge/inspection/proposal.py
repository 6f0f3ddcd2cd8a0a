"""A proposal of a topic's mapping from what its records hold, and the text of its configuration."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import yaml

from driftgauge.config.inputs import InputSettings, TimeSource
from driftgauge.core.durations import format_duration
from driftgauge.errors import ConfigError, InputError
from driftgauge.events.clock_gaps import is_live
from driftgauge.events.contract import MAX_TEXT, STREAM_NAME, validate_event
from driftgauge.events.inputs import build_readers
from driftgauge.events.records import RawRecord, read_headers
from driftgauge.events.rejection import EventError
from driftgauge.events.schemas import SchemaSource
from driftgauge.events.sources import read_time, to_text
from driftgauge.files import name_of_stream
from driftgauge.inspection.values import MOST_ITEMS, measure_vector, walk

__all__ = ["Proposal", "propose", "write_config"]

# Each refuses what is none of its records, but bytes can be anything.
_ENCODINGS = ("cloudevents", "json", "avro", "protobuf", "inference", "bytes")
_UNAVAILABLE = "__debezium_unavailable_value"
_DAY_MS, _MINUTE_MS = 86_400_000, 60_000
# The years 2001 to 2100: the numbers of no two units of time are both within.
_FIRST_MS, _LAST_MS = 1_000_000_000_000, 4_100_000_000_000
_NO_BREAK = 1_000_000
# How a time may be written, besides numbers of ms and RFC 3339.
_TIMES: tuple[dict[str, Any], ...] = ({}, {"unit": "s"}, {"unit": "us"}, {"unit": "ns"}, {"assume_utc": True})
_INDEX = re.compile(r"\[\d+\]")
_IS_TIME = re.compile(r".*(time|stamp|date|at|ts)(s|ms|us|ns|millis)?")
_FEW, _MOST_SEGMENTS = 20, 5
# Of the records with a vector, as many have a field that belongs to it; some records may be malformed.
_USUAL = 0.8
# The letters of names, the likeliest first, and what the values of such a field are like.
_NAMED: dict[str, tuple[Sequence[str], Callable[[Sequence[str]], bool]]] = {
    "stream": (
        ("stream", "streamname", "modelname", "encodername", "inferenceservicename", "collection"),
        lambda texts: len(set(texts)) <= _FEW and bool(_stream_names(texts)),
    ),
    "model_version": (
        (
            "modelversion",
            "modelrevision",
            "encoderversion",
            "encoderrevision",
            "xmodelversion",
            "xmodel",
            "embeddingmodel",
            "model",
        ),
        lambda texts: len(set(texts)) <= _FEW,
    ),
    # A row is changed, or a call logged, more than once.
    "event_id": (
        ("eventid", "id", "uuid", "messageid", "requestid", "key"),
        lambda texts: 2 * len(set(texts)) > len(texts),
    ),
}


def _stream_names(texts: Sequence[str]) -> list[str]:
    """Return those of texts that are names of streams."""
    return sorted({text for text in texts if re.fullmatch(STREAM_NAME, text)})


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed mapping.

    Attributes:
        streams: The streams.
        mapping: The topic's input; None where its records are events of the service's own contract.
        notes: What was found, and what the proposal is not sure of.
    """

    streams: Sequence[str]
    mapping: Mapping[str, object] | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of records.

    Attributes:
        source: Where it stands, as in a mapping.
        values: Its values other than null, each with the time of its record.
    """

    source: dict[str, str]
    values: list[tuple[int, object]] = field(default_factory=list)

    def __str__(self) -> str:
        ((kind, where),) = self.source.items()
        return where if kind == "path" else f"{kind} {where}"

    @property
    def letters(self) -> str:
        """The letters of its last name, after those of the name before where it says little."""
        *_, owner, last = [
            "",
            *(re.sub(r"[^a-z]", "", name) for name in re.split(r"[. ]", str(self).lower())),
        ]
        return owner + last if last in {"name", "version", "revision"} else last

    @property
    def is_listed(self) -> bool:
        """Whether it is of the first items of a list only, so that it leaves the others out."""
        return _INDEX.search(self.source.get("path", "")) is not None

    @property
    def is_past(self) -> bool:
        """Whether it is of a change the state before it, or of a model's call what goes in."""
        return not {"before", "inputs"}.isdisjoint(re.split(r"\W", str(self)))

    def texts(self) -> list[str]:
        """Return its values that are short texts."""
        texts = []
        for _, value in self.values:
            with suppress(ValueError):
                texts.append(to_text(value))
        return [text for text in texts if len(text) <= MAX_TEXT]


class _Vector(NamedTuple):
    """A field that holds vectors.

    Attributes:
        field: The field.
        number: How many it holds.
        numbers: Of how many numbers most of them are.
        dtype: Their type, if they are bytes.
        others: How many vectors there are of each other number of numbers.
    """

    field: _Field
    number: int
    numbers: int
    dtype: str | None
    others: Counter[int]


def propose(topic: str, records: Sequence[RawRecord], schemas: SchemaSource | None) -> Proposal:
    """Return a proposal for a topic's records.

    Raises:
        BrokerError: The schema registry does not answer.
        InputError: No vector was found in them, or a mapping would leave out those of a list.
    """
    encoding, decoded = max(
        ((encoding, _decode(encoding, records, schemas)) for encoding in _ENCODINGS),
        # Of as many records the first encoding's.
        key=lambda each: len(each[1]) if each[0] != "bytes" else 0.5,
    )
    own: list[str] = []
    for _, value in decoded if encoding == "json" else ():
        with suppress(EventError):
            own.append(validate_event(value).stream)
    if len(own) > len(decoded) // 2:
        return Proposal(sorted(set(own)))
    fields = _find_fields(decoded)
    vectors = [vector for each in fields if (vector := _find_vector(each)) is not None]
    if not vectors:
        listed = ", ".join(map(str, fields)) or "none"
        message = (
            f"{topic}: no vector was found in {_count(len(records))}, read as {encoding} (fields: {listed}); "
            "name a --registry that answers if they are in Avro or Protobuf, or write the mapping "
            "(schemas/README.md)"
        )
        raise InputError(message)
    vectors.sort(key=lambda each: (each.field.is_past, -each.number, each.field.is_listed, -each.numbers))
    if vectors[0].field.is_listed:
        _refuse_lists(topic, vectors[0], [value for _, value in decoded])
    return _describe(topic, encoding, len(decoded), fields, vectors)


def _refuse_lists(topic: str, vector: _Vector, values: Sequence[object]) -> None:
    """Raise InputError where a path to one item of a list leaves out vectors of other items."""
    path = vector.field.source["path"]
    every = _INDEX.sub("[]", path)
    numbers = [
        sum(
            _INDEX.sub("[]", at) == every and measure_vector(each) is not None
            for at, each in walk(value, most=None)
        )
        for value in values
    ]
    held, longest = sum(numbers), max(numbers)
    if held == vector.number:
        return
    by_path = (
        f"map each of the {longest} by its own path under vectors, where all records hold as many, or "
        if min(numbers) == longest <= MOST_ITEMS
        else ""
    )
    message = (
        f"{topic}: {every} holds {held:,} vectors in {len(values):,} records, and no mapping reads a list of "
        f"objects: {path} would leave out {held - vector.number:,} of them; {by_path}let the producer write "
        "a record for each vector, or the vectors of a record as one list of lists of numbers, which "
        "embedding reads (schemas/README.md)"
    )
    raise InputError(message)


def _decode(
    encoding: str, records: Sequence[RawRecord], schemas: SchemaSource | None
) -> list[tuple[RawRecord, object]]:
    """Return the records that an encoding reads, with their values."""
    vector = {"stream": {"constant": "any"}, "embedding": {"record": "value"}}
    settings = InputSettings.model_validate(
        {"encoding": encoding, "vectors": [vector], "timestamp": {"record": "timestamp"}}
    )
    try:
        reader = build_readers({"": settings}, schemas)[""]
    except ConfigError:
        # Without the extra, or a registry, nothing can be read in it.
        return []
    decoded: list[tuple[RawRecord, object]] = []
    for record in records:
        with suppress(EventError):
            value: Any = reader.decode(record)
            # Bytes of any kind may be a message without outputs.
            if encoding != "inference" or value["outputs"]:
                decoded.append((record, value))
    return decoded


def _find_fields(decoded: Sequence[tuple[RawRecord, object]]) -> list[_Field]:
    """Return the fields of records that have a value."""
    fields: dict[str, _Field] = {}
    for record, value in decoded:
        found = [({"path": path} if path else {"record": "value"}, each) for path, each in walk(value)]
        found.append(({"record": "key"}, record.key()))
        # The attributes of a CloudEvent are fields of its value.
        headers = [header for header in read_headers(record) if not header[0].startswith("ce_")]
        found += [({"header": name}, each) for name, each in headers]
        for source, each in found:
            if each is not None:
                entry = fields.setdefault(str(source), _Field(source))
                entry.values.append((record.timestamp()[1], each))
    return list(fields.values())


def _find_vector(found: _Field) -> _Vector | None:
    """Return a field as that of vectors; None where it holds none."""
    measured = [each for _, value in found.values if (each := measure_vector(value)) is not None]
    if not measured or str(found) == "record key" or "header" in found.source:
        return None
    numbers, dtype = max(measured, key=measured.count)
    others = Counter(each for each, _ in measured if each != numbers)
    return _Vector(found, len(measured), numbers, dtype, others)


def _describe(
    topic: str, encoding: str, read: int, fields: Sequence[_Field], vectors: Sequence[_Vector]
) -> Proposal:
    """Return the proposal for a topic's fields; the first vector is taken."""
    vector, *others = vectors
    found, dtype = vector.field, vector.dtype
    mapping: dict[str, object] = {"encoding": encoding}
    kind = "" if dtype is None else f", by their bytes {dtype},"
    most = vector.number - vector.others.total()
    notes = [f"embedding: {vector.numbers:,} numbers{kind} in {most:,} of {_count(read)}"]
    if vector.others:
        lengths = ", ".join(f"{numbers:,} in {number:,}" for numbers, number in vector.others.most_common(3))
        notes.append(f"embedding: vectors of other lengths are there as well: {lengths} records")
    if others:
        notes.append(f"embedding: vectors are also in {', '.join(str(other.field) for other in others)}")
    if found.is_listed:
        notes.append(
            f"embedding: {found} is one item of a list; here no list has more, and more are left out"
        )
    conditions: list[object] = []
    if any(value == _UNAVAILABLE for _, value in found.values):
        conditions.append({**found.source, "not_in": [_UNAVAILABLE]})
    if missing := read - len(found.values):
        conditions.append({**found.source, "exists": True})
        notes.append(f"where: {missing:,} of {_count(read)} have no {found}, and are filtered, not refused")
    if conditions:
        mapping["where"] = conditions
    stream = _find_named("stream", fields, vector)
    rest = [each for each in fields if each is not stream]
    named = {kind: _find_named(kind, rest, vector) for kind in ("model_version", "event_id")}
    if stream is None:
        notes.append(
            "stream: one for the whole topic, since no field has a usual name of streams, such as model_name"
        )
        notes += [
            f"stream: the record's key has {len(set(keys))} values ({', '.join(sorted(set(keys)))}); where "
            "each is a stream of its own, write stream: {record: key}, and an entry of streams for each"
            for keys in (each.texts() for each in fields if each.source == {"record": "key"})
            if 1 < len(set(keys)) == len(_stream_names(keys)) <= min(_FEW, len(keys) // 2)
        ]
    mapping["stream"] = {"constant": topic} if stream is None else _shorten(stream.source)
    shape = f"{str(found).rpartition('.')[0]}.shape"
    has_shape = found.letters == "data" and any(str(each) == shape for each in fields)
    mapping["embedding"] = _shorten(
        found.source
        | ({"dtype": dtype} if dtype not in {None, "f32"} else {})
        | ({"shape": shape} if has_shape else {})
    )
    timestamp = _find_time(fields, vector, notes)
    if (encoding, timestamp) != ("cloudevents", "time"):  # its preset, which also reads events without a time
        mapping["timestamp"] = timestamp
    notes += [f"{key}: no field was found for it" for key, each in named.items() if each is None]
    mapping |= {key: _shorten(each.source) for key, each in named.items() if each is not None}
    segments = [each for each in fields if each not in (stream, *named.values()) and _is_segment(each)]
    if segments:
        listed = ", ".join(map(str, segments[:_MOST_SEGMENTS]))
        notes.append(f"segments: of few values are {listed}; add those you want")
        names = [each for each in segments if len(set(each.texts())) == len(_stream_names(each.texts()))]
        if stream is None and names:
            notes.append(
                f"segments: {', '.join(map(str, names[:_MOST_SEGMENTS]))} may name streams instead: segments "
                "share their stream's baseline; where each value needs its own, "
                f"write stream: {_flow(_shorten(names[0].source))}, and an entry of streams for each"
            )
    return Proposal([topic] if stream is None else _stream_names(stream.texts()), mapping, notes)


def _count(records: int) -> str:
    return f"{records:,} {'record' if records == 1 else 'records'}"


def _shorten(source: Mapping[str, object]) -> object:
    """Return a source in its short form, if it has one."""
    return source["path"] if source.keys() == {"path"} else dict(source)


def _find_named(kind: str, fields: Sequence[_Field], vector: _Vector) -> _Field | None:
    """Return the field that is a stream, a model version or an id by its name and its values."""
    names, is_fit = _NAMED[kind]
    parent = str(vector.field).rpartition(".")[0]
    found = [
        each
        for each in fields
        if each.letters in names and len(texts := each.texts()) >= _USUAL * vector.number and is_fit(texts)
    ]
    # The nearest to the vector.
    return min(
        found,
        key=lambda e: (e.is_past, str(e).rpartition(".")[0] != parent, names.index(e.letters)),
        default=None,
    )


def _find_time(fields: Sequence[_Field], vector: _Vector, notes: list[str]) -> object:
    """Return where the event time is: of the times near the record's the earliest, better with its name.

    A time without an offset is read as UTC only where the records show that it is.
    """
    found, far = [], []
    for each in fields:
        for written in _TIMES if each is not vector.field else ():
            source = {**each.source, **written}
            lags = _lags(source, each.values)
            is_named = _IS_TIME.fullmatch(each.letters) is not None
            lag = median(lags) if len(lags) >= _USUAL * vector.number else np.inf
            if abs(lag) < (np.inf if is_named else _DAY_MS):
                is_local = "assume_utc" in written
                is_unsure = is_local and sum(map(is_live, lags)) < _USUAL * vector.number
                is_far = int(abs(lag) // _DAY_MS)
                found.append((is_unsure, not is_named, is_far, -lag, str(each), source, is_local))
                break
            far += [str(each)] if lag < np.inf else []
    if not found:
        notes.append("timestamp: the record's, since no field was found that may be the event's")
        notes += [f"timestamp: {each} may hold times, a day or more from the records'" for each in far]
        return {"record": "timestamp"}
    (is_unsure, _, days, lag, name, source, is_local), *others = sorted(found, key=lambda each: each[:4])
    if is_unsure:
        source = {kind: where for kind, where in source.items() if kind != "assume_utc"}
        notes.append(
            f"timestamp: {name} has no offset from UTC, and is refused; as UTC it would be "
            f"{format_duration(round(abs(lag) / _MINUTE_MS) * _MINUTE_MS)} "
            f"{'before' if lag < 0 else 'after'} the times of the records: "
            "add assume_utc: true only where it is UTC, else let producers write an offset, or map another "
            "field"
        )
    elif is_local:
        notes.append(
            f"timestamp: {name} has no offset from UTC; it is assumed to be in UTC, because that is within "
            "two minutes of the times of the records"
        )
    if days:
        notes.append(f"timestamp: it is {days:,} days from the times of the records")
    if others:
        notes.append(f"timestamp: times are also in {', '.join(other[4] for other in others)}")
    return _shorten(source)


def _lags(source: Mapping[str, object], values: Sequence[tuple[int, object]]) -> list[int]:
    """Return by how many ms the times of records are after those of a field, where these can be times."""
    time_source, lags = TimeSource.model_validate(source), []
    for stamp_ms, value in values:
        with suppress(ValueError):
            time_ms = read_time(time_source, value)
            lags += [stamp_ms - time_ms] if _FIRST_MS <= time_ms < _LAST_MS else []
    return lags


def _is_segment(found: _Field) -> bool:
    """Return whether a field has few values, so that records can be told apart by it."""
    texts = found.texts() if all(isinstance(value, str | bool) for _, value in found.values) else []
    return 1 < len(set(texts)) <= min(_FEW, len(texts) // 2)


def write_config(
    topic: str, proposal: Proposal, notes: Iterable[str], servers: str, registry: str | None
) -> str:
    """Return the YAML of a configuration that reads a topic.

    Args:
        topic: The topic.
        proposal: How it is read.
        notes: Lines for the head.
        servers: The addresses of brokers.
        registry: The URL of the schema registry, if there is one.
    """
    # A long topic would give internal topics whose names are too long.
    kafka = {"bootstrap.servers": servers, "group.id": f"driftgauge-{topic[:100]}"}
    lines = ["# Proposed by `driftgauge init`. Read what it was not sure of, and adapt it:"]
    # A character that ends a line would end the comment.
    lines += ["".join(each if each.isprintable() else "?" for each in f"# - {note}") for note in notes]
    lines += [f"kafka: {_flow(kafka)}  # each deployment needs a group of its own"]
    lines += [f"schema_registry: {_flow({'url': registry})}"] if registry else []
    lines.append(
        "# Results go to driftgauge.windows. Deployments that share it need different names of streams;"
    )
    lines.append("# else name another topic: windows: NAME.")
    lines += [f"topics: {_flow({'events': [topic]})}", "streams:"]
    lines.append(
        "  # Fit each: driftgauge baseline fit --config … --topic … --from TIME --stream NAME --out FILE"
    )
    lines += [
        f"  - {_flow({'name': name, 'baseline': f'{name_of_stream(name)}.safetensors', 'windows': ['1h']})}"
        for name in proposal.streams
    ]
    if proposal.mapping is None:
        lines.append("# The records are events of the service's own contract, and need no mapping.")
    else:
        lines += ["inputs:", f"  {_flow(topic)}:"]
        lines += [f"    {key}: {_flow(value)}" for key, value in proposal.mapping.items()]
    return "\n".join([*lines, ""])


def _flow(value: object) -> str:
    """Return a value as YAML in one line."""
    # A scalar alone would end with a document's end.
    return yaml.safe_dump([value], default_flow_style=True, sort_keys=False, width=_NO_BREAK).strip()[1:-1]
