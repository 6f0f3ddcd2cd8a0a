"""The progress of long work on standard error."""

import sys
from io import StringIO

import click
import pytest
from rich.console import Console

from driftgauge.cli.printing import message, print_json, print_line
from driftgauge.cli.progress import LiveProgress, PlainProgress, show_progress
from driftgauge.clock import Clock
from driftgauge.progress import WorkProgress


class _Time:
    def __init__(self):
        self.s = 100.0
        self.clock = Clock(lambda: 0, lambda: self.s)


@pytest.fixture
def time():
    return _Time()


def rows(done, total=4_000):
    return WorkProgress("rows read", done, total)


def runs(done):
    return WorkProgress("runs of k-means", done, 3)


def lines(done):
    return WorkProgress("lines read", done, share=done / 100)


def sent(done):
    return WorkProgress("events sent", done, 100)


@pytest.mark.parametrize(
    ("reports", "shown"),
    [
        ([(0, rows(0)), (10, rows(1_000))], ["1,000 of 4,000 rows read, 100/s, 30s left"]),
        ([(0, rows(0, None)), (10, rows(1_000, None))], ["1,000 rows read, 100/s"]),
        ([(0, runs(0)), (40, runs(1))], ["1 of 3 runs of k-means, 1.5/min, 1m20s left"]),
        ([(0, lines(0)), (10, lines(1))], ["1 lines read, 6.0/min, 16m left"]),
        # Lines are five seconds apart.
        (
            [(second, rows(second, 100)) for second in range(11)],
            ["5 of 100 rows read, 1/s, 1m35s left", "10 of 100 rows read, 1/s, 1m30s left"],
        ),
        ([(0, rows(0)), (4.9, rows(4_000))], []),
        # The next work, and work that begins again, have a clock of their own.
        (
            [(0, rows(0)), (60, sent(0)), (64, sent(0)), (70, sent(50))],
            ["50 of 100 events sent, 5/s, 10s left"],
        ),
        (
            [(0, rows(0)), (2, rows(4_000)), (60, rows(0)), (64, rows(100)), (70, rows(1_000))],
            ["1,000 of 4,000 rows read, 100/s, 30s left"],
        ),
    ],
)
def test_lines_have_rate_and_remaining_time(time, reports, shown):
    printed = []
    track = PlainProgress(printed.append, time.clock)
    started_s = time.s
    for after_s, work in reports:
        time.s = started_s + after_s
        track(work)
    assert printed == shown


class _Terminal(StringIO):
    def isatty(self):
        return True


def open_terminal(monkeypatch):
    """Make both standard streams one terminal of 80 columns without colours.

    No fixture, because pytest sets the streams again between a test's fixtures and the test.
    """
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def test_live_line_is_redrawn_at_most_ten_times_a_second(time, monkeypatch):
    terminal = open_terminal(monkeypatch)
    with LiveProgress(Console(stderr=True, width=80), time.clock) as track:
        track(rows(0))
        for _ in range(20):
            time.s += 0.04
            track(rows(1_000))
    assert "0 of 4,000 rows read" in terminal.getvalue()
    assert 7 <= terminal.getvalue().count("1,000 of 4,000 rows read") <= 9


@pytest.mark.parametrize(("columns", "has_bar"), [(80, True), (40, False)])
def test_live_line_fits_terminal(time, monkeypatch, columns, has_bar):
    terminal = open_terminal(monkeypatch)
    with LiveProgress(Console(stderr=True, width=columns), time.clock) as track:
        for done in (0, 10**8):
            track(WorkProgress("records of a topic with a long name read", done, 10**9))
            time.s += 10
    *_, last = [part for part in terminal.getvalue().split("\x1b[2K") if "100,000,000" in part]
    assert len(last.strip("\r\n").split("\r")[0].split("\n")[0]) <= columns
    assert ("━" in last, "…" in last) == (has_bar, True)


def test_messages_and_results_stand_above_live_line(time, monkeypatch):
    terminal = open_terminal(monkeypatch)
    with LiveProgress(Console(stderr=True, width=80), time.clock) as track:
        track(rows(0))
        message("a message\x1b[2J")
        print_line("[red]a result[/red] of 123")
        print_json({"a": 1})
    text = terminal.getvalue()
    # Each erases the live line, and draws it again below.
    for shown in ("a message\\x1b[2J", "[red]a result[/red] of 123", '{\n  "a": 1\n}'):
        before, _, after = text.partition(shown)
        assert before.endswith("\r\x1b[2K")
        assert after.lstrip().startswith("0 of 4,000 rows read\r")
    assert text.endswith("\x1b[1A\x1b[2K")


def test_pipe_gets_results_and_no_live_line(monkeypatch):
    terminal = open_terminal(monkeypatch)
    results, messages = StringIO(), StringIO()
    monkeypatch.setattr(sys, "stdout", results)
    with show_progress() as track:
        track(rows(0))
        print_line("a result")
    assert "0 of 4,000 rows read" in terminal.getvalue()
    assert "a result" not in terminal.getvalue()
    monkeypatch.setattr(sys, "stderr", messages)
    with show_progress() as track:
        track(rows(0))
    click.echo("as ever", err=True)
    assert (results.getvalue(), messages.getvalue()) == ("a result\n", "as ever\n")
