"""The commit that /version names."""

import json
import urllib.request

import pytest

from driftgauge.telemetry.endpoints import version_route
from driftgauge.telemetry.server import HttpServer


@pytest.mark.parametrize("commit", [None, "5f3c"])
def test_commit_is_that_of_image(tmp_path, commit):
    if commit is not None:
        (tmp_path / "commit.txt").write_text(f"{commit}\n")
    server = HttpServer("127.0.0.1", 0, [version_route(tmp_path)])
    server.start()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/version") as answer:
            assert json.load(answer)["commit"] == commit
    finally:
        server.stop()
