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
from itertools import islice
from typing import Any

import orjson

__all__ = ["IS_AVAILABLE", "ArrayParser"]

IS_AVAILABLE = find_spec("simdjson") is not None
"""Whether simdjson is installed; it is an extra."""

# Each try parses the whole text, so a text with many arrays of the name, made to be slow, is left to orjson.
_MOST_TRIES = 3

# The value in place of the array; a producer cannot know it.
_PLACEHOLDER = secrets.token_hex(16)
_QUOTED = f'"{_PLACEHOLDER}"'.encode()


class ArrayParser:
    """Parses JSON texts with an array at a path of names; one thread's, because simdjson's parser is."""

    def __init__(self, names: Sequence[str]) -> None:
        import simdjson  # noqa: PLC0415 - an extra

        *self._parents, self._name = names
        self._pattern = re.compile(re.escape(orjson.dumps(self._name)) + rb"[ \t\n\r]*:[ \t\n\r]*\[")
        self._parser: Any = simdjson.Parser()
        self._index = 0  # of the last array at the path, among all of its name

    def parse(self, raw: bytes) -> Any | None:
        """Return the value of a text, with the array as the bytes of little-endian doubles.

        Returns:
            None where none of the first three arrays of the name is a flat array of numbers at the path, or
            the text may be no JSON.
        """
        ends = [found.end() for found in islice(self._pattern.finditer(raw), _MOST_TRIES)]
        # A change of a row holds it before and after: what was right last time is tried first.
        for index in sorted(range(len(ends)), key=lambda index: index != self._index):
            document = self._parse(raw, ends[index] - 1)
            if document is not None:
                self._index = index
                return document
        return None

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
