"""Which code runs, as /version says it."""

import json
import urllib.request
from importlib.metadata import version

from driftgauge.telemetry.server import HttpServer
from driftgauge.telemetry.version import read_commit, version_route
from tests.deploy.dockerfile import ROOT
from tests.processes import run_command


def test_version_names_commit_of_clone():
    server = HttpServer("127.0.0.1", 0, [version_route()])
    server.start()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/version", timeout=60) as answer:
            said = json.load(answer)
    finally:
        server.stop()
    head = run_command("git", "-C", ROOT, "rev-parse", "HEAD", check=True).stdout.strip()
    assert said["version"] == version("driftgauge")
    assert said["commit"].removesuffix("-dirty") == head


def test_commit_of_another_clone_is_not_taken(tmp_path):
    git = ("git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.com")
    run_command(*git, "init", check=True)
    run_command(*git, "commit", "--allow-empty", "--message=another", check=True)
    package = tmp_path / ".venv/lib/python3.11/site-packages/driftgauge"
    package.mkdir(parents=True)
    assert read_commit(package) is None
    (package / "commit.txt").write_text("5f3c\n")
    assert read_commit(package) == "5f3c"
