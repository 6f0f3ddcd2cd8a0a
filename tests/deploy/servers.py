"""Debian's Prometheus and Alertmanager as processes on loopback, and a server in place of their receivers."""

import json
import re
import shutil
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from driftgauge.core.durations import format_duration, parse_duration
from tests.harness.node import free_ports
from tests.harness.process import ServerProcess
from tests.harness.registry_server import serve_routes
from tests.needed import required

_DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = sorted((_DEPLOY / "kubernetes/chart/files/rules").glob("*.yml"))
ALERTMANAGER = _DEPLOY / "alertmanager"
ALERTMANAGER_CONFIG = ALERTMANAGER / "alertmanager.yml"
SECRETS = "/etc/alertmanager/secrets/driftgauge"

_WAIT = re.compile(r"((?:group_wait|group_interval|repeat_interval): )(\w+)")
_LEAST_MS = 1_000

Messages = dict[str, list[dict[str, Any]]]
"""The bodies of the requests that the receivers got, by path."""


class _MonitoringServer(ServerProcess):
    """A process that serves HTTP from a folder of its own; leaving the context kills it."""

    def __init__(self, folder: Path, program: str, package: str, *options: str) -> None:
        (self.port,) = free_ports(1)
        address = f"--web.listen-address=127.0.0.1:{self.port}"
        super().__init__(type(self).__name__, [required(program, package), address, *options], folder)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is not None:
            exc.add_note(f"{self._name}'s log ends with:\n{self.log_tail()}")
        self.kill()

    def get(self, path: str) -> bytes:
        """Return the body of an answer."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return answer.read()

    @property
    def _log(self) -> Path:
        return self._folder / f"{self._name.lower()}.log"

    def _answers(self) -> bool:
        with suppress(OSError):
            self.get("/-/ready")
            return True
        return False


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
        files = ("--config.file=prometheus.yml", "--storage.tsdb.path=prometheus")
        super().__init__(folder, "prometheus", "prometheus", *files)

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts, pending ones too."""
        return json.loads(self.get("/api/v1/alerts"))["data"]["alerts"]


class Alertmanager(_MonitoringServer):
    """Routes the alerts of Prometheus."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
        files = ("--config.file=alertmanager.yml", "--storage.path=alertmanager")
        # No cluster, so that the start does not wait for gossip.
        options = (*files, "--cluster.listen-address=")
        super().__init__(folder, "prometheus-alertmanager", "prometheus-alertmanager", *options)

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts, muted ones too."""
        return json.loads(self.get("/api/v2/alerts"))


@contextmanager
def _receiving() -> Iterator[tuple[str, Messages]]:
    """Serve HTTP on loopback until the context ends; yield the address, and what requests bring."""
    messages: Messages = {}

    async def receive(request: Request) -> Response:
        path = request.url.path
        messages.setdefault(path, []).append(await request.json())
        # The text is Slack's answer, which later versions of Alertmanager check.
        return Response("ok", 202 if path == "/pagerduty" else 200, media_type="text/plain")

    with serve_routes([Route("/{path:path}", receive, methods=["POST"])]) as server:
        yield f"http://127.0.0.1:{server.port}", messages


@contextmanager
def run_alertmanager(folder: Path, factor: int) -> Iterator[tuple[Alertmanager, Messages]]:
    """Run Alertmanager with the shipped routes, with waits divided by a factor; yield what it sends, too."""

    def shorten(wait: re.Match[str]) -> str:
        return f"{wait[1]}{format_duration(max(parse_duration(wait[2]) // factor, _LEAST_MS))}"

    shutil.copytree(ALERTMANAGER / "templates", folder / "templates")
    with _receiving() as (url, messages):
        (folder / "slack-url").write_text(f"{url}/slack")
        (folder / "pagerduty-key").write_text("key")
        shipped = ALERTMANAGER_CONFIG.read_text("utf-8").replace(SECRETS, str(folder))
        config = yaml.safe_load(_WAIT.sub(shorten, shipped))
        pagerduty = {"global": {"pagerduty_url": f"{url}/pagerduty"}}
        with Alertmanager(folder, config | pagerduty) as alertmanager:
            yield alertmanager, messages


def load(path: Path) -> Any:
    """Return the content of a YAML file."""
    return yaml.safe_load(path.read_text("utf-8"))
