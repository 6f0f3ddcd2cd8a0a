"""The fields of a record, each as its topic's reader finds it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from driftgauge.config.inputs import Source
from driftgauge.config.paths import parse_path
from driftgauge.events.fields import MappedVector
from driftgauge.events.reader import Reader
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError
from driftgauge.events.rows import default_id
from driftgauge.events.sources import describe_source
from driftgauge.events.timestamps import format_timestamp
from driftgauge.events.unread_items import ListItems, find_items
from driftgauge.events.vectors import VectorFormat, describe_kind
from driftgauge.inspection.values import measure_vector, walk
from driftgauge.nearest import suggest

__all__ = ["Field", "FoundFields", "find_fields"]

_SHOWN_EVENTS = 3
_SHOWN_NUMBERS = 4
_SHOWN_PATHS = 4


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record, in words.

    Attributes:
        name: The field's name.
        text: Its value, or what is wrong with it.
        source: Where it stands.
    """

    name: str
    text: str
    source: str


@dataclass(slots=True)
class FoundFields:
    """What was found in a record.

    Attributes:
        fields: The fields, of the first events only where the record has many.
        dimensions: The stream and the number of dimensions of each event.
        time_ms: The time of the events, ms; None where it is missing or wrong.
        lists: The lists of which the mapping reads vectors by their index.
        wrong: The names of fields that are missing or wrong.
    """

    fields: list[Field] = field(default_factory=list)
    dimensions: list[tuple[str, int]] = field(default_factory=list)
    time_ms: int | None = None
    lists: tuple[ListItems, ...] = ()
    wrong: set[str] = field(default_factory=set)

    def find(self, name: str, source: str, read: Callable[[], str | None], hint: str = "") -> None:
        """Add a field that `read` returns, None where it is missing; see `add_fault`."""
        try:
            text = read()
        except EventError as error:
            self.add_fault(name, error, source, hint)
        else:
            self.fields.append(Field(name, f"none{hint}" if text is None else text, source))

    def add_fault(self, name: str, error: EventError, source: str, hint: str = "") -> None:
        """Add a field that is missing or wrong, and a hint where its name may be."""
        self.fields.append(Field(name, f"wrong: {error.detail}{hint}", source))
        self.wrong.add(name)

    def add_event(self, event: MappedVector, stream_source: str, id_source: str, source: str) -> None:
        """Add an event's stream, id and vector."""
        dimension = len(event.items) // (event.number.size if isinstance(event.items, bytes) else 1)
        self.dimensions.append((event.stream, dimension))
        if len(self.dimensions) > _SHOWN_EVENTS:
            return
        named = [Field("stream", event.stream, stream_source), Field("event id", event.event_id, id_source)]
        self.fields += [each for each in named if each.name not in self.wrong]
        self.fields.append(Field("vector", _describe_vector(event.items, event.number), source))


def find_fields(reader: Reader, record: RawRecord, value: object) -> FoundFields:
    """Return the fields of a record, given its decoded value."""
    settings = reader.settings
    found = FoundFields(lists=tuple(find_items(settings, value)))

    items = reader.items(value)
    if not items:
        return found
    # The fields of the first item stand for those of all of them.
    first = items[0]

    def read_time() -> str:
        found.time_ms = reader.time_ms(record, value, first)
        return format_timestamp(found.time_ms)

    found.find("timestamp", describe_source(settings.timestamp), read_time, _hint(settings.timestamp, value))
    found.find(
        "model version",
        _describe(settings.model_version),
        lambda: reader.model_version(record, value, first),
        _hint(settings.model_version, value),
    )
    found.find(
        "segments", reader.segments_source, lambda: _describe_segments(reader.segments(record, value, first))
    )
    # A text may be private, so its length says enough.
    found.find(
        "snippet",
        _describe(settings.snippet),
        lambda: _count(reader.snippet(record, value, first)),
        _hint(settings.snippet, value),
    )
    id_source, streams = _describe(settings.event_id), [""] * len(settings.vectors)
    numbers = count()
    for index, item in enumerate(items):
        event_id = None
        try:
            event_id = reader.event_id(record, value, item)
            if event_id is None and reader.gives_ids:
                hint = _hint(settings.event_id, value)
                missing = f"; {_describe(settings.event_id)} is missing{hint}" if settings.event_id else ""
                event_id, id_source = default_id(record), f"topic, partition and offset{missing}"
        except EventError as error:
            event_id = ""
            found.add_fault("event id", error, id_source)
        try:
            streams = reader.streams(record, value, item)
        except EventError as error:
            hint = next(filter(None, (_hint(each.stream, value) for each in settings.vectors)), "")
            sources = ", ".join(describe_source(v.stream) for v in settings.vectors)
            found.add_fault("stream", error, sources, hint)
        # One vector of the mapping after the other, so that a wrong one does not hide the others.
        shown_id = "none" if event_id is None else event_id
        for vector, parts in reader.each_vector(record, value, item, streams, shown_id, numbers):
            source = describe_source(vector.embedding)
            if isinstance(parts, EventError):
                hint = _hint(vector.embedding, value) or _list_vectors(value)
                where = f"{source}, item {index}" if len(items) > 1 else source
                found.add_fault("vector", parts, where, hint)
                continue
            for event in parts:
                found.add_event(event, describe_source(vector.stream), id_source, source)
        if found.wrong:
            # The record is refused for its first wrong item.
            break
    return found


def _hint(source: Source | None, value: object) -> str:
    """Return the nearest name for the one of a source's path that a value lacks; empty without one."""
    for step in () if source is None or source.path is None else parse_path(source.path):
        if not isinstance(step, str) or not isinstance(value, dict):
            break
        if step not in value:
            near = suggest(step, map(str, value), "")
            return near and f"; {near}"
        value = value[step]
    return ""


def _list_vectors(value: object) -> str:
    """Return where a value holds lists of numbers, or bytes that can be numbers; empty where nowhere."""
    found = (path for path, each in walk(value) if path and measure_vector(each) is not None)
    paths = list(dict.fromkeys(found))
    more = ", …" if len(paths) > _SHOWN_PATHS else ""
    return f"; vectors are in {', '.join(paths[:_SHOWN_PATHS])}{more}" if paths else ""


def _describe(source: Source | None) -> str:
    return "not mapped" if source is None else describe_source(source)


def _count(text: str | None) -> str | None:
    return None if text is None else f"{len(text):,} characters"


def _describe_segments(segments: dict[str, str] | None) -> str | None:
    return ", ".join(f"{key}={value}" for key, value in segments.items()) if segments else None


def _describe_vector(items: list[object] | bytes | memoryview, number: VectorFormat) -> str:
    if not isinstance(items, bytes):
        odd = [describe_kind(each) for each in items if type(each) not in {int, float}]
        if odd:
            return f"{len(items)} items, among them {odd[0]}"
        with np.errstate(over="ignore"):
            numbers = np.array(items, np.float64).astype(np.float32)
    elif len(items) % number.size:
        return f"{len(items)} bytes, no whole number of {number.dtype}"
    else:
        numbers = number.to_float32(items)
    first = ", ".join(f"{each:.4g}" for each in numbers[:_SHOWN_NUMBERS].tolist())
    more = ", …" if len(numbers) > _SHOWN_NUMBERS else ""
    norm = float(np.linalg.norm(numbers.astype(np.float64)))
    return f"{len(numbers)} numbers: {first}{more}; norm {norm:.4g}"
