"""What a mapping reads of decoded values, as a tree along its paths."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from driftgauge.config.inputs import InputSettings, NumberSource, Source, TimeSource, VectorSource
from driftgauge.config.paths import Choice, Json, parse_path

__all__ = ["Kind", "Need", "find_needs"]

Kind: TypeAlias = Literal["value", "ms", "vector", "number"]


@dataclass(slots=True)
class Need:
    """What a mapping reads of a value.

    Attributes:
        fields: What it reads of fields, by name.
        items: What it reads of the items of a list.
        kinds: What it makes of the value itself: any value, the time in milliseconds, a vector, a number.
    """

    fields: dict[str, Need] = field(default_factory=dict)
    items: Need | None = None
    kinds: set[Kind] = field(default_factory=set)

    @property
    def has_shared_number(self) -> bool:
        """Whether a number is also read in another way."""
        inner = [*self.fields.values(), *([self.items] if self.items else [])]
        return ("number" in self.kinds and len(self.kinds) > 1) or any(
            each.has_shared_number for each in inner
        )

    def of_items(self) -> Need | None:
        """Return what a mapping reads of a list's items, None for nothing; a list is read with its items."""
        if not self.kinds:
            return self.items
        items = self.items or Need()
        return Need(items.fields, items.items, {*items.kinds, "value"})


def find_needs(settings: InputSettings) -> Need:
    """Return what a mapping reads of a decoded value."""
    root = Need()
    for source in (*settings.sources, *settings.where):
        if source.path is not None:
            _find(root, source.path).kinds.add(_find_kind(source))
        elif source.record == "value":
            root.kinds.add(_find_kind(source))
    return root


def _find_kind(source: Source) -> Kind:
    if isinstance(source, VectorSource):
        return "vector"
    if isinstance(source, NumberSource):
        return "number"
    return "ms" if isinstance(source, TimeSource) and source.unit == "ms" else "value"


def _find(need: Need, path: str) -> Need:
    """Return the need at a path, which is added if it is missing."""
    for step in parse_path(path):
        if isinstance(step, str):
            need = need.fields.setdefault(step, Need())
            continue
        if isinstance(step, Json):
            # The text is read as a whole, whatever is read of the JSON in it.
            need.kinds.add("value")
            return Need()
        need.items = need = need.items or Need()
        if isinstance(step, Choice):
            need.fields.setdefault(step.field, Need()).kinds.add("value")
    return need
