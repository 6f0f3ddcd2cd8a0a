"""The README's quick start, run verbatim against the real broker."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PORT = 9464

pytestmark = pytest.mark.integration


def quick_start() -> str:
    """Return the section's shell blocks as one script."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Quick start", 1)[1].split("\n## ", 1)[0]
    return "\n".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))


def environment(folder: Path, bootstrap: str) -> dict[str, str]:
    """Return an environment in which the script's words find this test's interpreter and broker."""
    activate = folder / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    # The first line activates the environment of a clone; here it is the one that runs the tests.
    activate.write_text(f'PATH="{Path(sys.executable).parent}:$PATH"\n')
    return {
        **os.environ,
        "DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        # The group and the topics are the README's own; a cluster that was named may know them.
        "DRIFTGAUGE_KAFKA__GROUP_ID": f"quick-start-{os.getpid()}",
        "DRIFTGAUGE_TOPICS__EVENTS": f"[quick-start-{os.getpid()}]",
    }


def test_the_quick_start_works_as_it_stands(tmp_path: Path, bootstrap: str) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            pytest.fail(f"port {PORT}, which the README names, is in use on this machine; free it")
    script = quick_start()
    assert "driftgauge publish" in script

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        check=False,
        cwd=tmp_path,
        env=environment(tmp_path, bootstrap),
        capture_output=True,
        text=True,
        timeout=180,
    )

    log = (tmp_path / "quick-start" / "serve.log").read_text()
    assert done.returncode == 0, done.stdout + done.stderr + log
    assert "no problem found" in done.stdout
    assert '"ready":true' in done.stdout
    divergence = float(re.search(r'js_divergence\{stream="digits",window="1h"\} (\S+)', done.stdout)[1])
    floor = float(re.search(r'noise_floor\{stream="digits",window="1h"\} (\S+)', done.stdout)[1])
    assert divergence > 5 * floor, "the last hour published is darkened"
    assert log.count('"event": "window closed"') == 7, "six hours and a day"
