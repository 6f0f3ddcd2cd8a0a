"""The README's commands, verbatim, against the real broker: the quick start, and on to a firing alert."""

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
# As the README names them.
PORTS = (9464, 9090, 9093)
TOOLS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")

pytestmark = pytest.mark.stack


@dataclass(frozen=True)
class Done:
    """What the commands said, and what the service logged while the quick start's ran."""

    quick_start: str
    alert: str
    log: str


def commands(heading: str) -> str:
    """Return the shell blocks below a heading as one script."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.split(r"\n##+ ", readme.split(f"{heading}\n", 1)[1], maxsplit=1)[0]
    return "\n".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))


def environment(folder: Path, bootstrap: str) -> dict[str, str]:
    """Return an environment in which the script's words find this test's interpreter and broker."""
    activate = folder / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    # The first line activates the environment of a clone; here it is the one that runs the tests.
    activate.write_text(f'PATH="{Path(sys.executable).parent}:$PATH"\n')
    (folder / "deploy").symlink_to(ROOT / "deploy")
    return {
        **os.environ,
        "DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        # The group and the topics are the README's own; a cluster that was named may know them.
        "DRIFTGAUGE_KAFKA__GROUP_ID": f"quick-start-{os.getpid()}",
        "DRIFTGAUGE_TOPICS__EVENTS": f'["quick-start-{os.getpid()}"]',
    }


def missing_tools() -> list[str]:
    return [tool for tool in TOOLS if shutil.which(tool) is None]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, bootstrap: str) -> Done:
    """Run both sections in one shell, as a reader would; the second where its programs are installed."""
    for port in PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.fail(f"port {port}, which the README names, is in use on this machine; free it")
    folder = tmp_path_factory.mktemp("readme")
    mark = "=== and on ==="
    script = [commands("## Quick start, against a real broker"), f"cp serve.log first.log; echo '{mark}'"]
    if not missing_tools():
        script.append(commands("### See an alert fire"))
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(script)],
        check=False,
        cwd=folder,
        env=environment(folder, bootstrap),
        capture_output=True,
        text=True,
        timeout=240,
    )
    logs = "\n".join(path.read_text() for path in sorted(folder.glob("quick-start/*.log")))
    assert ran.returncode == 0, ran.stdout + ran.stderr + logs
    quick_start, _, alert = ran.stdout.partition(mark)
    return Done(quick_start, alert, (folder / "quick-start" / "first.log").read_text())


def test_the_quick_start_works_as_it_stands(done: Done) -> None:
    assert "no problem found" in done.quick_start
    assert '"ready":true' in done.quick_start
    divergence = float(re.search(r'js_divergence\{stream="digits",window="1h"\} (\S+)', done.quick_start)[1])
    floor = float(re.search(r'noise_floor\{stream="digits",window="1h"\} (\S+)', done.quick_start)[1])
    assert divergence > 5 * floor, "the last hour published is darkened"
    assert done.log.count('"event": "window closed"') == 7, "six hours and a day"


def test_the_operators_section_leads_to_an_alert_that_fires(done: Done) -> None:
    if missing := missing_tools():
        reason = f"{', '.join(missing)} not found: `apt-get install -y prometheus prometheus-alertmanager`"
        skip_or_fail(reason)
    assert re.search(
        r'ALERTS\{alertname="DriftgaugeDrift", alertstate="firing".*stream="digits".*\} => 1', done.alert
    )
    told = done.alert.partition("=> 1")[2]
    assert 'alertname="DriftgaugeDrift"' in told
    assert "Stream digits, window of 1h that ended at 2025-11-03 12:00:00" in told
    assert re.search(r"Top movers: cluster \d", told)
