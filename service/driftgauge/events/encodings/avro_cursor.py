"""Cursors over Avro records: Python compiled from a writer's schema, for what one mapping reads.

A cursor passes over the bytes of a record once, and makes objects only of what the mapping reads. It refuses
no record: if it is not sure it raises any exception, and fastavro judges the record. It is sure only of
what fastavro accepts, with the same values. The code holds numbered names alone; what comes from a schema is
the value of such a name.
"""

import re
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeAlias

from fastavro.read import LOGICAL_READERS

from driftgauge.events.needs import Kind, Need
from driftgauge.events.schemas import PAYLOAD
from driftgauge.events.timestamps import LAST_MS

__all__ = ["NOT_SURE", "Cursor", "compile_cursor", "never_sure"]

Cursor: TypeAlias = Callable[[bytes], Any]
"""Returns the value of a record without what the mapping does not read of it. Raises if it is not sure."""

# A line takes some 30 us to compile. Python nests 20 loops at most.
_MOST_LINES = 1_000
_DEEPEST = 16
_MOST_BRANCHES = 64

_SIZES = {"boolean": 1, "float": 4, "double": 8}
# The numbers that fastavro certainly takes for a time, by type and logical type.
_RANGES = {
    "long-timestamp-millis": LAST_MS,
    "long-timestamp-micros": LAST_MS * 1_000,
    "long-local-timestamp-millis": LAST_MS,
    "long-local-timestamp-micros": LAST_MS * 1_000,
    "int-date": 1_000_000,
    "int-time-millis": 86_399_999,
    "long-time-micros": 86_399_999_999,
}
# fastavro accepts other spellings too, and makes this one of them.
_UUID = re.compile(b"-".join(b"[0-9a-f]{%d}" % size for size in (8, 4, 4, 4, 12)))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_SHIFTS = range(7, 63, 7)
_MORE = 0x80  # the bit of all bytes of a varint but the last

_NUMBER = """\
n = r[p]
if n > 127: p, n = varint(r, p)
p += 1
"""
# `e` becomes the end of what follows. An odd number is a negative length. Most of more than a byte have two.
_LENGTH = """\
n = r[p]
p += 1
if n & 129:
 if n & 1: raise Unsure
 b = r[p]
 if b > 127: p, n = varint(r, p - 1)
 else: n += b - 1 << 7
 p += 1
e = p + (n >> 1)
"""
# `c` becomes the number of a block's items. A negative one stands before the block's size in bytes. Items
# take a byte at least, so more cannot be there.
_COUNT = """\
c = r[p]
if c > 127:
 p += 1
 b = r[p]
 if b < 128: c += b - 1 << 7
 else: p, c = varint(r, p - 1)
p += 1
if not c: break
if c & 1:
 while r[p] > 127: p += 1
 p += 1
 c += 1
if c > m: raise Unsure
c >>= 1
"""


class _Unsure(Exception):  # noqa: N818 - a finding, not a fault
    """A schema has no cursor, or a cursor is not sure of a record."""


NOT_SURE = (_Unsure, IndexError, OverflowError, TypeError, ValueError, struct.error)
"""What a cursor raises for a record that fastavro must judge."""


def compile_cursor(schema: Any, named: Mapping[str, Any], need: Need) -> Cursor:
    """Return the cursor of a schema as fastavro has parsed it, which is not recursive.

    A cursor is never sure if the schema nests too deep, is too long or has an unknown form.

    Args:
        schema: The schema.
        named: Its named types.
        need: What the mapping reads of a value.
    """
    try:
        return _Code(named).compile(schema, need)
    except (_Unsure, RecursionError):
        return never_sure


class _Code:
    """The code of a cursor. `r` is the record, `p` the position, `m` the most items of a block, doubled."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._lines: list[str] = []
        self._depth = 1
        self._numbers = count()
        self._namespace: dict[str, object] = {
            "Unsure": _Unsure,
            "varint": _read_varint,
            "time": _to_datetime,
            "is_uuid": _UUID.fullmatch,
            "view": memoryview,
            "float": struct.Struct("<f").unpack_from,
            "double": struct.Struct("<d").unpack_from,
        }

    def compile(self, schema: Any, need: Need) -> Cursor:
        """Return the cursor of a schema.

        Raises:
            _Unsure: There is none; see `compile_cursor`.
        """
        value = self._variable()
        self._add_value(schema, need, value)
        # The position never goes back, so one check at the end shows whether all that was read is there.
        start = f"def read(r):\n p = {PAYLOAD}\n m = 2 * len(r)\n"
        # A value without fields is None here, whatever it is.
        end = f" if p != len(r) or {value} is None: raise Unsure\n return {value}\n"
        exec(f"{start}{''.join(self._lines)}{end}", self._namespace)  # noqa: S102 - it holds no text of others
        read: Cursor = self._namespace["read"]  # type: ignore[assignment]
        return read

    def _add(self, lines: str) -> None:
        self._lines += [" " * self._depth + line + "\n" for line in lines.splitlines()]
        if len(self._lines) > _MOST_LINES:
            raise _Unsure

    @contextmanager
    def _block(self, head: str) -> Iterator[None]:
        self._add(head)
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _Unsure
        yield
        self._add("pass")
        self._depth -= 1

    def _constant(self, value: object) -> str:
        name = f"k{next(self._numbers)}"
        self._namespace[name] = value
        return name

    def _variable(self) -> str:
        return f"v{next(self._numbers)}"

    def _resolve(self, schema: Any) -> Any:
        """Return a type that is no union as the object that describes it."""
        return self._named.get(schema) or {"type": schema} if isinstance(schema, str) else schema

    def _add_value(self, schema: Any, need: Need | None, target: str) -> None:
        """Add the code that passes a value.

        Args:
            schema: The type.
            need: What the mapping reads of the value; None: nothing.
            target: The variable for what is read.
        """
        if isinstance(schema, list):
            self._add_union(schema, need, target)
            return
        schema = self._resolve(schema)
        kinds = set() if need is None else need.kinds
        match schema["type"]:
            case "record" | "error":
                self._add_record(schema, need, target)
            case "array":
                self._add_array(schema["items"], need, target)
            case "map":
                self._add_map(schema["values"], need, target)
            case str() as kind:
                value = self._add_leaf(kind, schema, kinds)
                if need is not None:
                    # A path that goes on below a leaf finds nothing.
                    self._add(f"{target} = {value if kinds else None}")
                self._add("p = e" if kind in {"float", "double", "string", "bytes", "fixed"} else "")
            case _:
                raise _Unsure

    def _add_union(self, branches: list[Any], need: Need | None, target: str) -> None:
        if len(branches) > _MOST_BRANCHES:
            # The number of a branch would have two bytes.
            raise _Unsure
        self._add("b = r[p]\np += 1\nif b & 1: raise Unsure")
        for i, branch in enumerate(branches):
            with self._block(f"elif b == {2 * i}:"):
                self._add_value(branch, need, target)
        self._add("else: raise Unsure")

    def _add_record(self, schema: Any, need: Need | None, target: str) -> None:
        fields = {field["name"]: field["type"] for field in schema["fields"]}
        if len(fields) < len(schema["fields"]):
            # Of two fields with one name the last one counts.
            raise _Unsure
        read = {} if need is None else need.fields
        variables = {name: self._variable() for name in fields if name in read}
        for name, kind in fields.items():
            self._add_value(kind, read.get(name), variables.get(name, ""))
        members = ", ".join(f"{self._constant(name)}: {variable}" for name, variable in variables.items())
        if need is not None:
            self._add("raise Unsure" if need.kinds else f"{target} = {{{members}}}")

    def _add_array(self, items: Any, need: Need | None, target: str) -> None:
        inner = None if need is None else need.of_items()
        kind = None if isinstance(items, list) else self._resolve(items)["type"]
        size = _SIZES.get(kind) if isinstance(kind, str) else None
        is_list = inner is not None
        variable = self._variable()
        if need is not None:
            self._add(f"{target} = {[] if is_list else None}")
        with self._block("while True:"):
            self._add(_COUNT)
            if size is None or (is_list and kind == "boolean"):
                with self._block("for _ in range(c):"):
                    self._add_value(items, inner, variable)
                    self._add(f"{target}.append({variable})" if is_list else "")
            else:
                self._add(
                    f"e = p + {size} * c\n" + (f"{target}.append(r[p:e])\n" if is_list else "") + "p = e"
                )
        if is_list and kind in {"float", "double"}:
            as_list = "" if need is not None and need.kinds == {"vector"} else ".tolist()"
            self._add(f'{target} = view(b"".join({target})).cast("{kind[0]}"){as_list}')

    def _add_map(self, values: Any, need: Need | None, target: str) -> None:
        if need is not None:
            self._add("raise Unsure" if need.kinds else f"{target} = {{}}")
        with self._block("while True:"):
            self._add(_COUNT)
            with self._block("for _ in range(c):"):
                self._add(f"{_LENGTH}k = r[p:e].decode()\np = e")
                for name, inner in need.fields.items() if need is not None else ():
                    key, variable = self._constant(name), self._variable()
                    with self._block(f"if k == {key}:"):
                        self._add_value(values, inner, variable)
                        self._add(f"{target}[{key}] = {variable}\ncontinue")
                self._add_value(values, None, "")

    def _add_leaf(self, kind: str, schema: Any, kinds: Collection[Kind]) -> str:
        """Add the code that passes a value without inner types, or finds its end; return what gives it.

        Without kinds nothing is read of it.
        """
        logical = schema.get("logicalType")
        full = f"{kind}-{logical}"
        # A UUID is no vector, though its text may be one in base64.
        is_known = full in _RANGES or (full == "string-uuid" and "vector" not in kinds)
        if full in LOGICAL_READERS and not is_known:
            raise _Unsure
        value = "r[p:e]"
        match kind:
            case "null":
                value = "None"
            case "boolean":
                self._add("b = r[p]\np += 1")
                value = "b != 0"
            case "float" | "double":
                self._add(f"e = p + {_SIZES[kind]}")
                value = f"{kind}(r, p)[0]"
            case "int" | "long":
                value = self._add_number(full, kinds)
            case "string":
                value += ".decode()"
                # fastavro refuses what is no UUID or not UTF-8, read or not.
                check = (
                    "if not is_uuid(r, p, e): raise Unsure" if logical == "uuid" else "" if kinds else value
                )
                self._add(_LENGTH + check)
            case "bytes":
                self._add(_LENGTH)
            case "fixed":
                size = schema["size"]
                if type(size) is not int or size < 0:
                    # The position would go back.
                    raise _Unsure
                self._add(f"e = p + {size}")
            case "enum":
                symbols = schema["symbols"]
                self._add(f"{_NUMBER}if n & 1 or n >= {2 * len(symbols)}: raise Unsure")
                value = f"{self._constant(symbols)}[n >> 1]"
            case _:
                raise _Unsure
        return value

    def _add_number(self, logical: str, kinds: Collection[Kind]) -> str:
        """Add the code that passes a whole number; return what gives its value."""
        most = _RANGES.get(logical)
        if not kinds and most is None:
            self._add("while r[p] > 127: p += 1\np += 1")
            return ""
        self._add(f"{_NUMBER}n = n >> 1 ^ -(n & 1)")
        if most is None:
            return "n"
        self._add(f"if not 0 <= n <= {most}: raise Unsure")
        if kinds and not logical.startswith("long-timestamp"):
            # A date or a time of the day is neither an event time nor a text, and a local time has no offset.
            self._add("raise Unsure")
        is_micros = logical.endswith("micros")
        if kinds == {"ms"}:
            return "n // 1000" if is_micros else "n"
        return "time(n)" if is_micros else "time(n * 1000)"


def never_sure(_: bytes) -> object:
    """Be the cursor of a schema that has none."""
    raise _Unsure


def _read_varint(raw: bytes, start: int) -> tuple[int, int]:
    """Return the position of the last byte of a varint of over one, and its number without a sign.

    Raises:
        _Unsure: It has more than 63 bits.
        IndexError: The bytes end within it.
    """
    position, number = start, raw[start] - _MORE
    for shift in _SHIFTS:
        position += 1
        byte = raw[position]
        if byte < _MORE:
            return position, number | byte << shift
        number |= byte - _MORE << shift
    raise _Unsure


def _to_datetime(time_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_us)
