"""`driftgauge health`."""

import json

import pytest

from tests.builders.baselines import save_baseline
from tests.builders.configs import write_config
from tests.cli.command import run, succeed
from tests.harness.registry_server import serve_answers


def serve_health(status, missing):
    """Serve /livez with 200 and /readyz with `status`; return the context of its address."""
    ready = json.dumps({"ready": not missing, "missing": missing}).encode()
    return serve_answers(lambda path, _: (status, ready) if path == "/readyz" else (200, b'{"alive": true}'))


def test_health_prints_one_line_and_sets_exit_status(tmp_path):
    save_baseline(tmp_path)
    config = write_config(tmp_path)
    with serve_health(503, ["restored"]) as url:
        # As in a container, the service listens on all addresses; the probe uses loopback without a proxy.
        environ = {
            "DRIFTGAUGE_HTTP__HOST": "0.0.0.0",  # noqa: S104 - nothing listens there
            "DRIFTGAUGE_HTTP__HEALTH_PORT": url.rpartition(":")[2],
            "http_proxy": "http://127.0.0.1:1",
        }
        alive = succeed("health", "--config", config, **environ)
        ready = run("health", "--config", config, "--ready", **environ)
        named = run("health", "--url", f"{url}/", "--ready")
    assert (alive.stdout, alive.stderr) == (f'{url}/livez answers 200: {{"alive": true}}\n', "")
    answer = 'readyz answers 503: {"ready": false, "missing": ["restored"]}\n'
    for done in (ready, named):
        assert (done.returncode, done.stdout) == (1, f"{url}/{answer}")
    with serve_health(200, []) as url:
        succeed("health", "--url", url, "--ready")


@pytest.mark.parametrize(
    ("url", "reason"),
    [("http://127.0.0.1:1", "Connection refused"), ("127.0.0.1", "unknown url type"), ("file:/", "")],
)
def test_service_without_answer_is_not_healthy(url, reason):
    done = run("health", "--url", url)
    assert (done.returncode, done.stderr) == (1, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{url.rstrip('/')}/livez does not answer")
    assert reason in line
    document = json.loads(run("health", "--url", url, "--json").stdout)
    assert (document["healthy"], document["answer"]) == (False, line)
