"""The parts of a printed report: lines of text and tables, without the width of the screen."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Block", "Table", "facts"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a report.

    Attributes:
        headings: The columns' headings; empty for a table without a heading.
        rows: The cells, one for each column.
        text: The columns that hold text, from 0: these are aligned left, and may be wrapped. The others hold
            numbers, which are aligned right.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: tuple[int, ...] = (0,)


# A line wraps below its own indentation; an empty line separates.
Block = str | Table


def facts(named: dict[str, str]) -> Table:
    """Return a table of names and values, without a heading."""
    return Table((), tuple(named.items()), text=(0, 1))
