"""`driftgauge health`."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.builders.baselines import save_baseline
from tests.builders.configs import write_config
from tests.cli.command import run


@contextmanager
def serve_health(status, missing):
    """Serve /livez with 200 and /readyz with `status`; yield the port."""

    class HealthHandler(BaseHTTPRequestHandler):
        def do_GET(self):
            ready = self.path == "/readyz"
            body = json.dumps({"ready": not missing, "missing": missing} if ready else {"alive": True})
            self.send_response(status if ready else 200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), HealthHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_health_prints_one_line_and_sets_exit_status(tmp_path):
    save_baseline(tmp_path)
    config = write_config(tmp_path)
    with serve_health(503, ["restored"]) as port:
        # As in a container, the service listens on all addresses; the probe uses loopback without a proxy.
        environ = {
            "DRIFTGAUGE_HTTP__HOST": "0.0.0.0",  # noqa: S104 - nothing listens there
            "DRIFTGAUGE_HTTP__HEALTH_PORT": str(port),
            "http_proxy": "http://127.0.0.1:1",
        }
        alive = run("health", "--config", config, **environ)
        ready = run("health", "--config", config, "--ready", **environ)
        named = run("health", "--url", f"http://127.0.0.1:{port}/", "--ready")
    assert (alive.returncode, alive.stderr) == (0, "")
    assert alive.stdout == f'http://127.0.0.1:{port}/livez answers 200: {{"alive": true}}\n'
    assert ready.returncode == named.returncode == 1
    assert ready.stdout == named.stdout
    assert 'readyz answers 503: {"ready": false, "missing": ["restored"]}' in ready.stdout
    with serve_health(200, []) as port:
        assert run("health", "--url", f"http://127.0.0.1:{port}", "--ready").returncode == 0


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
