"""A demo that cannot be told."""

import subprocess
import sys
from pathlib import Path


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    done = subprocess.run(
        [sys.executable, "-m", "driftgauge", "demo", "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert "cannot make the folder: Not a directory; name another with --out" in done.stderr
    assert "Traceback" not in done.stderr
