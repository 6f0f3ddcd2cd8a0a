"""Layouts: how the values of records are built, as a walk over the bytes of one of them finds it."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, TypeAlias

from driftgauge.config.inputs import InputSettings, Source
from driftgauge.config.paths import parse_path
from driftgauge.events.sources import Getter, compile_source, read_time
from driftgauge.events.varints import read_varint, to_varint
from driftgauge.events.vectors import VectorFormat, to_format

__all__ = ["VARINT", "Convert", "Kind", "Layout", "Learner", "Path", "UnusualLayout", "path_of"]

Path: TypeAlias = tuple[str | None, ...]
"""The names from the root of a value to a field; None for the items of a list, which no mapped path has."""

Kind: TypeAlias = Literal["text", "time", "vector", "same"]
"""What the mapping makes of a field; `same`: it is on a condition, which holds for all values of a layout."""

Convert: TypeAlias = Callable[[bytes], object] | None
"""Returns a field, given its bytes, or raises ValueError where it is not sure of them; None: the bytes."""

VARINT = b"[\x80-\xff]{0,8}+[\x00-\x7f]"
"""The pattern of a varint of 63 bits: its number is the same for every library, and not negative."""

_LONGEST_VARINT = 9
# A literal takes long to compile; varints and the keys of maps are shorter.
_LONGEST_LITERAL = 64
_MOST_PARTS = 128
# A text of varying length is a choice of all lengths, which takes some 6 ms to compile.
_MOST_LENGTHS = 256
_MOST_TEXTS = 16
_LONG = 0x80  # the least first byte of a varint of two bytes


class UnusualLayout(Exception):  # noqa: N818 - a finding, not a fault
    """A value has fields that patterns do not know, so its layout has none."""


class Layout:
    """The layout of a value, as a walk over its bytes finds it: the pattern of each part, in their order.

    All methods that pass bytes raise UnusualLayout where the layout has too many parts, or unusual ones.

    Attributes:
        raw: The value.
        position: Where the walk is.
        kinds: What the mapping reads, by path.
        time: Where the mapping reads the time, with the unit of a number.
        number: The format of the vector's numbers.
        checks: The groups of texts that are not read, each with the function that raises ValueError where it
            is not sure of them.
    """

    def __init__(self, raw: bytes, kinds: Mapping[Path, Kind], settings: InputSettings) -> None:
        self.raw = raw
        self.position = 0
        self.kinds = kinds
        self.time = settings.timestamp
        self.number: VectorFormat = to_format(settings.vectors[0].embedding)
        self.checks: list[tuple[int, Callable[[bytes], object]]] = []
        self._parts: list[bytes] = []
        self._groups = 0
        self._texts = 0  # of varying length
        self._fields: dict[Path, tuple[int, Convert]] = {}
        self._found: set[Path] = set()
        self._entered: set[Path] = set()

    def enter(self, path: Path) -> None:
        """Begin a field that must be there only once: of two the last one counts, or both are merged.

        Raises:
            UnusualLayout: It is there twice.
        """
        if None not in path:
            if path in self._entered:
                raise UnusualLayout
            self._entered.add(path)

    def take(self, size: int) -> bytes:
        """Pass bytes that are the same in all values of the layout, and return them."""
        if size > _LONGEST_LITERAL:
            raise UnusualLayout
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
        converts: Mapping[Kind, Convert] = MappingProxyType({}),
        pattern: bytes = b"",
    ) -> None:
        """Pass the bytes of a field, which differ between the values of the layout.

        Args:
            size: Their number in this value.
            path: The field.
            converts: What the mapping may make of such a field, each with the function that returns it.
            pattern: Their pattern; by default any bytes of this number.
        """
        pattern = pattern or b".{%d}" % size
        kind = self.kinds.get(path)
        if kind is not None and path in self._found:
            raise UnusualLayout
        self._found.add(path)
        if kind == "same":
            self.take(size)
        elif kind is None:
            self._add(size, pattern)
        elif kind in converts:
            self._fields[path] = self._add_group(size, pattern), converts[kind]
        else:
            raise UnusualLayout

    def add_text(self, path: Path, unit: int = 1, *, varies: bool, fewest: int = 0) -> None:
        """Pass a text in UTF-8, and its length before it.

        Args:
            path: The field.
            unit: The number of the varint of a length of one byte.
            varies: Whether texts of other lengths belong to the layout too.
            fewest: The bytes of the shortest text.
        """
        number, prefix = self._read_varint()
        size = number // unit
        if size < fewest or number % unit:
            raise UnusualLayout
        convert: Callable[[bytes], str] = bytes.decode
        pattern = b".{%d}" % size
        if varies and size < _MOST_LENGTHS:
            self._texts += 1
            if self._texts > _MOST_TEXTS:
                raise UnusualLayout
            size += prefix
            convert, pattern = _read_text, _text_pattern(unit, fewest)
        else:
            self.take(prefix)
        if path in self.kinds:
            time = self.time
            self.add(
                size, path, {"text": convert, "time": lambda raw: read_time(time, convert(raw))}, pattern
            )
        else:
            # The libraries refuse what is not UTF-8.
            self.checks.append((self._add_group(size, pattern), convert))

    def add_bytes(self, size: int, path: Path) -> None:
        """Pass bytes of any kind."""
        self.add(size, path, {"text": bytes.decode, "vector": None})

    def _add_group(self, size: int, pattern: bytes) -> int:
        self._add(size, b"(%b)" % pattern)
        self._groups += 1
        return self._groups - 1

    def _add(self, size: int, pattern: bytes) -> None:
        if size < 0 or len(self._parts) == _MOST_PARTS:
            raise UnusualLayout
        self._parts.append(pattern)
        self.position += size

    def _read_varint(self) -> tuple[int, int]:
        try:
            number, end = read_varint(self.raw, self.position, _LONGEST_VARINT)
        except ValueError:
            raise UnusualLayout from None
        return number, end - self.position

    def match(self) -> Callable[[bytes], re.Match[bytes] | None]:
        """Return the function that matches whole values."""
        return re.compile(b"".join(self._parts), re.DOTALL).fullmatch

    def has(self, source: Source) -> bool:
        """Return whether a field of the mapping was found, or is not in the value."""
        return source.path is None or path_of(source.path) in self._found

    def getter(self, source: Source) -> Getter:
        """Return the function that gets a field of the mapping, given the groups of a match as the value."""
        if source.path is None:
            return compile_source(source)
        found = self._fields.get(path_of(source.path))
        if found is None:
            return lambda record, groups: None
        group, convert = found
        if convert is None:
            return lambda record, groups: groups[group]  # type: ignore[index]
        return lambda record, groups: convert(groups[group])  # type: ignore[index]


Learner: TypeAlias = Callable[[Layout], None]
"""Walks over the bytes of a value that was decoded. Raises UnusualLayout."""


def path_of(path: str) -> Path:
    """Return the names in a path of the configuration."""
    return tuple(step for step in parse_path(path) if isinstance(step, str))


@lru_cache
def _text_pattern(unit: int, fewest: int) -> bytes:
    """Return the pattern of a text and its length, see `Layout.add_text`."""
    lengths = (
        b"%b.{%d}" % (re.escape(to_varint(unit * size)), size) for size in range(fewest, _MOST_LENGTHS)
    )
    return b"(?:" + b"|".join(lengths) + b")"


def _read_text(raw: bytes) -> str:
    """Return a text without its length of one or two bytes."""
    return raw[1 if raw[0] < _LONG else 2 :].decode()
