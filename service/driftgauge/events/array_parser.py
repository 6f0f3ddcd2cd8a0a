"""Parsing of JSON texts with one long array of numbers by simdjson, which leaves the numbers as doubles.

That takes half the time of a parser that makes a Python float of every number. simdjson reads strict JSON as
orjson does, but refuses whole numbers beyond 64 bits and the 1,024th level of nesting. It skips a byte order
mark, finds the first of duplicate names, and flattens nested arrays: such texts are left to orjson.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

__all__ = ["IS_AVAILABLE", "ArrayParser"]

IS_AVAILABLE = find_spec("simdjson") is not None
"""Whether simdjson is installed; it is an extra."""

_BYTE_ORDER_MARK = 0xEF  # its first byte; no other text of JSON begins so

# simdjson looks for each name from the first member on; with more of them orjson is as fast.
_MOST_NAMES = 32

# A text of nothing but brackets would take a hundred times the time of orjson.
_MOST_ARRAYS = 64

# Of a topic of texts without an array, which are all parsed again, only every 32nd is looked at.
_SKIPPED = 31


class ArrayParser:
    """Parses JSON texts with an array at a path of names; one thread's, because simdjson's parser is."""

    def __init__(self, path: Sequence[str]) -> None:
        from simdjson import Array, Object, Parser  # noqa: PLC0415 - an extra

        self._array, self._object = Array, Object
        self._parser: Any = Parser()
        self._path = path
        # The names in each object on the path, in the last text: those of a topic seldom change.
        self._names: list[list[str]] = [[] for _ in path]
        self._to_skip = 0

    def parse(self, raw: bytes) -> Any | None:
        """Return the object of a text, with the array as a view of doubles.

        Returns:
            None where there is no flat array of numbers at the path, where orjson may read the text
            otherwise, and for some texts after such a one.
        """
        if self._to_skip:
            self._to_skip -= 1
            return None
        try:
            document = self._read(self._parser.parse(raw), 0)
            second = raw.find(b"[", raw.find(b"[") + 1)
            if raw[0] != _BYTE_ORDER_MARK and (second < 0 or not _may_nest_arrays(raw)):
                return document
        # What simdjson raises for texts, without documenting it, and what is raised here.
        except (ValueError, TypeError, RuntimeError):
            pass
        self._to_skip = _SKIPPED
        return None

    def _read(self, found: Any, level: int) -> dict[str, Any]:
        """Return an object on the path; its values do not need the parser any more.

        Raises:
            ValueError, TypeError: The text is for orjson.
        """
        array, object_ = self._array, self._object
        if type(found) is not object_:
            raise TypeError
        own, names = self._path[level], self._names[level]
        if len(names) != len(found):
            names = self._learn_names(found, level)
        members: dict[str, Any] = {}
        try:
            # Where as many names are found, none is there twice.
            for name in names:
                value = members[name] = found[name]
                if type(value) is object_ and name != own:
                    members[name] = value.as_dict()
                elif type(value) is array and name != own:
                    members[name] = value.as_list()
        except KeyError:
            self._learn_names(found, level)
            return self._read(found, level)
        value = members.get(own)
        if level + 1 < len(self._path):
            members[own] = self._read(value, level + 1)
        elif type(value) is array:
            members[own] = memoryview(value.as_buffer(of_type="d")).cast("d")
        else:
            raise TypeError
        return members

    def _learn_names(self, found: Any, level: int) -> list[str]:
        """Return the names in an object, and expect them in the next text.

        Raises:
            ValueError: There are too many, or one is there twice.
        """
        names = list(found) if len(found) <= _MOST_NAMES else []
        if not names or len(set(names)) < len(names):
            raise ValueError
        self._names[level] = names
        return names


def _may_nest_arrays(raw: bytes) -> bool:
    """Return whether an array may be within another one; brackets in strings count."""
    start = raw.find(b"[")
    for _ in range(_MOST_ARRAYS):
        following = raw.find(b"[", start + 1)
        if following < 0:
            return False
        if raw.find(b"]", start, following) < 0:
            return True
        start = following
    return True
