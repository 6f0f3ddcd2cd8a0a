"""Shapes: regular expressions of records that certainly are an event, learned from the records before them.

Records of one schema differ in their fields, and seldom in their layout. A shape matches the values of one
layout, and has a group for each field that the mapping reads, so no other field becomes an object. A value
that matches no shape is decoded by the library of its encoding, and its shape is learned.
"""

import re
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeAlias

from driftgauge.config.inputs import InputSettings, Source
from driftgauge.config.paths import parse_path
from driftgauge.events.mapped_single import SingleReader, compile_single
from driftgauge.events.records import RawRecord
from driftgauge.events.rows import Row, Schedule
from driftgauge.events.sources import Getter, compile_source
from driftgauge.events.varints import read_varint
from driftgauge.events.vectors import VectorFormat, to_format

__all__ = ["Kind", "Layout", "Learner", "Path", "ShapeReader", "Unshaped"]

Kind: TypeAlias = Literal["text", "time", "vector"]
"""What the mapping makes of a field."""

Path: TypeAlias = tuple[str | None, ...]
"""The names from the root of a value to a field; None for the items of a list, which no mapped path has."""

_MOST_PARTS = 128
# Each takes a thirtieth of the time of the library to not match.
_MOST_SHAPES = 8
# A shape takes as long to learn as a hundred records to decode.
_MISSES_A_SHAPE = 100


class Unshaped(Exception):  # noqa: N818 - a finding, not a fault
    """No shape can be learned of a value: its fields are not all of the kinds that shapes know."""


class Layout:
    """The layout of a value, as a walk over its bytes finds it: the pattern of each part, in their order.

    Attributes:
        raw: The value.
        position: Where the walk is.
        kinds: What the mapping reads, by path.
        time: Where the mapping reads the time, with the unit of a number.
        number: The format of the vector's numbers.
        read_time: Returns the milliseconds since the epoch in the bytes of the time; raises ValueError where
            it is not sure of them.
    """

    def __init__(self, raw: bytes, kinds: Mapping[Path, Kind], settings: InputSettings) -> None:
        self.raw = raw
        self.position = 0
        self.kinds = kinds
        self.time = settings.timestamp
        self.number: VectorFormat = to_format(settings.vectors[0].embedding)
        self.read_time: Callable[[bytes], int] | None = None
        self._patterns: list[bytes] = []
        self._groups: dict[Path, int] = {}

    def take(self, size: int) -> bytes:
        """Pass bytes that are the same in all values of the layout, and return them.

        Raises:
            Unshaped: The layout has too many parts.
        """
        taken = self.raw[self.position : self.position + size]
        self._add(re.escape(taken), size)
        return taken

    def take_varint(self) -> int:
        """Pass a varint that is the same in all values of the layout, and return its number without a sign.

        Raises:
            Unshaped: As `take`.
        """
        number, end = read_varint(self.raw, self.position)
        self.take(end - self.position)
        return number

    def varint_size(self) -> int:
        """Return the bytes of the varint that follows."""
        return read_varint(self.raw, self.position)[1] - self.position

    def add(self, size: int, path: Path, kinds: tuple[Kind, ...] = (), pattern: bytes = b"") -> None:
        """Pass the bytes of a field, which differ between the values of the layout.

        Args:
            size: Their number in this value.
            path: The field.
            kinds: What the mapping may make of such a field.
            pattern: Their pattern; by default any bytes of this number.

        Raises:
            Unshaped: The mapping makes something else of the field, the field is there twice, or as `take`.
        """
        pattern = pattern or b".{%d}" % size
        if (kind := self.kinds.get(path)) is not None:
            if kind not in kinds or path in self._groups:
                raise Unshaped
            self._groups[path] = len(self._groups)
            pattern = b"(%b)" % pattern
        self._add(pattern, size)

    def _add(self, pattern: bytes, size: int) -> None:
        self._patterns.append(pattern)
        self.position += size
        if len(self._patterns) > _MOST_PARTS:
            raise Unshaped

    def match(self) -> Callable[[bytes], re.Match[bytes] | None]:
        """Return the function that matches whole values."""
        return re.compile(b"".join(self._patterns), re.DOTALL).fullmatch

    def has(self, source: Source) -> bool:
        """Return whether a field of the mapping was found, or is not in the value."""
        return source.path is None or _names(source.path) in self._groups

    def getter(self, source: Source) -> Getter:
        """Return the function that gets a field of the mapping, given the groups of a match as the value."""
        if source.path is None:
            return compile_source(source)
        path = _names(source.path)
        group = self._groups.get(path)
        if group is None:
            return lambda record, groups: None
        kind, read_time = self.kinds[path], self.read_time
        if kind == "text":
            return lambda record, groups: groups[group].decode()  # type: ignore[index]
        if kind == "time" and read_time is not None:
            return lambda record, groups: read_time(groups[group])  # type: ignore[index]
        return lambda record, groups: groups[group]  # type: ignore[index]


Learner: TypeAlias = Callable[[Layout], None]
"""Walks over the bytes of a value that was decoded. Raises Unshaped."""


class _Shape(NamedTuple):
    match: Callable[[bytes], re.Match[bytes] | None]
    read: SingleReader


class ShapeReader:
    """Reads records by the shapes of earlier ones."""

    def __init__(self, settings: InputSettings, kinds: Mapping[Path, Kind], learn: Learner) -> None:
        """Create a reader without a shape.

        Args:
            settings: A mapping with one vector, without a shape.
            kinds: What it reads, by path; see `find_kinds`.
            learn: The learner of its encoding.
        """
        self._settings = settings
        self._kinds = kinds
        self._learn = learn
        self._shapes: list[_Shape] = []  # the last one that matched is the first
        self._learned = 0
        self._misses = 0

    def read(self, record: RawRecord, schedules: Mapping[str, Schedule]) -> Row | None:
        """Return the event of a record if it certainly is one, else None."""
        raw = record.value() or b""
        for i, shape in enumerate(self._shapes):
            found = shape.match(raw)
            if found is not None:
                if i:
                    self._shapes.insert(0, self._shapes.pop(i))
                return shape.read(record, found.groups(), schedules)
        self._misses += 1
        return None

    def learn(self, record: RawRecord) -> None:
        """Learn the shape of a record that is an event, unless there have been too few since the last."""
        raw = record.value() or b""
        if self._misses < self._learned * _MISSES_A_SHAPE or any(shape.match(raw) for shape in self._shapes):
            return
        self._misses = 0
        self._learned += 1
        layout = Layout(raw, self._kinds, self._settings)
        try:
            self._learn(layout)
        except Unshaped:
            return
        (vector,), time = self._settings.vectors, self._settings.timestamp
        if all(map(layout.has, (vector.stream, vector.embedding, time))):
            # A layout's times are in ms.
            in_ms = self._settings.model_copy(update={"timestamp": time.model_copy(update={"unit": "ms"})})
            self._shapes.insert(
                0, _Shape(layout.match(), compile_single(in_ms, layout.getter, layout.number))
            )
            del self._shapes[_MOST_SHAPES:]


def find_kinds(settings: InputSettings) -> dict[Path, Kind] | None:
    """Return what a mapping with one vector reads from the value, by path.

    Returns:
        None where shapes cannot read it: it filters records, or reads an item of a list, the whole value, or
        one field in two ways.
    """
    (vector,) = settings.vectors
    texts = (vector.stream, settings.event_id, settings.model_version, *settings.segments.values())
    read: list[tuple[Source | None, Kind]] = [(source, "text") for source in texts]
    read += [(settings.timestamp, "time"), (vector.embedding, "vector")]
    kinds: dict[Path, Kind] = {}
    for source, kind in read:
        if source is None:
            continue
        if source.record == "value":
            return None
        if source.path is not None:
            path = _names(source.path)
            if len(path) < len(parse_path(source.path)) or kinds.setdefault(path, kind) != kind:
                return None
    return None if settings.where else kinds


def _names(path: str) -> Path:
    return tuple(step for step in parse_path(path) if isinstance(step, str))
