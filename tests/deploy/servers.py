"""Debian's Prometheus and Alertmanager as processes on loopback, and a server in place of their receivers."""

import json
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from driftgauge.core.durations import format_duration, parse_duration
from tests.harness.node import free_ports
from tests.needed import required
from tests.waiting import wait_for

_DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = sorted((_DEPLOY / "kubernetes/chart/files/rules").glob("*.yml"))
ALERTMANAGER = _DEPLOY / "alertmanager"
ALERTMANAGER_CONFIG = ALERTMANAGER / "alertmanager.yml"
SECRETS = "/etc/alertmanager/secrets/driftgauge"

# The waits of rules and routes. Ranges inside expressions are no waits.
_WAITS = {"for", "keep_firing_for", "group_wait", "group_interval", "repeat_interval"}
_LEAST_MS = 1_000

REQUEST_TIMEOUT_S = 10.0
LOG_TAIL_LINES = 20


class _MonitoringServer:
    """A process that serves HTTP from a folder of its own; leaving the context kills it."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        (self.port,) = free_ports(1)
        self._log = folder / f"{type(self).__name__.lower()}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, f"--web.listen-address=127.0.0.1:{self.port}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
            )

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is not None:
            exc.add_note(self._describe_failure())
        self._process.kill()
        self._process.wait()

    def _describe_failure(self) -> str:
        """Return the alerts and the end of the log, for a failed test."""
        name = type(self).__name__
        try:
            alerts = "\n".join(
                f"{alert.get('state') or alert['status']} {alert['labels']}" for alert in self.alerts()
            )
        except OSError as error:
            alerts = repr(error)
        tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        return f"{name}'s alerts:\n{alerts}\n{name}'s log ends with:\n{tail}"

    def alerts(self) -> list[dict[str, Any]]:
        """Return the server's alerts."""
        raise NotImplementedError

    def _wait_until_ready(self) -> None:
        wait_for(f"{type(self).__name__} to be ready", self._is_ready)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text(errors="replace")
        try:
            self._get("/-/ready")
        except OSError:
            return False
        return True

    def _get(self, path: str, **parameters: str | float) -> bytes:
        where = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(where, timeout=REQUEST_TIMEOUT_S) as answer:
            body: bytes = answer.read()
            return body


class Prometheus(_MonitoringServer):
    """Scrapes the targets and evaluates the rules, every second unless told otherwise."""

    def __init__(
        self,
        folder: Path,
        targets: Sequence[str],
        rules: Mapping[str, Any],
        *,
        every: str = "1s",
        alertmanagers: Sequence[str] = (),
    ) -> None:
        for name, tree in rules.items():
            (folder / name).write_text(yaml.safe_dump(tree))
        config = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": list(rules),
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}]},
            "scrape_configs": [
                {"job_name": "driftgauge", "static_configs": [{"targets": list(targets)}]},
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        super().__init__(
            folder,
            [
                required("prometheus", "prometheus"),
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=prometheus",
            ],
        )

    def __enter__(self) -> "Prometheus":
        self._wait_until_ready()
        return self

    def alerts(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = json.loads(self._get("/api/v1/alerts"))["data"]["alerts"]
        return answer


class Alertmanager(_MonitoringServer):
    """Routes the alerts of Prometheus."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
        super().__init__(
            folder,
            [
                required("prometheus-alertmanager", "prometheus-alertmanager"),
                "--config.file=alertmanager.yml",
                "--storage.path=alertmanager",
                # No cluster, so that the start does not wait for gossip.
                "--cluster.listen-address=",
            ],
        )

    def __enter__(self) -> "Alertmanager":
        self._wait_until_ready()
        return self

    def alerts(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = json.loads(self._get("/api/v2/alerts"))
        return answer


class JsonReceiver:
    """Serves HTTP on loopback until its context ends, and passes on path and body of each request."""

    def __init__(self, take: Callable[[str, Any], None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                take(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(202 if self.path == "/pagerduty" else 200)
                self.send_header("Content-Type", "text/plain")
                self.end_headers()
                # This is Slack's answer, which later versions of Alertmanager check.
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self._server.server_port}"


class ReceivedMessages(JsonReceiver):
    """The requests that the receivers got, by path."""

    def __init__(self) -> None:
        super().__init__(lambda path, body: self.messages.setdefault(path, []).append(body))
        self.messages: dict[str, list[dict[str, Any]]] = {}


@contextmanager
def run_alertmanager(folder: Path, factor: int) -> Iterator[tuple[Alertmanager, ReceivedMessages]]:
    """Run Alertmanager with the shipped routes and receivers, with waits divided by a factor."""
    shutil.copytree(ALERTMANAGER / "templates", folder / "templates")
    with ReceivedMessages() as received:
        (folder / "slack-url").write_text(f"{received.url}/slack")
        (folder / "pagerduty-key").write_text("key")
        shipped = yaml.safe_load(ALERTMANAGER_CONFIG.read_text("utf-8").replace(SECRETS, str(folder)))
        config = shorten(shipped, factor) | {"global": {"pagerduty_url": f"{received.url}/pagerduty"}}
        with Alertmanager(folder, config) as alertmanager:
            yield alertmanager, received


def load(path: Path) -> Any:
    """Return the content of a YAML file."""
    return yaml.safe_load(path.read_text("utf-8"))


def shorten(tree: Any, factor: int) -> Any:
    """Return a tree in which every wait is divided by a factor, with a minimum of one second."""
    if isinstance(tree, Mapping):
        return {
            key: _shortened(value, factor) if key in _WAITS else shorten(value, factor)
            for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [shorten(branch, factor) for branch in tree]
    return tree


def _shortened(duration: str, factor: int) -> str:
    return format_duration(max(parse_duration(duration) // factor, _LEAST_MS))
