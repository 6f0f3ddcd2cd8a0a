"""Printing of results at the width of a terminal, and the progress of long work."""

import re
import string
import sys
from collections import Counter
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from driftgauge.cli.printing import counted_refusals, message, print_json, print_line, render
from driftgauge.cli.progress import print_lines, show_progress
from driftgauge.clock import Clock
from driftgauge.events.rejection import Reason
from driftgauge.layout import Table, facts
from driftgauge.progress import WorkProgress

WINDOWS = Table(
    ("window", "events needed", "clusters"),
    (("1h", "1,000", "truck, automobile and 漢字"), ("1d", "24,000", "frog")),
    text=(0, 2),
)


@pytest.mark.parametrize("width", [None, 40, 32])
def test_table_fits_width(snapshot, width):
    text = render([WINDOWS]) if width is None else render([WINDOWS], width)
    assert "1,000" in text
    assert "24,000" in text
    assert text == snapshot


@pytest.mark.parametrize(
    ("width", "text", "shown"),
    [
        (
            36,
            "  warning: the file was fitted after its time in force began",
            "  warning: the file was fitted after\n  its time in force began",
        ),
        (16, "one two three four five\n\nsix", "one two three\nfour five\n\nsix"),
    ],
)
def test_paragraph_wraps_below_its_indentation(width, text, shown):
    assert render(text.split("\n")) == text
    assert render(text.split("\n"), width) == shown


def test_names_are_no_markup_and_move_no_cursor():
    hostile = "[red]a[/red] \x1b[2J\n:smile:"
    shown = "[red]a[/red] \\x1b[2J\\n:smile:"
    assert render([hostile, facts({"name": hostile})]) == f"{shown}\n  name  {shown}"
    assert shown in render([facts({"name": hostile})], 60)


def squeezed(text):
    return re.sub(r"\s", "", text)


CELLS = st.text(st.sampled_from(f"{string.ascii_letters}  []漢é,"), max_size=40)


@given(rows=st.lists(st.tuples(CELLS, st.integers(0, 10**9), CELLS), min_size=1), width=st.integers(20, 120))
def test_any_table_keeps_to_the_width_and_loses_nothing(rows, width):
    table = Table(("name", "number of events", "words"), [(a, f"{n:,}", b) for a, n, b in rows], text=(0, 2))
    narrow = render([table], width)
    # Two texts and the numbers below their heading need as much, however narrow the terminal is.
    assert max(map(cell_len, narrow.split("\n"))) <= max(width, 2 + 12 + 2 + len("number of events") + 2 + 12)
    assert all(number in narrow for _, number, _ in table.rows)
    expected = Counter(squeezed("".join(cell for row in table.rows for cell in row)))
    assert not expected - Counter(squeezed(narrow))


def refuse_eight():
    with counted_refusals() as refusals:
        refusals.add("a.jsonl, line 0", Reason.UNDECODABLE, "x")
        for line in range(1, 8):
            refusals.add(f"a.jsonl, line {line}", Reason.INVALID, "event\x1b", "images" if line > 4 else None)
        raise KeyError


def test_refusals_are_reported_after_an_error_too(capsys):
    with pytest.raises(KeyError):
        refuse_eight()
    assert capsys.readouterr().err.splitlines() == [
        "refused: a.jsonl, line 0: undecodable: x",
        *(f"refused: a.jsonl, line {line}: invalid: event\\x1b" for line in range(1, 5)),
        "refused in total: 8 (7 invalid, 1 undecodable)",
    ]


def rows(done, total=4_000):
    return WorkProgress("rows read", done, total)


def test_lines_are_five_seconds_apart(capsys):
    now_s = 100.0
    track = print_lines(Clock(lambda: 0, lambda: now_s))
    for second in range(12):
        now_s = 100.0 + second
        track(rows(1_000 * second, None if second < 8 else 20_000))
    assert capsys.readouterr().err.splitlines() == ["5,000 rows read", "10,000 of 20,000 rows read"]


def open_terminal(monkeypatch):
    """Make both standard streams one terminal of 80 columns without colours."""
    for name, value in {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    terminal = StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, terminal)
    return terminal


def test_terminal_has_line_below_messages_and_results(monkeypatch):
    terminal = open_terminal(monkeypatch)
    with show_progress() as track:
        track(rows(1_000))
        track(WorkProgress("[red]lines[/red] read", 10, share=0.5))
        message("a message\x1b[2J")
        print_line("[red]a result[/red] of 123")
        print_json({"a": 1})
    text = terminal.getvalue()
    for shown in ("a message\\x1b[2J", "[red]a result[/red] of 123", '"a": 1'):
        assert shown in text
        # The line is drawn again below.
        assert "10 [red]lines[/red] read (50%)" in text.partition(shown)[2]
    # The line is erased.
    assert text.endswith("\x1b[1A\x1b[2K")


def test_pipe_gets_results_and_no_progress(monkeypatch):
    terminal, results = open_terminal(monkeypatch), StringIO()
    monkeypatch.setattr(sys, "stdout", results)
    with show_progress() as track:
        track(rows(0))
        print_line("a result")
    assert "0 of 4,000 rows read" in terminal.getvalue()
    assert "a result" not in terminal.getvalue()
    assert results.getvalue() == "a result\n"
