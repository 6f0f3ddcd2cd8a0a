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


@pytest.fixture
def plain(time):
    """Report work at times after its start; return the lines."""

    def _plain(*reports):
        lines = []
        track = PlainProgress(lines.append, time.clock)
        started_s = time.s
        for after_s, work in reports:
            time.s = started_s + after_s
            track(work)
        return lines

    return _plain


def rows(done, total=4_000):
    return WorkProgress("rows read", done, total)


def test_line_has_rate_and_remaining_time(plain):
    assert plain((0, rows(0)), (10, rows(1_000))) == ["1,000 of 4,000 rows read, 100/s, 30s left"]


def test_line_without_total_has_no_remaining_time(plain):
    assert plain((0, rows(0, None)), (10, rows(1_000, None))) == ["1,000 rows read, 100/s"]


def test_slow_work_has_rate_per_minute(plain):
    runs = [WorkProgress("runs of k-means", done, 3) for done in (0, 1)]
    assert plain((0, runs[0]), (40, runs[1])) == ["1 of 3 runs of k-means, 1.5/min, 1m20s left"]


def test_long_remaining_time_is_in_minutes(plain):
    works = [WorkProgress("lines read", done, share=done / 100) for done in (0, 1)]
    assert plain((0, works[0]), (10, works[1])) == ["1 lines read, 6.0/min, 16m left"]


def test_lines_are_five_seconds_apart(plain):
    assert len(plain(*((second, rows(second)) for second in range(11)))) == 2


def test_short_work_prints_no_line(plain):
    assert plain((0, rows(0)), (4.9, rows(4_000))) == []


def test_next_work_has_its_own_clock(plain):
    sent = [WorkProgress("events sent", done, 100) for done in (0, 50)]
    assert plain((0, rows(0)), (60, sent[0]), (64, sent[0]), (70, sent[1])) == [
        "50 of 100 events sent, 5/s, 10s left"
    ]


def test_work_that_begins_again_has_its_own_clock(plain):
    again = (60, rows(0)), (64, rows(100)), (70, rows(1_000))
    assert plain((0, rows(0)), (2, rows(4_000)), *again) == ["1,000 of 4,000 rows read, 100/s, 30s left"]


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
        track(WorkProgress("records of a topic with a long name read", 0, 10**9))
        time.s += 10
        track(WorkProgress("records of a topic with a long name read", 10**8, 10**9))
    *_, last = [part for part in terminal.getvalue().split("\x1b[2K") if "100,000,000" in part]
    assert len(last.strip("\r\n").split("\r")[0].split("\n")[0]) <= columns
    assert ("━" in last) is has_bar
    assert "…" in last


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


def test_results_in_a_pipe_stay_there(time, monkeypatch):
    terminal = open_terminal(monkeypatch)
    pipe = StringIO()
    monkeypatch.setattr(sys, "stdout", pipe)
    with LiveProgress(Console(stderr=True, width=80), time.clock) as track:
        track(rows(0))
        print_line("a result")
    assert pipe.getvalue() == "a result\n"
    assert "a result" not in terminal.getvalue()


def test_terminal_shows_live_line_and_pipe_shows_none(monkeypatch):
    terminal = open_terminal(monkeypatch)
    with show_progress() as track:
        track(rows(0))
    assert "0 of 4,000 rows read" in terminal.getvalue()
    pipe = StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    with show_progress() as track:
        track(rows(0))
    assert pipe.getvalue() == ""
    click.echo("as ever", err=True)
    assert pipe.getvalue() == "as ever\n"
