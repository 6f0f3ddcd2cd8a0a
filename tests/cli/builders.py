"""Runs of the command line as an operator starts it: a process, its output, its exit status."""

import subprocess
import sys

TIMEOUT_S = 300


def run(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `driftgauge` as a process with no environment but `environ`."""
    return subprocess.run(
        [sys.executable, "-m", "driftgauge", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={"PATH": "", "OMP_NUM_THREADS": "1", **environ},
    )
