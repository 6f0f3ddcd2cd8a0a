"""The items of lists that a mapping leaves out: `data[0].embedding` reads one item of `data`."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from driftgauge.config.inputs import InputSettings
from driftgauge.events.rejection import EventError
from driftgauge.events.sources import compile_path
from driftgauge.events.vectors import first_vector

__all__ = ["ListItems", "describe_unread", "find_items"]

_INDEX = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class ListItems:
    """The items of a list in a record that may hold vectors.

    Attributes:
        path: The list's path; empty if the value is the list.
        held: The number of its items that have a vector as long as one that the mapping reads.
        read: The number of these that it reads.
    """

    path: str
    held: int
    read: int


def find_items(settings: InputSettings, value: object) -> Iterator[ListItems]:
    """Yield the lists of a decoded value of which a mapping reads vectors by their index."""
    read: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for path in (vector.embedding.path or "" for vector in settings.vectors):
        for found in _INDEX.finditer(path):
            read[path[: found.start()], path[found.end() :].removeprefix(".")].add(int(found[1]))
    for (path, rest), indices in read.items():
        # An index within a quoted name leaves no path.
        with suppress(EventError, ValueError):
            items = _follow(path, value)
            if isinstance(items, list):
                vectors = [first_vector(_follow(rest, item)) for item in items]
                lengths = {i: len(vector) for i, vector in enumerate(vectors) if vector is not None}
                wanted = {lengths[index] for index in indices & lengths.keys()}
                held = {index for index, length in lengths.items() if length in wanted}
                yield ListItems(path, len(held), len(held & indices))


def _follow(path: str, value: object) -> object:
    return compile_path(path)(value) if path else value


def describe_unread(found: Iterable[ListItems], first: int | None = None) -> list[str]:
    """Return a sentence for each list, in any number of records, of which items are left out.

    Args:
        found: The lists of the records that were looked at.
        first: How many records these were, the first of more; None if they are all.
    """
    lists: defaultdict[str, list[ListItems]] = defaultdict(list)
    for each in found:
        if each.read < each.held:
            lists[each.path].append(each)
    sentences = []
    for path, each_list in lists.items():
        held, read = (sum(getattr(each, name) for each in each_list) for name in ("held", "read"))
        of = f"{len(each_list):,} {'record' if len(each_list) == 1 else 'records'}"
        if first is not None:
            of = f"{len(each_list):,} of the first {first:,} records"
        sentences.append(
            f"embedding: {path or 'the value'} holds {held:,} items in {of}, {read:,} "
            f"{'is' if read == 1 else 'are'} read, and the others are left out; write {path}[*] where the "
            "mapping has an index, and every item is an event"
        )
    return sentences
