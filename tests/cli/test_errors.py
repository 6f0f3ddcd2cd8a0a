"""What the command line prints of errors, on a real terminal."""

import os
import pty
import subprocess
import sys

from tests.builders.reports import write_results
from tests.cli.command import run

HOSTILE = "\x1b]0;title\x07\x1b[31mred\u202e"


def run_in_terminal(*arguments):
    """Run `driftgauge` with standard error on a terminal; return its status and what the terminal got."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "driftgauge", *map(str, arguments)], stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        # Linux ends the reading with an error once the process has closed the terminal.
        try:
            while part := os.read(ours, 65_536):
                shown += part
        except OSError:
            pass
    os.close(ours)
    return process.returncode, shown.decode()


def test_full_disk_below_the_output_is_one_line():
    with open("/dev/full", "wb") as full:
        command = (sys.executable, "-m", "driftgauge", "plan", "--events-per-hour", "9", "--json")
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("driftgauge: reading or writing failed (No space left on device); check ")


def test_full_disk_below_a_report_is_told_with_remedy(config, tmp_path):
    results = write_results(tmp_path / "results.jsonl", "ok", stream="images")
    done = run("report", results, "--config", config, "--out", "/dev/full")
    assert done.returncode == 2
    assert done.stderr.strip().endswith("No space left on device; check the folder, its rights and its space")


def test_names_in_an_error_send_nothing_to_the_terminal(tmp_path):
    config = tmp_path / "driftgauge.yaml"
    config.write_text('{streams: [], "a\\e[31mb": 1, "a\\u202Eb": 1}', encoding="utf-8")
    for arguments, parts in (
        (("serve", "--config", config), ("  - a\\x1b[31mb: ", "  - a\\u202eb: ")),
        (("plan", "--events-per-hour", 1, HOSTILE), ("red\\u202e)",)),
    ):
        status, shown = run_in_terminal(*arguments)
        assert status == 2
        assert [part for part in parts if part not in shown] == []
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)
