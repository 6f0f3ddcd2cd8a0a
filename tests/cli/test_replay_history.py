"""`driftgauge replay --openmetrics`, and the blocks that promtool makes of its file."""

import re

import pytest

from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.events import build_event, write_events
from tests.cli.command import run
from tests.processes import run_required


def test_replay_writes_gauges_of_windows(config, events, tmp_path):
    out = tmp_path / "history.txt"
    done = run("replay", events, "--config", config, "--openmetrics", out, "--label", "job=old")
    assert done.returncode == 0, done.stderr
    assert re.search(r"wrote [\d,]+ samples of 3 results to ", done.stderr)
    text = out.read_text()
    assert 'driftgauge_window_events{job="old",stream="images",window="1h"} 20.0 1762131600.0' in text


@pytest.mark.parametrize(
    ("option", "message"),
    [(("--label", "job"), "--label job: write NAME=VALUE"), (("--label", "1a=b"), "--label 1a=b: write")],
)
def test_wrong_label_is_refused(config, events, tmp_path, option, message):
    done = run("replay", events, "--config", config, "--openmetrics", tmp_path / "h", *option)
    assert done.returncode == 2
    assert message in done.stderr


def test_unwritable_file_is_reported_with_remedy(config, events, tmp_path):
    done = run("replay", events, "--config", config, "--openmetrics", tmp_path / "absent" / "h")
    assert done.returncode == 2
    assert "cannot write the gauges" in done.stderr


@pytest.mark.stack
def test_promtool_makes_blocks_that_hold_every_window(config, tmp_path):
    lines = [
        build_event(MONDAY_MS + hour * HOUR_MS + number, number % 4)
        for hour in range(30)
        for number in range(20 + hour)
    ]
    path, out, blocks = (
        write_events(tmp_path / "month.jsonl", lines),
        tmp_path / "history.txt",
        tmp_path / "data",
    )
    assert run("replay", path, "--config", config, "--openmetrics", out).returncode == 0
    made = run_required(
        "promtool", "prometheus", "tsdb", "create-blocks-from", "openmetrics", out, blocks, timeout=60
    )
    assert made.returncode == 0, made.stderr
    # A server's data folder has one.
    (blocks / "wal").mkdir()
    match = '{__name__="driftgauge_window_events",window="1h"}'
    dumped = run_required("promtool", "prometheus", "tsdb", "dump", f"--match={match}", blocks, timeout=60)
    values = {
        int(time) - MONDAY_MS: float(value)
        for value, time in re.findall(r"\} (\S+) (\d+)$", dumped.stdout, re.MULTILINE)
    }
    assert [values[(hour + 1) * HOUR_MS] for hour in range(30)] == [20 + hour for hour in range(30)]
