"""Shapes: regular expressions of records that certainly are an event, learned from the records before them.

Records of a topic differ in their fields, and seldom in their layout. A shape matches the values of one
layout, and has a group for each field that is read, so no other field becomes an object. A value that matches
no shape is decoded by the library of its encoding, and if it is an event, its shape is learned.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from driftgauge.events.records import RawRecord
from driftgauge.events.rows import Outcome, Row, Schedule
from driftgauge.events.sources import Getter
from driftgauge.events.varints import read_varint
from driftgauge.events.vectors import VectorFormat

__all__ = ["Kind", "Layout", "Learner", "Path", "ShapeReader", "SingleReader", "Unshaped"]

Kind: TypeAlias = Literal["text", "time", "vector", "same"]
"""What a reader makes of a field. `same`: whether it reads the record depends on it."""

Path: TypeAlias = tuple[str | None, ...]
"""The names from the root of a value to a field; None for the items of a list."""

SingleReader: TypeAlias = Callable[[RawRecord, Any, Mapping[str, Schedule]], Row | None]
"""Returns the event of a record, given its decoded value, if it certainly is one, else None."""

_MOST_PARTS = 256
_MOST_BYTES = 1_000
# Each takes a thirtieth of the time of the library to not match.
_MOST_SHAPES = 8
# A shape takes as long to learn as a hundred records to decode.
_MISSES_A_SHAPE = 100
# So many more records of a run than match a shape are compared.
_PATIENCE = 50


class Unshaped(Exception):  # noqa: N818 - a finding, not a fault
    """No shape can be learned of a value: its fields are not all of the kinds that shapes know."""


class Layout:
    """The layout of a value, as a walk over its bytes finds it: the pattern of each part, in their order.

    Attributes:
        raw: The value.
        position: Where the walk is.
        kinds: What is read, by path.
        groups: The number of the group of each field that was found.
        readers: What turns the bytes of a group into a field's value, by kind; raises ValueError where it is
            not sure of them. A time is an int or a text.
        number: The format of the vector's numbers in bytes; None: as the mapping says.
        is_in_ms: Whether a time is in ms, whatever the unit of the mapping.
    """

    def __init__(self, raw: bytes, kinds: Mapping[Path, Kind]) -> None:
        self.raw = raw
        self.position = 0
        self.kinds = kinds
        self.groups: dict[Path, int] = {}
        self.readers: dict[Kind, Callable[[bytes], object]] = {"text": bytes.decode}
        self.number: VectorFormat | None = None
        self.is_in_ms = False
        self._patterns: list[bytes] = []

    def kind(self, path: Path, *possible: Kind) -> Kind | None:
        """Return what is read at a path; None for nothing.

        Raises:
            Unshaped: It is none of those that are possible.
        """
        kind = self.kinds.get(path)
        if kind is not None and kind not in possible:
            raise Unshaped
        return kind

    def take(self, size: int) -> bytes:
        """Pass bytes that are the same in all values of the layout, and return them.

        Raises:
            Unshaped: They are too many, or the layout has too many parts.
        """
        taken = self.raw[self.position : self.position + size]
        if size > _MOST_BYTES:
            raise Unshaped
        self._pass(size, re.escape(taken))
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

    def add(self, size: int, pattern: bytes, path: Path, *possible: Kind) -> None:
        """Pass the bytes of a field, which differ between the values of the layout.

        Args:
            size: Their number in this value.
            pattern: Their pattern.
            path: The field.
            possible: What can be made of such a field.

        Raises:
            Unshaped: Something else is to be made of it, it is there twice, or as `take`.
        """
        kind = self.kind(path, "same", *possible)
        if kind == "same":
            self.take(size)
            return
        if kind is not None:
            if path in self.groups:
                raise Unshaped
            self.groups[path] = len(self.groups)
            pattern = b"(%b)" % pattern
        self._pass(size, pattern)

    def match(self) -> Callable[[bytes], re.Match[bytes] | None]:
        """Return the function that matches whole values."""
        return re.compile(b"".join(self._patterns), re.DOTALL).fullmatch

    def getter(self, path: Path) -> Getter:
        """Return the function that gets a field, given the groups of a match as the value.

        It returns None where the layout lacks the field.
        """
        group = self.groups.get(path)
        if group is None:
            return lambda record, groups: None
        read = self.readers.get(self.kinds[path])
        if read is None:
            return lambda record, groups: groups[group]  # type: ignore[index]
        return lambda record, groups: read(groups[group])  # type: ignore[index]

    def _pass(self, size: int, pattern: bytes) -> None:
        self._patterns.append(pattern)
        self.position += size
        if len(self._patterns) > _MOST_PARTS:
            raise Unshaped


Learner: TypeAlias = Callable[[Layout], None]
"""Walks over the bytes of a value that was decoded. Raises Unshaped."""


class _Shape(NamedTuple):
    match: Callable[[bytes], re.Match[bytes] | None]
    read: SingleReader


class ShapeReader:
    """Reads records by the shapes of earlier ones."""

    def __init__(
        self, kinds: Mapping[Path, Kind], learn: Learner, compile_reader: Callable[[Layout], SingleReader]
    ) -> None:
        """Create a reader without a shape.

        Args:
            kinds: What is read, by path.
            learn: The learner of the encoding.
            compile_reader: Returns what makes an event of the groups of a layout's match; raises Unshaped
                where the layout lacks a field.
        """
        self._kinds = kinds
        self._learn = learn
        self._compile = compile_reader
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
            read_other: Reads a record that matches no shape, or that a shape is not sure of.
        """
        misses = 0
        for number, record in enumerate(records):
            outcome: Outcome
            if 2 * misses > number + _PATIENCE:
                # Most records match no shape.
                yield read_other(record, schedules)
            elif (outcome := self.read(record, schedules)) is not None:
                yield outcome
            else:
                misses += 1
                outcome = read_other(record, schedules)
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
        layout = Layout(raw, self._kinds)
        try:
            self._learn(layout)
            shape = _Shape(layout.match(), self._compile(layout))
        except Unshaped:
            return
        self._shapes.insert(0, shape)
        del self._shapes[_MOST_SHAPES:]
