"""Values of records: their fields with the paths to them, and which of them hold vectors."""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from driftgauge.config.paths import NAME
from driftgauge.events.encodings.json import read_json
from driftgauge.events.messages import field_getter, timestamp_ms
from driftgauge.events.rejection import EventError
from driftgauge.events.vectors import VectorFormat, first_vector

__all__ = ["MOST_ITEMS", "measure_vector", "walk"]

MOST_ITEMS = 8
"""The items of a list that are looked at."""

_MOST_DEPTH = 16
# A list of fewer numbers is rather a shape or a place on a map.
_LEAST_LISTED, _LEAST_IN_BYTES = 4, 8
_LARGEST = 1e6
# The deviation of the magnitudes of a vector's numbers, in decades; that of bytes of another type is larger.
_MOST_DECADES = 2.0
# Bytes of bf16 also fit f32, which reads every second number, and f16, which reads a tenth of the decades.
_PREFERENCE = {"f32": 0.0, "bf16": -0.3, "f16": 0.3, "f64": 0.0}


def walk(
    value: object, path: str = "", depth: int = 0, unnamed: Collection[str] = ()
) -> Iterator[tuple[str, object]]:
    """Yield the paths and values of all fields; a list that holds objects is none, nor is a text of JSON.

    The first items of a list of objects have the path of every item, one after the other; within the item of
    another list each has the path of its index. If each item has a name of its own, it has the path of
    that name, but in the lists of the paths `unnamed`.
    """
    descriptor: Any = getattr(value, "DESCRIPTOR", None)
    steps: list[tuple[str, object]] = []
    if isinstance(value, str) and value.startswith("{"):
        with suppress(EventError):
            value, path = read_json(value.encode()), f"{path}[json]"
    if isinstance(value, Mapping):
        names = {str(name): each for name, each in value.items() if '"' not in str(name)}
        steps = [(n if re.fullmatch(NAME, n) else f'["{n}"]', each) for n, each in names.items()]
    elif descriptor is not None and timestamp_ms(value) is None:
        steps = [(each.name, field_getter(type(value), each.name)(value)) for each in descriptor.fields]
    elif isinstance(value, list) and value and (hasattr(value[0], "DESCRIPTOR") or type(value[0]) is dict):
        steps = list(_walk_items(value, is_within="[*]" in path, can_be_named=path not in unnamed))
    else:
        yield path, value
    for step, each in steps if depth < _MOST_DEPTH else ():
        inner = path + step if step[0] == "[" or not path else f"{path}.{step}"
        yield from walk(each, inner, depth + 1, unnamed)


def _walk_items(items: list[Any], *, is_within: bool, can_be_named: bool) -> Iterator[tuple[str, object]]:
    """Yield the step to each of the first items of a list of objects, and the item."""
    names = [field_getter(type(each), "name")(each) for each in items]
    are_names = all(isinstance(name, str) and re.fullmatch(r"[^\]]+", name) for name in names)
    if can_be_named and are_names and len(set(names)) == len(names):
        yield from zip([f"[name={name}]" for name in names[:MOST_ITEMS]], items, strict=False)
        return
    for index, each in enumerate(items[:MOST_ITEMS]):
        yield f"[{index}]" if is_within else "[*]", each


def measure_vector(value: object) -> tuple[int, str | None] | None:
    """Return how many numbers a vector has, and their type in bytes; None for what is no vector."""
    first = first_vector(value)
    if first is None or isinstance(first, list):
        return (len(first), None) if first is not None and len(first) >= _LEAST_LISTED else None
    raw, fits = bytes(first), []
    for dtype, preference in _PREFERENCE.items():
        number = VectorFormat(dtype)  # type: ignore[arg-type]
        if len(raw) % number.size == 0 and len(raw) >= _LEAST_IN_BYTES * number.size:
            read = np.abs(number.to_float32(raw))
            sizes = read[read > 0]
            is_plausible = len(sizes) and read.max() < _LARGEST
            decades = np.log10(sizes, dtype=np.float64).std() if is_plausible else np.inf
            if decades < _MOST_DECADES:
                # Where f32 has round numbers, every second one of bf16 is zero.
                fits.append((decades + preference - len(sizes) / len(read), len(read), dtype))
    return min(fits)[1:] if fits else None
