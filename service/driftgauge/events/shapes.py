"""Shapes: regular expressions of records that certainly are an event, learned from the records before them.

Records of one schema differ in their fields, and seldom in their layout. A shape matches the values of one
layout, and has a group for each field that the mapping reads, so no other field becomes an object. A value
that matches no shape is decoded by the library of its encoding, and its shape is learned.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from driftgauge.config.inputs import InputSettings, Source
from driftgauge.config.paths import parse_path
from driftgauge.events.mapped_single import SingleReader, compile_single
from driftgauge.events.records import RawRecord
from driftgauge.events.rows import Outcome, Row, Schedule
from driftgauge.events.sources import Getter, compile_source
from driftgauge.events.varints import read_varint
from driftgauge.events.vectors import VectorFormat, to_format

__all__ = ["VARINT", "Layout", "Learner", "Path", "ShapeReader", "Unshaped", "compile_shapes"]

Path: TypeAlias = tuple[str | None, ...]
"""The names from the root of a value to a field; None for the items of a list, which no mapped path has."""

# What the mapping makes of a field; `same`: it is on a condition, which all values of a layout meet alike.
_Kind: TypeAlias = Literal["text", "time", "vector", "same"]
_Convert: TypeAlias = Callable[[bytes], object] | None

VARINT = b"[\x80-\xff]{0,8}+[\x00-\x7f]"
"""The pattern of a varint of 63 bits: its number is the same for every library, and not negative."""

_LONGEST_VARINT = 9
# A literal takes long to compile; varints and the keys of maps are shorter.
_LONGEST_LITERAL = 64
_MOST_PARTS = 128
# Each takes a thirtieth of the time of the library to not match.
_MOST_SHAPES = 8
# A shape takes as long to learn as a hundred records to decode.
_MISSES_A_SHAPE = 100
# Where so many more records of a run match no shape than match one, its other records are not compared.
_PATIENCE = 50


class Unshaped(Exception):  # noqa: N818 - a finding, not a fault
    """No shape can be learned of a value: its fields are not all of the kinds that shapes know."""


class Layout:
    """The layout of a value, as a walk over its bytes finds it: the pattern of each part, in their order.

    All methods that pass bytes raise Unshaped where the layout has too many parts, or unusual ones.

    Attributes:
        raw: The value.
        position: Where the walk is.
        kinds: What the mapping reads, by path.
        time: Where the mapping reads the time, with the unit of a number.
        number: The format of the vector's numbers.
    """

    def __init__(self, raw: bytes, kinds: Mapping[Path, _Kind], settings: InputSettings) -> None:
        self.raw = raw
        self.position = 0
        self.kinds = kinds
        self.time = settings.timestamp
        self.number: VectorFormat = to_format(settings.vectors[0].embedding)
        self._patterns: list[bytes] = []
        self._groups: dict[Path, tuple[int, _Convert]] = {}
        self._found: set[Path] = set()
        self._entered: set[Path] = set()

    def enter(self, path: Path) -> None:
        """Begin a field that must be there only once: of two the last one counts, or both are merged.

        Raises:
            Unshaped: It is there twice.
        """
        if None not in path:
            if path in self._entered:
                raise Unshaped
            self._entered.add(path)

    def take(self, size: int) -> bytes:
        """Pass bytes that are the same in all values of the layout, and return them."""
        if size > _LONGEST_LITERAL:
            raise Unshaped
        taken = self.raw[self.position : self.position + size]
        self._add(size, re.escape(taken))
        return taken

    def take_varint(self) -> int:
        """Pass a varint that is the same in all values of the layout, and return its number, not negative."""
        number, size = self._read_varint()
        self.take(size)
        return number

    def varint_size(self) -> int:
        """Return the bytes of the varint that follows."""
        return self._read_varint()[1]

    def add(
        self,
        size: int,
        path: Path,
        converts: Mapping[_Kind, _Convert] = MappingProxyType({}),
        pattern: bytes = b"",
    ) -> None:
        """Pass the bytes of a field, which differ between the values of the layout.

        Args:
            size: Their number in this value.
            path: The field.
            converts: What the mapping may make of such a field, each with the function that returns it, or
                raises ValueError where it is not sure of the bytes; None for the bytes themselves.
            pattern: Their pattern; by default any bytes of this number.
        """
        pattern = pattern or b".{%d}" % size
        kind = self.kinds.get(path)
        if kind is not None and path in self._found:
            raise Unshaped
        self._found.add(path)
        if kind == "same":
            self.take(size)
        elif kind is None:
            self._add(size, pattern)
        elif kind in converts:
            self._groups[path] = len(self._groups), converts[kind]
            self._add(size, b"(%b)" % pattern)
        else:
            raise Unshaped

    def add_text(self, size: int, path: Path) -> None:
        """Pass a text. One that is not read is ASCII, because the libraries refuse what is not UTF-8."""
        self.add(size, path, {"text": bytes.decode}, b"" if path in self.kinds else b"[\x00-\x7f]{%d}" % size)

    def add_bytes(self, size: int, path: Path) -> None:
        """Pass bytes of any kind."""
        self.add(size, path, {"text": bytes.decode, "vector": None})

    def _add(self, size: int, pattern: bytes) -> None:
        if size < 0 or len(self._patterns) == _MOST_PARTS:
            raise Unshaped
        self._patterns.append(pattern)
        self.position += size

    def _read_varint(self) -> tuple[int, int]:
        try:
            number, end = read_varint(self.raw, self.position, _LONGEST_VARINT)
        except ValueError:
            raise Unshaped from None
        return number, end - self.position

    def match(self) -> Callable[[bytes], re.Match[bytes] | None]:
        """Return the function that matches whole values."""
        return re.compile(b"".join(self._patterns), re.DOTALL).fullmatch

    def has(self, source: Source) -> bool:
        """Return whether a field of the mapping was found, or is not in the value."""
        return source.path is None or _names(source.path) in self._found

    def getter(self, source: Source) -> Getter:
        """Return the function that gets a field of the mapping, given the groups of a match as the value."""
        if source.path is None:
            return compile_source(source)
        found = self._groups.get(_names(source.path))
        if found is None:
            return lambda record, groups: None
        group, convert = found
        if convert is None:
            return lambda record, groups: groups[group]  # type: ignore[index]
        return lambda record, groups: convert(groups[group])  # type: ignore[index]


Learner: TypeAlias = Callable[[Layout], None]
"""Walks over the bytes of a value that was decoded. Raises Unshaped."""


class _Shape(NamedTuple):
    match: Callable[[bytes], re.Match[bytes] | None]
    read: SingleReader


class ShapeReader:
    """Reads records by the shapes of earlier ones."""

    def __init__(self, settings: InputSettings, kinds: Mapping[Path, _Kind], learn: Learner) -> None:
        """Create a reader without a shape; see `compile_shapes`."""
        self._settings = settings
        self._kinds = kinds
        self._learn = learn
        self._shapes: list[_Shape] = []  # the last one that matched is the first
        self._learned = 0
        self._misses = 0

    def read_each(
        self,
        records: Iterable[RawRecord],
        schedules: Mapping[str, Schedule],
        read_other: Callable[[RawRecord, Mapping[str, Schedule]], Outcome],
    ) -> Iterator[Outcome]:
        """Yield the outcome of each record of a run.

        Args:
            records: The records.
            schedules: The schedules of the streams.
            read_other: Reads a record of which no shape is sure.
        """
        patience = _PATIENCE
        for record in records:
            outcome: Outcome = self.read(record, schedules) if patience else None
            if outcome is not None:
                patience += 1
            else:
                outcome = read_other(record, schedules)
                if patience:
                    patience -= 1
                    if isinstance(outcome, tuple | list):
                        self.learn(record)
            yield outcome

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
        settings, (vector,), time = self._settings, self._settings.vectors, self._settings.timestamp
        needed = (vector.stream, vector.embedding, time, *settings.where)
        match = layout.match()
        # A pattern may leave out this value too, such as text that is not ASCII.
        if match(raw) is not None and all(map(layout.has, needed)):
            if time.path is not None:
                # A layout's times are in ms.
                settings = settings.model_copy(update={"timestamp": time.model_copy(update={"unit": "ms"})})
            read = compile_single(settings, layout.getter, layout.number)
            self._shapes.insert(0, _Shape(match, read))
            del self._shapes[_MOST_SHAPES:]


def compile_shapes(settings: InputSettings, learn: Learner) -> ShapeReader | None:
    """Return the reader of a mapping with one vector, which learns by the learner of its encoding.

    Returns:
        None where shapes cannot read it: it reads an item of a list, the whole value, one field in two ways,
        or a field and one within it; or a condition is on something beside the value.
    """
    (vector,) = settings.vectors
    texts = (vector.stream, settings.event_id, settings.model_version, *settings.segments.values())
    read: list[tuple[Source | None, _Kind]] = [(source, "text") for source in texts]
    read += [(settings.timestamp, "time"), (vector.embedding, "vector")]
    read += [(condition, "same") for condition in settings.where]
    kinds: dict[Path, _Kind] = {}
    for source, kind in read:
        if source is None:
            continue
        if source.record == "value" or (kind == "same" and source.path is None):
            return None
        if source.path is not None:
            path = _names(source.path)
            if len(path) < len(parse_path(source.path)) or kinds.setdefault(path, kind) != kind:
                return None
    if any(path[:length] in kinds for path in kinds for length in range(len(path))):
        return None
    return ShapeReader(settings, kinds, learn)


def _names(path: str) -> Path:
    return tuple(step for step in parse_path(path) if isinstance(step, str))
