"""Parsing of JSON texts with one long array of numbers: simdjson reads the array, orjson the short rest.

Together they take half the time of a parser that makes a Python float of every number. The array's place is
found without a parse. In JSON, the quote before a name either starts a string or is escaped within one, and
the quote after the name ends that string. What follows the colon is then a value, so the text with a
placeholder in its place is JSON exactly if the text is. And that value is the one looked for, not that of a
nested object, of a duplicate or of a longer name, if the placeholder stands where the value is expected.
"""

import re
import secrets
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import orjson

__all__ = ["IS_AVAILABLE", "ArrayParser"]

IS_AVAILABLE = find_spec("simdjson") is not None
"""Whether simdjson is installed; it is an extra."""

# Each try parses the whole text, so a text with many arrays of the name, made to be slow, is left to orjson.
_MOST_TRIES = 3

# To look for an array takes a quarter of what a text with base64 takes. Of a topic of such texts only every
# 32nd is looked at.
_SKIPPED = 31

# The value in place of the array; a producer cannot know it.
_PLACEHOLDER = secrets.token_hex(16)
_QUOTED = f'"{_PLACEHOLDER}"'.encode()


class ArrayParser:
    """Parses JSON texts with an array at a path of names; one thread's, because simdjson's parser is."""

    def __init__(self, names: Sequence[str]) -> None:
        import simdjson  # noqa: PLC0415 - an extra

        *self._parents, self._name = names
        self._quoted = orjson.dumps(self._name)
        self._to_array = re.compile(rb"[ \t\n\r]*:[ \t\n\r]*\[")
        self._parser: Any = simdjson.Parser()
        # The arrays of the name, in the order of tries: what was right last time first. A change of a row
        # holds the array before and after.
        self._order = list(range(_MOST_TRIES))
        self._to_skip = 0

    def parse(self, raw: bytes) -> Any | None:
        """Return the value of a text, with the array as the bytes of little-endian doubles.

        Returns:
            None where none of the first three arrays of the name is a flat array of numbers at the path,
            where the text may be no JSON, and for some texts after one without such an array.
        """
        if self._to_skip:
            self._to_skip -= 1
            return None
        for index in self._order:
            start = self._find(raw, index)
            if start >= 0 and (document := self._parse(raw, start)) is not None:
                if index != self._order[0]:
                    self._order.sort(key=index.__ne__)
                return document
        self._to_skip = _SKIPPED
        return None

    def _find(self, raw: bytes, index: int) -> int:
        """Return the start of one of the arrays of the name; -1 where there are not as many."""
        at = -1
        # Searching for bytes takes a fraction of searching for a pattern.
        while (at := raw.find(self._quoted, at + 1)) >= 0:
            found = self._to_array.match(raw, at + len(self._quoted))
            if found is not None:
                if not index:
                    return found.end() - 1
                index -= 1
        return -1

    def _parse(self, raw: bytes, start: int) -> Any | None:
        end = raw.find(b"]", start) + 1
        try:
            # A nested array is cut at the first bracket, and is then no array.
            array = self._parser.parse(raw[start:end])
            numbers = memoryview(array.as_buffer(of_type="d"))
            # The parser refuses the next text while the array of the last one exists.
            del array
            document = orjson.loads(b"".join((raw[:start], _QUOTED, raw[end:])))
        # A number beyond 64 bits or a double's range, which orjson may judge otherwise, is a RuntimeError.
        except (ValueError, TypeError, RuntimeError):
            return None
        parent = document
        for name in self._parents:
            parent = parent.get(name) if type(parent) is dict else None
        if type(parent) is not dict or parent.get(self._name) != _PLACEHOLDER:
            return None
        parent[self._name] = numbers
        return document
