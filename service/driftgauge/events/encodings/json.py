"""JSON, whose arrays of numbers become doubles without a Python object of each number."""

from collections.abc import Callable, Sequence
from secrets import token_hex
from typing import Any, TypeAlias

import orjson
from simdjson import Parser

from driftgauge.config.inputs import InputSettings
from driftgauge.config.paths import Every, Step, parse_path
from driftgauge.events.encodings.encoding import Encoding
from driftgauge.events.needs import Need, find_needs
from driftgauge.events.records import RawRecord
from driftgauge.events.rejection import EventError, Reason
from driftgauge.events.sources import compile_steps
from driftgauge.events.vectors import MOST_VECTORS

__all__ = ["build", "compile_parser", "read_json"]

Parse: TypeAlias = Callable[[bytes], object]
"""Returns the value of a JSON text. Raises EventError if it is not strict JSON."""

# No text has it by chance, nor can a producer know it.
_MARK = token_hex(8)
_QUOTED = orjson.dumps(_MARK)
_BRACKET = ord("[")
_DIGITS = b"0123456789"
# A text of nothing but brackets would take a hundred times the time of orjson.
_MOST_BRACKETS = 2 * MOST_VECTORS
# What simdjson raises, without documenting it, and what the steps of a path raise.
_NOT_SURE = (ValueError, LookupError, TypeError, RuntimeError, AttributeError, EventError)


class _Json(Encoding):
    def __init__(self, settings: InputSettings) -> None:
        self._parse = compile_parser(settings)

    def decode(self, record: RawRecord) -> object:
        """Return the JSON value of a record."""
        return read_json(record.value() or b"")

    def decode_mapped(self, record: RawRecord) -> object:
        """Return the JSON value of a record, with views as vectors."""
        return self._parse(record.value() or b"")


def build(settings: InputSettings, _: object) -> Encoding:
    """Return the encoding for a mapping."""
    return _Json(settings)


def read_json(raw: bytes) -> object:
    """Return the JSON value of a text.

    Raises:
        EventError: The text is not strict JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise EventError(Reason.UNDECODABLE, str(error)) from None


def compile_parser(settings: InputSettings, start: int = 0) -> Parse:
    """Return the function that parses texts for a mapping, with views of doubles as vectors.

    The texts are what the first `start` steps of the vector's path lead to.

    It cuts the arrays of numbers behind a vector's name out of the text, and orjson parses the rest: each
    array is parsed by simdjson, in half the time. orjson parses the whole text if an array is not surely
    one of numbers, or if the mapping reads a vector's name in another way as well.
    """
    paths = {vector.embedding.path for vector in settings.vectors}
    steps = [step for path in paths if path is not None for step in parse_path(path)]
    if steps and steps[-1] == Every():
        steps.pop()
    name = steps.pop() if len(paths) == 1 and steps else None
    if not isinstance(name, str) or not all(map(_is_vector, _find_named(find_needs(settings), name))):
        return read_json
    return _Cutter(steps[start:], name).parse


def _find_named(need: Need, name: str) -> list[Need]:
    """Return what a mapping reads of the fields of a name."""
    inner = [*need.fields.values(), *([need.items] if need.items else [])]
    found = [need.fields[name]] if name in need.fields else []
    return found + [each for below in inner for each in _find_named(below, name)]


def _is_vector(need: Need) -> bool:
    items = need.items or Need()
    return {*need.kinds, *items.kinds} == {"vector"} and not (need.fields or items.fields or items.items)


class _Cutter:
    """Parses texts of which it cuts arrays out.

    simdjson reads strict JSON as orjson does, but refuses whole numbers beyond 64 bits, and flattens nested
    arrays. A mark stands in the place of each array until it is parsed. Each of several is a list as deep as
    the array, and stays where the path to the vector does not lead: no field can be read from it either.
    """

    def __init__(self, owner: Sequence[Step], name: str) -> None:
        start = owner.index(Every()) if Every() in owner else None
        self._to_list = None if start is None else compile_steps(owner[:start])
        own = owner if start is None else owner[start + 1 :]
        self._to_owner = compile_steps(own) if own else None
        self._name = name
        # As most serializers write them, the last as Jackson's pretty printer; others are left to orjson.
        self._keys = tuple(orjson.dumps(name) + colon for colon in (b":", b": ", b" : "))
        self._array: Callable[[bytes], Any] = Parser().parse

    def parse(self, raw: bytes) -> object:
        """Return the value of a text; raise EventError if it is not strict JSON."""
        start = raw.find(b"[")
        try:
            if (
                start >= 0
                and raw.rfind(b"[") == start
                and raw.endswith(self._keys, 0, start)
                # A vector is long, and mostly near the end. Its bracket follows a number.
                and raw[(last := raw.rindex(b"]")) - 1] in _DIGITS
            ):
                # The usual text has one array. In place, because a call takes as long as a field.
                end = last + 1
                array = self._array(raw[start:end])
                numbers = memoryview(array.as_buffer(of_type="d")).cast("d")
                value: Any = orjson.loads(b"".join((raw[:start], _QUOTED, raw[end:])))
                owner: Any = self._to_owner(value) if self._to_owner else value
                if owner[self._name] == _MARK:
                    owner[self._name] = numbers
                    return value
            elif start >= 0:
                return self._parse_arrays(raw, start)
        except _NOT_SURE:
            pass
        return read_json(raw)

    def _parse_arrays(self, raw: bytes, start: int) -> object:
        """Return the value of a text with several arrays, the first at an offset; raise if it is not sure."""
        end = 0
        cuts: list[object] = []
        pieces: list[bytes] = []
        for _ in range(_MOST_BRACKETS):
            after = start + 1
            if raw.endswith(self._keys, 0, start):
                depth = 2 if raw[after] == _BRACKET else 1
                after = raw.index(b"]" * depth, start) + depth
                pieces += raw[end:start], b"%b%b,%d%b" % (b"[" * depth, _QUOTED, len(cuts), b"]" * depth)
                cuts.append(self._read(raw[start:after], depth))
                end = after
            start = raw.find(b"[", after)
            if start < 0:
                break
        if start >= 0 or not cuts:
            raise ValueError
        value = orjson.loads(b"".join([*pieces, raw[end:]]))
        self._fill(value, cuts)
        return value

    def _read(self, text: bytes, depth: int) -> Any:
        """Return the numbers of an array, or of each array in it; raise an error if it is not sure."""
        array = self._array(text)
        arrays = [array] if depth == 1 else [*array]
        # Behind a space arrays may nest deeper. To count takes ten times as long as to replace.
        if depth > 1 and len(text) - len(text.replace(b"[", b"")) > len(arrays) + 1:
            raise ValueError
        found = [memoryview(each.as_buffer(of_type="d")).cast("d") for each in arrays]
        return found[0] if depth == 1 else found

    def _fill(self, value: Any, cuts: Sequence[object]) -> None:
        """Put numbers in the place of their marks; raise an error if an item of the list has no vector."""
        for item in (value,) if self._to_list is None else self._to_list(value):  # type: ignore[attr-defined]
            owner: Any = self._to_owner(item) if self._to_owner else item
            mark = owner[self._name]
            if type(mark) is list and len(mark) == 1:
                (mark,) = mark
            if mark[0] == _MARK:
                owner[self._name] = cuts[mark[1]]
