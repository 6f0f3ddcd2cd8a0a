"""Printing of results on standard output, to the terminal's width, and of messages on standard error."""

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, TypeVar

import click

from driftgauge.events.refusals import Refusals
from driftgauge.layout import Block, Table

if TYPE_CHECKING:
    from rich.table import Table as Grid

__all__ = [
    "counted_refusals",
    "json_option",
    "message",
    "print_blocks",
    "print_json",
    "print_line",
    "print_report",
    "render",
]

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")

_Report = TypeVar("_Report")

# The space between the columns of a table, and before it.
_GAP = 2
_INDENT = (0, 0, 0, _GAP)
# A column of text may shrink to this width.
_LEAST_TEXT = 12
# The width if nothing is wrapped: a pipe or a file.
_UNLIMITED = 1_000_000


def print_json(document: object) -> None:
    """Print a value or a record on standard output as JSON, in which infinity is null."""
    from pydantic_core import to_json

    print_line(to_json(document, indent=2, inf_nan_mode="null").decode())


def print_report(report: _Report, describe: Callable[[_Report], Iterable[Block]], *, as_json: bool) -> None:
    """Print a report on standard output: as JSON the record itself, else as text."""
    if as_json:
        print_json(report)
    else:
        print_blocks(describe(report))


def print_line(text: str) -> None:
    """Print text on standard output as it is."""
    print(text, flush=True)  # noqa: T201


def print_blocks(blocks: Iterable[Block]) -> None:
    """Print a report on standard output: in a terminal to its width, elsewhere complete and unwrapped."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print_line(render(blocks, width))


def message(line: str) -> None:
    """Print a message on standard error, apart from the command's result."""
    print(_printable(line), file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def counted_refusals() -> Iterator[Refusals]:
    """Yield a counter of refused events, and print messages about them in the end, after an error too."""
    refusals = Refusals()
    try:
        yield refusals
    finally:
        for line in refusals.describe():
            message(line)


def render(blocks: Iterable[Block], width: int | None = None) -> str:
    """Return a report as text, without trailing space.

    Args:
        blocks: The parts of the report.
        width: The number of columns that lines take, more only if numbers need them; None for any.
    """
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    out = StringIO()
    console = Console(file=out, width=_UNLIMITED, color_system=None, legacy_windows=False)
    for block in blocks:
        if isinstance(block, Table):
            console.print(Padding(_grid(block), _INDENT, expand=False), width=width and _widen(block, width))
        else:
            # Lines wrap below their indentation. Padding prints no line for an empty text.
            text = _printable(block).lstrip() or " "
            indent = (0, 0, 0, len(block) - len(block.lstrip()))
            console.print(Padding(Text(text), indent, expand=False), width=width)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _grid(table: Table) -> "Grid":
    from rich.table import Table as Grid
    from rich.text import Text

    # Text is no markup: names come from producers.
    grid = Grid(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_header=bool(table.headings))
    for index, heading in enumerate(table.headings or [""] * len(table.rows[0])):
        is_text = index in table.text
        grid.add_column(
            Text(heading), justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold"
        )
    for row in table.rows:
        grid.add_row(*(Text(_printable(cell)) for cell in row))
    return grid


def _widen(table: Table, width: int) -> int:
    """Return the width, or that at which no number of a table is broken."""
    columns = enumerate(zip(table.headings or [""] * len(table.rows[0]), *table.rows, strict=True))
    widths = [_LEAST_TEXT if index in table.text else max(map(len, cells)) for index, cells in columns]
    return max(width, sum(widths) + _GAP * len(widths))


def _printable(text: str) -> str:
    """Return text in which control characters are visible, so that no name moves the cursor."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
