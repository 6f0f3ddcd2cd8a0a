"""The servers of the chain: topics, traffic, two replicas, Prometheus, Alertmanager, notice receiver."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from driftgauge.core.durations import format_duration, parse_duration
from tests.deploy.chain.servers import Alertmanager, Prometheus
from tests.deploy.chain.traffic import PARTITIONS, LiveTraffic, SegmentedCase
from tests.deploy.chain.webhook import Notice, Webhook
from tests.harness.node import free_ports
from tests.harness.service import ReplicaProcess
from tests.waiting import PATIENCE_S, wait_for

_DEPLOY = Path(__file__).parents[3] / "deploy"
RULES = sorted((_DEPLOY / "prometheus" / "rules").glob("*.yml"))
ALERTMANAGER = _DEPLOY / "alertmanager" / "alertmanager.yml"

# The waits of rules and routes. Ranges inside expressions are no waits.
_WAITS = {"for", "keep_firing_for", "group_wait", "group_interval", "repeat_interval"}
_LEAST_MS = 1_000


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


def redirect(config: Mapping[str, Any], url: str) -> dict[str, Any]:
    """Return Alertmanager's configuration with a test server in place of PagerDuty and Slack."""
    as_data = {"webhook_configs": [{"url": url}]}
    receivers = [
        {"name": receiver["name"], **(as_data if len(receiver) > 1 else {})}
        for receiver in config["receivers"]
    ]
    return {**config, "templates": [], "receivers": receivers}


__all__ = ["FACTOR", "STREAMS", "WINDOWS", "MonitoringStack", "NotifiedCause"]

FACTOR = 60
"""Divisor of every wait of rules and routes; a wait is at least a second."""

STREAMS = {"alpha": "warning", "beta": "critical"}
"""The configured drift severity of each stream."""

WINDOWS = ("1h", "3h")
REPLICAS = ("a", "b")

_ANY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class NotifiedCause:
    """A cause and the notice that followed.

    Attributes:
        cause: The cause, in words.
        caused_s: The time of the cause, seconds since the epoch.
        notice: The notice that followed.
    """

    cause: str
    caused_s: float
    notice: Notice

    @property
    def alert_after_s(self) -> float:
        """Time until Prometheus changed the state of the alert, s."""
        return self.notice.changed_s - self.caused_s

    @property
    def notice_after_s(self) -> float:
        """Time until the receiver had the notice, s."""
        return self.notice.at_s - self.caused_s


class MonitoringStack:
    """Starts all servers, within a context that stops them."""

    def __init__(self, folder: Path, bootstrap: str, running: ExitStack) -> None:
        self._running = running
        self._ports = dict(zip(REPLICAS, free_ports(len(REPLICAS)), strict=True))
        self.case = SegmentedCase(
            folder,
            bootstrap,
            windows=WINDOWS,
            streams=tuple(STREAMS),
            partitions=PARTITIONS,
            settings={"streams": [_watch(stream, severity) for stream, severity in STREAMS.items()]},
        )
        self.webhook = running.enter_context(Webhook())
        routes = redirect(shorten(load(ALERTMANAGER), FACTOR), self.webhook.url)
        self.alertmanager = running.enter_context(Alertmanager(folder, routes))
        self.traffic = running.enter_context(LiveTraffic(self.case))
        self.services = {name: self._start(name) for name in REPLICAS}
        for service in self.services.values():
            service.wait_until_ready()
        rules = {path.name: shorten(load(path), FACTOR) for path in RULES}
        targets = [f"127.0.0.1:{port}" for port in self._ports.values()]
        self.prometheus = running.enter_context(Prometheus(folder, targets, rules, self.alertmanager))

    def kill(self) -> None:
        """Kill every replica, as a crash does."""
        for service in self.services.values():
            service.kill()

    def restart(self) -> None:
        """Start the replicas one by one, so that a scrape sees the first before it shares its partitions."""
        for number, name in enumerate(REPLICAS, 1):
            self.services[name] = self._start(name)
            self.wait_for(f"{number} replicas to hold all partitions", self._held_by(number))

    def _start(self, name: str) -> ReplicaProcess:
        """Start a replica on its fixed port."""
        return self._running.enter_context(
            self.case.serve(name, {"DRIFTGAUGE_HTTP__PORT": str(self._ports[name])})
        )

    def _held_by(self, replicas: int) -> str:
        # Partitions of the events topic, without the shards.
        held = 'driftgauge_consumer_assigned_partitions{topic!~".+[.]partials[.].+"} > 0'
        return f"sum({held}) == {PARTITIONS} and count({held}) == {replicas}"

    def wait_for(self, what: str, expression: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until a query has a result."""

        def answered() -> bool:
            meanwhile()
            return bool(self.prometheus.query(expression))

        wait_for(what, answered)

    def notified_cause(
        self,
        cause: str,
        caused_s: float,
        alert: str,
        status: str,
        labels: Mapping[str, str] = _ANY,
        meanwhile: Callable[[], None] = lambda: None,
        within_s: float = PATIENCE_S,
    ) -> NotifiedCause:
        """Wait for the notice of an alert with at least these labels, after a cause."""
        found: list[Notice] = []

        def noticed() -> bool:
            meanwhile()
            found.extend(self.webhook.matching(alert, status, labels, after_s=caused_s))
            return bool(found)

        wait_for(f"the notice that {alert} is {status} once {cause}", noticed, within_s=within_s)
        return NotifiedCause(cause, caused_s, found[0])


def _watch(stream: str, severity: str) -> dict[str, object]:
    return {
        "name": stream,
        "baseline": f"{stream}.safetensors",
        "windows": list(WINDOWS),
        "segments": ["country"],
        # Large enough that an hour's events, and a segment's third of them, suffice for the verdict ok.
        "smallest_drift": {"js_divergence": 0.25, "mean_shift": 1.0},
        # The event two hours late is still counted.
        "allowed_lateness": "3h",
        # Long enough that windows close by event time alone, even on a busy machine.
        "idle_timeout": "30s",
        "drift_severity": severity,
    }
