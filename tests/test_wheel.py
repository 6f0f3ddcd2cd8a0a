"""What a release publishes: the installed wheel has all that the service needs, away from the checkout."""

import json
import re
import tarfile
import tomllib
from pathlib import Path

import pytest

from tests.builders.baselines import save_baseline
from tests.harness.service import ReplicaProcess
from tests.processes import run_command
from tests.wheel import ROOT, build, install

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CONFIG = """
kafka: {bootstrap.servers: "127.0.0.1:1", group.id: driftgauge}
topics: {events: [embeddings]}
streams: [{name: images, baseline: images.safetensors, windows: [1h]}]
http: {port: 0, health_port: 0}
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The variables of an environment with the wheel installed."""
    return install(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def run(installed, tmp_path):
    """Runs a command of the installed wheel in an empty folder; it must succeed."""

    def run(*words, **variables):
        done = run_command(*words, cwd=tmp_path, env=installed | variables)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def test_sdist_and_wheel_carry_version_that_changelog_begins_with(tmp_path):
    sdist, wheel = build(tmp_path)
    assert [sdist.name, wheel.name] == [
        f"driftgauge-{VERSION}.tar.gz",
        f"driftgauge-{VERSION}-py3-none-any.whl",
    ]
    with tarfile.open(sdist) as archive:
        top = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert top == {
        *("service", "schemas", "README.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore")
    }
    changes = (ROOT / "service/docs/CHANGELOG.md").read_text()
    assert re.search(r"^## (\S+)", changes, re.MULTILINE)[1] == VERSION


def test_commands_and_completion_are_those_of_installed_wheel(run, installed):
    where = "import driftgauge; print(driftgauge.__file__)"
    assert run("python", "-c", where) == f"{installed['PYTHONPATH']}/driftgauge/__init__.py\n"
    for words in ((), ("serve",), ("baseline", "fit")):
        assert run("driftgauge", *words, "--help").startswith(f"Usage: {' '.join(('driftgauge', *words))} ")
    assert "_DRIFTGAUGE_COMPLETE=bash_complete" in run("driftgauge", _DRIFTGAUGE_COMPLETE="bash_source")
    asked = {"COMP_WORDS": "driftgauge conf", "COMP_CWORD": "1", "_DRIFTGAUGE_COMPLETE": "bash_complete"}
    assert run("driftgauge", **asked) == "plain,config\n"


def test_installed_wheel_checks_configuration_and_serves_page(run, installed, tmp_path):
    save_baseline(tmp_path)
    config = tmp_path / "driftgauge.yaml"
    config.write_text(CONFIG)
    assert "no problem found" in run("driftgauge", "config", "check", "--config", config.name)
    with ReplicaProcess(config, tmp_path / "serve.log", settings=installed) as service:
        status, body = service.get("/")
        assert status == 200
        assets = set(re.findall(r'(?:href|src)="(static/[^"]+)', body))
        assert {Path(asset.partition("?")[0]).suffix for asset in assets} >= {".css", ".js", ".svg"}
        assert {service.get(f"/{asset}")[0] for asset in assets} == {200}
        assert json.loads(service.get("/version")[1]) == {"version": VERSION, "commit": None}
        described = json.loads(service.get("/api/v1/openapi.json")[1])
        assert described["info"]["version"] == VERSION
        service.stop()
