"""Debian's Prometheus and Alertmanager as processes on loopback, with their queries."""

import json
import math
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from tests.harness.node import free_ports
from tests.needed import required
from tests.waiting import wait_for

__all__ = ["Alertmanager", "Prometheus"]

REQUEST_TIMEOUT_S = 10.0
LOG_TAIL_LINES = 20
STEP_S = 1


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
        *alertmanagers: "Alertmanager",
        every: str = "1s",
    ) -> None:
        for name, tree in rules.items():
            (folder / name).write_text(yaml.safe_dump(tree))
        config = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": list(rules),
            "alerting": {
                "alertmanagers": [
                    {"static_configs": [{"targets": [f"127.0.0.1:{each.port}"]}]} for each in alertmanagers
                ]
            },
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

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the current result of an expression."""
        answer = json.loads(self._get("/api/v1/query", query=expression))
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def draws(self, expression: str, *, since_s: float, until_s: float) -> bool:
        """Return whether an expression has a finite value in a period."""
        answer = json.loads(
            self._get("/api/v1/query_range", query=expression, start=since_s, end=until_s, step=STEP_S)
        )
        return any(
            math.isfinite(float(value))
            for series in answer["data"]["result"]
            for _, value in series["values"]
        )


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
