"""The progress of long work on standard error."""

import sys
from io import StringIO

import pytest

from driftgauge.cli.printing import message, print_json, print_line
from driftgauge.cli.progress import print_lines, show_progress
from driftgauge.clock import Clock
from driftgauge.progress import WorkProgress


def rows(done, total=4_000):
    return WorkProgress("rows read", done, total)


def test_lines_are_five_seconds_apart(capsys):
    now_s = 100.0
    track = print_lines(Clock(lambda: 0, lambda: now_s))
    for second in range(12):
        now_s = 100.0 + second
        track(rows(1_000 * second, None if second < 8 else 20_000))
    assert capsys.readouterr().err.splitlines() == ["5,000 rows read", "10,000 of 20,000 rows read"]


class _Terminal(StringIO):
    def isatty(self):
        return True


@pytest.fixture
def open_terminal(monkeypatch):
    """Make both standard streams one terminal of 80 columns without colours.

    When the test asks, because pytest sets the streams again between a test's fixtures and the test.
    """

    def _open():
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "80")
        terminal = _Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        return terminal

    return _open


def test_terminal_has_line_below_messages_and_results(open_terminal):
    terminal = open_terminal()
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


def test_pipe_gets_results_and_no_progress(open_terminal, monkeypatch):
    terminal, results = open_terminal(), StringIO()
    monkeypatch.setattr(sys, "stdout", results)
    with show_progress() as track:
        track(rows(0))
        print_line("a result")
    assert "0 of 4,000 rows read" in terminal.getvalue()
    assert "a result" not in terminal.getvalue()
    assert results.getvalue() == "a result\n"
