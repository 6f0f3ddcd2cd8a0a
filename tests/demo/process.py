"""The demo as a process group: start, read what it prints, stop."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.dockerfile import ROOT

PATIENCE_S = 600.0


@contextmanager
def started(out: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Start the demo as the leader of a process group, as a shell does; nothing outlives the test."""
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.demo", "--out", str(out), *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A user's variables must not lead the demo's service elsewhere.
        env={
            **os.environ,
            "DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS": "localhost:1",
            "DRIFTGAUGE_HTTP__HOST": "nowhere",
            "OMP_NUM_THREADS": "1",
        },
    )
    watchdog = threading.Timer(PATIENCE_S, os.killpg, (process.pid, signal.SIGKILL))
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        watchdog.join()
        if is_group_alive(process):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def is_group_alive(process: subprocess.Popen[str]) -> bool:
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Return the output up to the line that holds `text`; all of it where none does."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            break
    return "".join(lines)
