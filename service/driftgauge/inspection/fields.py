"""The fields of a record, each as its topic's reader finds it."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.config.inputs import Source
from driftgauge.config.paths import parse_path
from driftgauge.events.columns import RECORD_ID, Columns, default_id
from driftgauge.events.fields import Field, NumberFields, SegmentFields, VectorField, to_numbers
from driftgauge.events.reader import Reader
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError
from driftgauge.events.sources import Batch
from driftgauge.events.timestamps import format_timestamp
from driftgauge.events.unread_items import ListItems, find_items
from driftgauge.events.vectors import describe_kind
from driftgauge.inspection.values import measure_vector, walk
from driftgauge.nearest import suggest

__all__ = ["FoundFields", "InspectedField", "find_fields"]

_SHOWN_EVENTS = 3
_SHOWN_NUMBERS = 4
_SHOWN_PATHS = 4


@dataclass(frozen=True, slots=True)
class InspectedField:
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
        fields: The fields, of the first events only if the record has many.
        dimensions: The stream and the number of dimensions of each event.
        time_ms: The time of the first event, ms; None if it is missing or wrong.
        lists: The lists of which the mapping reads vectors by their index.
    """

    fields: list[InspectedField] = field(default_factory=list)
    dimensions: list[tuple[str, int]] = field(default_factory=list)
    time_ms: int | None = None
    lists: tuple[ListItems, ...] = ()


def find_fields(reader: Reader, record: RawRecord, value: object) -> FoundFields:
    """Return the fields of a record, given its decoded value; of a wrong item alone if it has one."""
    found = FoundFields(lists=tuple(find_items(reader.settings, value)))
    fault = None
    try:
        items = reader.items(value)
    except EventError as error:
        # Without the list, the record's own fields are shown, and where its vectors are.
        items, fault = [None], error
    batches = [Batch([record], [value], [item], {}) for item in items]
    if not batches or value is None:
        return found
    wrong, _ = (0, None) if fault else reader.find_wrong(record, value) or (None, None)
    # The fields of the first item stand for those of all of them.
    batch = batches[wrong or 0]
    with suppress(EventError):
        found.time_ms = _read_one(reader.fields["time_ms"], batch)
    for name, (column, describe) in _SHOWN.items():
        part = reader.fields[column]
        text = _describe(partial(_read_one, part, batch), describe, _hint(part.source, value))
        found.fields.append(InspectedField(name, text, part.place))
    part = reader.fields["event_id"]
    if wrong is not None:
        where = f", item {wrong}" if len(batches) > 1 else ""
        text = _describe(partial(_read_one, part, batch), str, _hint(part.source, value))
        found.fields.append(InspectedField("event id", text, part.place))
        found.fields += [
            each for vector in reader.vectors for each in _describe_wrong(vector, batch, value, where, fault)
        ]
        return found
    id_source = part.place
    if not reader.is_own and _read_one(part, batch) is None:
        missing = f"; {part.place} is missing{_hint(part.source, value)}" if part.source else ""
        id_source = f"topic, partition and offset{missing}"
    columns = Columns()
    columns.add(reader.read_values([0], [record], [value]))
    found.dimensions = [*zip(columns.stream, columns.dimensions(), strict=True)]
    # Events are in the order of items, and of the vectors of the mapping in each.
    sources = (vector for batch in batches for vector in reader.vectors for _ in vector.read(batch).vectors)
    events = zip(sources, columns.stream, columns.event_id, columns.vector, columns.number, strict=True)
    for vector, stream, event_id, packed, number in islice(events, _SHOWN_EVENTS):
        shown_id = default_id(record) if event_id is RECORD_ID else str(event_id or "none")
        found.fields += [
            InspectedField("stream", stream, vector.stream.place),
            InspectedField("event id", shown_id, id_source),
            InspectedField("vector", _describe_vector(number.to_float32(packed)), vector.place),
        ]
    return found


def _read_one(part: Field | SegmentFields | NumberFields, batch: Batch) -> Any:
    return part.read(batch)[0]


def _describe(read: Callable[[], Any], describe: Callable[[Any], str], hint: str) -> str:
    """Return a field that `read` returns in words; with a hint where its name may be if it is missing."""
    try:
        found = read()
    except EventError as error:
        return f"wrong: {error.detail}{hint}"
    return describe(found) if found not in (None, {}) else f"none{hint}"


def _describe_wrong(
    vector: VectorField, batch: Batch, value: object, where: str, fault: EventError | None
) -> Iterator[InspectedField]:
    """Yield the stream and the vector of an item of which a field is wrong, or whose list has a fault."""
    stream = _describe(partial(_read_one, vector.stream, batch), str, _hint(vector.stream.source, value))
    yield InspectedField("stream", stream, vector.stream.place)
    hint = _hint(vector.source, value) or _list_vectors(value)
    text = (
        f"wrong: {fault.detail}{hint}"
        if fault
        else _describe(
            lambda: vector.read(batch),
            lambda found: _describe_vector(found.numbers[0].to_float32(found.vectors[0])),
            hint,
        )
    )
    yield InspectedField("vector", text, f"{vector.place}{where}")


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
    """Return where a value holds lists of numbers, or bytes that can be numbers."""
    found = (path for path, each in walk(value) if path and measure_vector(each) is not None)
    paths = list(dict.fromkeys(found))
    more = ", …" if len(paths) > _SHOWN_PATHS else ""
    return f"; vectors are in {', '.join(paths[:_SHOWN_PATHS])}{more}" if paths else ""


def _describe_vector(numbers: NDArray[np.float32]) -> str:
    first = ", ".join(f"{each:.4g}" for each in numbers[:_SHOWN_NUMBERS].tolist())
    more = ", …" if len(numbers) > _SHOWN_NUMBERS else ""
    norm = float(np.linalg.norm(numbers.astype(np.float64)))
    return f"{len(numbers)} numbers: {first}{more}; norm {norm:.4g}"


def _describe_numbers(found: object) -> str:
    if not isinstance(found, dict):
        return f"wrong: {describe_kind(found)}, where an object is expected"
    values = {name: float(to_numbers([found], name)[0]) for name in found}
    return ", ".join(
        f"{name}={'missing' if math.isnan(value) else f'{value:g}'}" for name, value in values.items()
    )


# By the name that is shown: the column, and its value in words. A text may be private: its length says
# enough.
_SHOWN: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "timestamp": ("time_ms", format_timestamp),
    "model version": ("model_version", str),
    "segments": ("segments", lambda found: ", ".join(f"{key}={text}" for key, text in found.items())),
    "snippet": ("snippet", lambda text: f"{len(text):,} characters"),
    "numbers": ("numbers", _describe_numbers),
}
