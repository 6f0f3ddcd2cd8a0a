"""The documents' commands, verbatim, on the real broker: quick start, then a firing alert."""

import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.needed import skip_or_fail

ROOT = Path(__file__).parents[2]
# The ports in the documents.
PORTS = (9464, 9465, 9090, 9093)
TOOLS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
# The loops in the documents are unbounded.
TIMEOUT_S = 240

pytestmark = pytest.mark.stack


@dataclass(frozen=True)
class DocumentRun:
    """The output of the commands, and the service's log of the quick start."""

    quick_start: str
    alert: str
    log: str


def commands(document: str, heading: str) -> str:
    """Return the shell blocks below a heading of a document as one script."""
    text = (ROOT / document).read_text(encoding="utf-8")
    (_, section) = re.split(rf"^##+ {re.escape(heading)}$", text, maxsplit=1, flags=re.MULTILINE)
    section = re.split(r"^##+ ", section, maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert blocks, f"{document} has no commands below {heading!r}"
    return "\n".join(blocks)


def environment(folder: Path, bootstrap: str) -> dict[str, str]:
    """Return an environment that gives the script this test's interpreter and broker."""
    activate = folder / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    # The script activates the environment of a clone; here that is the environment of the tests.
    activate.write_text(f'PATH="{Path(sys.executable).parent}:$PATH"\n')
    (folder / "deploy").symlink_to(ROOT / "deploy")
    return {
        **os.environ,
        "DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        # The README names a group and topics; a cluster of DRIFTGAUGE_TEST_BOOTSTRAP may have them already.
        "DRIFTGAUGE_KAFKA__GROUP_ID": f"quick-start-{os.getpid()}",
        "DRIFTGAUGE_TOPICS__EVENTS": f'["quick-start-{os.getpid()}"]',
    }


def missing_tools() -> list[str]:
    return [tool for tool in TOOLS if shutil.which(tool) is None]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, bootstrap: str) -> DocumentRun:
    """Run both sections in one shell; the second only if its programs are installed."""
    for port in PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.fail(f"port {port}, which the documents name, is in use on this machine; free it")
    folder = tmp_path_factory.mktemp("readme")
    mark = "=== alert ==="
    script = [
        # The servers must end with the shell, even after a failed command.
        "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT",
        commands("README.md", "Quick start, against a real broker"),
        f"cp serve.log first.log; echo '{mark}'",
    ]
    if not missing_tools():
        script.append(commands("deploy/README.md", "See an alert fire"))
    ran = subprocess.run(
        # `timeout` also ends the servers, which are in its process group.
        ["timeout", "--kill-after=10", str(TIMEOUT_S), "bash", "-euo", "pipefail", "-c", "\n".join(script)],
        check=False,
        cwd=folder,
        env=environment(folder, bootstrap),
        capture_output=True,
        text=True,
    )
    logs = "\n".join(path.read_text() for path in sorted(folder.glob("quick-start/*.log")))
    assert ran.returncode == 0, ran.stdout + ran.stderr + logs
    quick_start, _, alert = ran.stdout.partition(mark)
    return DocumentRun(quick_start, alert, (folder / "quick-start" / "first.log").read_text())


def test_quick_start_shows_drift(done: DocumentRun) -> None:
    assert "no problem found" in done.quick_start
    assert '"ready":true' in done.quick_start
    divergence = float(re.search(r'js_divergence\{stream="digits",window="1h"\} (\S+)', done.quick_start)[1])
    floor = float(re.search(r'noise_floor\{stream="digits",window="1h"\} (\S+)', done.quick_start)[1])
    assert divergence > 5 * floor, "the last hour published is darkened"
    assert done.log.count('"event": "window closed"') == 7, "six hours and a day"


def test_alert_fires_and_names_the_window(done: DocumentRun) -> None:
    if missing := missing_tools():
        reason = f"{', '.join(missing)} not found: `apt-get install -y prometheus prometheus-alertmanager`"
        skip_or_fail(reason)
    assert re.search(
        r'ALERTS\{alertname="DriftgaugeDrift", alertstate="firing".*stream="digits".*\} => 1', done.alert
    )
    notice = done.alert.partition("=> 1")[2]
    assert 'alertname="DriftgaugeDrift"' in notice
    assert "Stream digits, window of 1h that ended at 2025-11-03 12:00:00" in notice
    assert re.search(r"Top movers: cluster \d", notice)
