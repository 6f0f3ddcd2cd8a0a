"""Printing of results on standard output, to the terminal's width, and of messages on standard error."""

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from io import StringIO
from typing import Literal, TypeVar

import click

from driftgauge.events.refusals import Refusals
from driftgauge.layout import Block, Table

__all__ = [
    "counted_refusals",
    "json_option",
    "message",
    "print_blocks",
    "print_json",
    "print_line",
    "print_report",
    "printing_above",
    "render",
]

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")

_Report = TypeVar("_Report")

_INDENT = 2
_GAP = 2
# Text is wrapped to this width before the rows of a table are printed one below the other.
_LEAST_TEXT = 16
# What prints on terminals above a live line, while there is one.
_ABOVE: ContextVar[Callable[[str], None] | None] = ContextVar("above", default=None)
# The width where nothing is wrapped: a pipe or a file.
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
    _echo(text, err=False)


def print_blocks(blocks: Iterable[Block]) -> None:
    """Print a report on standard output: in a terminal to its width, elsewhere complete and unwrapped."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print_line(render(blocks, width))


def message(line: str) -> None:
    """Print a message on standard error, apart from the command's result."""
    _echo(_printable(line), err=True)


@contextmanager
def printing_above(echo: Callable[[str], None]) -> Iterator[None]:
    """Print what goes to terminals by a function, which keeps a live line below it."""
    token = _ABOVE.set(echo)
    try:
        yield
    finally:
        _ABOVE.reset(token)


def _echo(text: str, *, err: bool) -> None:
    above = _ABOVE.get()
    if above is not None and (sys.stderr if err else sys.stdout).isatty():
        above(text)
    else:
        click.echo(text, err=err)


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
        width: The number of columns that lines may take; None for any. A word longer than that is broken.
    """
    lines: list[str] = []
    for block in blocks:
        lines += _table(block, width) if isinstance(block, Table) else _paragraph(block, width)
    return "\n".join(lines)


def _paragraph(text: str, width: int | None) -> list[str]:
    text = _printable(text)
    if width is None:
        return [text]
    indent = len(text) - len(text.lstrip())
    # Below an indented line the rest stands deeper than the next line.
    hanging = indent + _INDENT if indent else 0
    first, *rest = _wrap(text.lstrip(), width - hanging)
    return [" " * indent + first, *(" " * hanging + line for line in rest)]


def _wrap(text: str, width: int) -> list[str]:
    from rich.console import Console
    from rich.text import Text

    width = max(width, _LEAST_TEXT)
    return [line.plain.rstrip() for line in Text(text).wrap(Console(width=width), width)] or [""]


def _table(table: Table, width: int | None) -> list[str]:
    from rich.cells import cell_len

    rows = [[_printable(cell) for cell in row] for row in table.rows]
    columns = [*zip(table.headings or [""] * len(rows[0]), *rows, strict=True)]
    most = [max(1, *map(cell_len, column)) for column in columns]
    least = [
        max(
            1,
            max(map(cell_len, heading.split()), default=0),
            min(max(map(cell_len, cells)), _LEAST_TEXT if index in table.text else _UNLIMITED),
        )
        for index, (heading, *cells) in enumerate(columns)
    ]
    room = (_UNLIMITED if width is None else width) - _INDENT - _GAP * (len(columns) - 1)
    if (spare := room - sum(least)) < 0 and table.headings:
        # Complete rows can be read on a narrow screen; broken numbers cannot.
        lines: list[str] = []
        for row in rows:
            lines += [*([""] if lines else []), *_record(table.headings, row, width)]
        return lines
    widths = least
    # A wrapped heading takes one more line, wrapped text one more in each row.
    for index in sorted(range(len(columns)), key=lambda i: (i not in table.text, most[i] - least[i])):
        widths[index] += max(0, min(most[index] - least[index], spare))
        spare = room - sum(widths)
    return _grid(table, rows, widths)


def _record(headings: Sequence[str], row: Sequence[str], width: int | None) -> list[str]:
    """Return a row of a table as lines of names and values."""
    pairs = [(heading.strip(), cell.strip()) for heading, cell in zip(headings, row, strict=True) if cell]
    return _table(Table((), pairs, text=(0, 1)), width)


def _grid(table: Table, rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    # Text is no markup: names come from producers.
    grid = Grid(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_header=bool(table.headings))
    for index, width in enumerate(widths):
        heading = table.headings[index] if table.headings else ""
        justify: Literal["left", "right"] = "left" if index in table.text else "right"
        grid.add_column(Text(heading), width=width, justify=justify, overflow="fold", vertical="top")
    for row in rows:
        grid.add_row(*map(Text, row))
    out = StringIO()
    Console(file=out, width=_UNLIMITED, color_system=None, legacy_windows=False).print(grid)
    return [f"{' ' * _INDENT}{line}".rstrip() for line in out.getvalue().splitlines()]


def _printable(text: str) -> str:
    """Return text in which control characters are visible, so that no name moves the cursor."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
