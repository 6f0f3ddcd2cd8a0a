"""How stored records grow: a new field has a default, and is ignorable unless it is marked here.

A reader that does not know an ignorable field drops it, and the record that it writes next lacks it. So the
default of an ignorable field says that its value is unknown, and never that there is nothing.
"""

from dataclasses import Field, field
from typing import Any

__all__ = ["is_marked", "must_be_understood"]

_MARK = "must_be_understood"


def must_be_understood(default: Any) -> Any:
    """Return a field of a dataclass that no reader may ignore while it differs from its default.

    Its name differs from those of all other fields of the record, because readers know fields by their names.
    """
    return field(default=default, metadata={_MARK: True})


def is_marked(each: "Field[Any]") -> bool:
    """Return whether no reader may ignore a field."""
    return _MARK in each.metadata
