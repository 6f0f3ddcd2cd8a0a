"""The commands of the README and of the tutorial, verbatim, on the real broker."""

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.deploy.engine import build, run_words
from tests.harness.service import environment
from tests.needed import required
from tests.wheel import install

ROOT = Path(__file__).parents[2]
# The broker and the ports in the documents.
BROKER, PORTS = "localhost:9092", (9464, 9465, 9090, 9093)
TOOLS = ("prometheus", "prometheus-alertmanager", "amtool")
TIMEOUT_S = 600

pytestmark = pytest.mark.stack


def run_document(document: str, name: str, own: str, folder: Path, bootstrap: str, **installed: str) -> str:
    """Run the shell blocks of a document as one script in a new folder, and return what it prints.

    Args:
        document: The document, relative to the project.
        name: What the document names its topic and folder.
        own: What this run names them, since the cluster may have that topic already.
        folder: The folder of the clone.
        bootstrap: The broker.
        installed: Variables of an environment with the installed wheel; without them, that of the tests.
    """
    for port in PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.fail(f"port {port}, which the documents name, is in use on this machine; free it")
    activate = folder / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    # The script activates the environment of a clone.
    activate.write_text(f'PATH="{Path(sys.executable).parent}:$PATH"\n' if not installed else "")
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / document).read_text("utf-8"), re.DOTALL | re.MULTILINE)
    # The servers must end with the shell, even after a failed command.
    script = "\n".join(["trap 'kill $(jobs -p) 2> /dev/null || true' EXIT", *blocks])
    assert BROKER in script
    script = script.replace(BROKER, bootstrap).replace(name, own)
    ran = subprocess.run(
        # `timeout` also ends the servers, which are in its process group.
        ["timeout", "--kill-after=10", str(TIMEOUT_S), "bash", "-euo", "pipefail", "-c", script],
        check=False,
        cwd=folder,
        # The variable that names the broker of the tests is none of the service's.
        env=environment() | installed,
        capture_output=True,
        text=True,
    )
    logs = "\n".join(path.read_text() for path in sorted(folder.glob("*/*.log")))
    assert ran.returncode == 0, ran.stdout + ran.stderr + logs
    return ran.stdout


def name_run(name: str) -> str:
    """Return a name of a run's own."""
    return f"{name}-{uuid4().hex[:8]}"


def commands_of_image(folder: Path) -> dict[str, str]:
    """Return the variables with which a shell runs the image's commands in place of the machine's."""
    *podman, image = run_words(build(), f"--user={os.getuid()}", "--interactive")
    for name in ("driftgauge", "python"):
        inside = '--volume="$PWD:$PWD" --workdir="$PWD"'
        program = folder / name
        program.write_text(
            f'#!/bin/sh\nexec {shlex.join(podman)} {inside} --entrypoint={name} {image} "$@"\n'
        )
        program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("install", [install, commands_of_image], ids=["wheel", "image"])
def test_quick_start_shows_drift_from_empty_folder(
    install: Callable[[Path], dict[str, str]], tmp_path: Path, bootstrap: str
) -> None:
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    installed.mkdir()
    printed = run_document(
        "README.md", "quick-start", name_run("quick-start"), empty, bootstrap, **install(installed)
    )
    assert "no problem found" in printed
    assert '"ready":true' in printed
    divergence = float(re.search(r'js_divergence\{stream="digits",window="1h"\} (\S+)', printed)[1])
    floor = float(re.search(r'noise_floor\{stream="digits",window="1h"\} (\S+)', printed)[1])
    assert divergence > 5 * floor, "the last hour published is darkened"
    (log,) = empty.glob("*/serve.log")
    assert log.read_text().count('"event": "window closed"') == 7, "six hours and a day"


def test_tutorial_ends_with_alert_that_names_the_window(tmp_path: Path, bootstrap: str) -> None:
    for tool in TOOLS:
        required(tool, "prometheus prometheus-alertmanager")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    stream = name_run("search-log")
    printed = run_document("service/docs/tutorial.md", "search-log", stream, tmp_path, bootstrap)
    assert "embedding: query.vector" in printed
    assert re.search(r"the last 2 of about [\d,]+ records: 2 accepted \(2 events\)", printed)
    assert "no problem found" in printed
    assert re.search(rf"{stream} +invalid +123\n", printed), "one record an hour has no vector"
    alert = printed.rpartition('alertname="DriftgaugeDrift"')[2]
    for label in (f'stream="{stream}"', 'owner="ann"', 'severity="critical"'):
        assert label in alert
    assert re.search(rf"Stream {stream}, window of 1h that ended at \S+ \S+:00:00", printed)
    assert re.search(r"Top movers: cluster \d", printed)
    (report,) = tmp_path.glob("*/report.html")
    assert stream in report.read_text("utf-8")
