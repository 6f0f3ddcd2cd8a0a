"""The whole demo, as a user runs it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from driftgauge.demo.scrape import Scrape

TIMEOUT_S = 150
ROW = re.compile(r"  (2025-11-\d\d)  (clean|blurred|darkened) +1,000 +([\d.]+) +([\d.]+) +([\d.]+)%")


def _driftgauge(*arguments: str | Path, environ: dict[str, str]) -> tuple[int, str, str, int]:
    """Run a command; return its status, output, errors and process group."""
    process = subprocess.Popen(
        [sys.executable, "-m", "driftgauge", *map(str, arguments)],
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, output, errors, process.pid


def test_the_demo_tells_its_story_and_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "out"
    # What a user has set for a service of their own must not lead the demo astray.
    environ = {"DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "DRIFTGAUGE_HTTP__HOST": "nowhere"}

    status, output, errors, group = _driftgauge("demo", "--out", out, environ=environ)

    assert status == 0, output + errors
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
    rows = ROW.findall(output)
    assert [row[0] for row in rows] == [f"2025-11-{day:02}" for day in range(3, 24)]
    clean, blurred, darkened = ([float(row[2]) for row in rows[week : week + 7]] for week in (0, 7, 14))
    assert max(clean) < min(blurred)
    assert max(blurred) < min(darkened)
    assert "every event was counted once" in output
    assert (out / "drift.png").read_bytes().startswith(b"\x89PNG")
    last = Scrape.parse((out / "metrics.txt").read_text())
    assert {outcome: number for outcome, number in last.outcomes().items() if number} == {"accepted": 21_000}
    assert "stopped" in (out / "service.log").read_text().splitlines()[-1]
    status, output, errors, _ = _driftgauge(
        "config", "check", "--config", out / "driftgauge.yaml", environ={}
    )
    assert (status, errors) == (0, "")
    assert "stream digits: 10 clusters of 32 dimensions" in output


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    status, _, errors, _ = _driftgauge("demo", "--out", tmp_path / "file" / "out", environ={})

    assert status == 2
    assert "cannot make the folder: Not a directory; name another with --out" in errors
    assert "Traceback" not in errors
