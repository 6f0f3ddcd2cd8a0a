"""What people and programs read of a run: the page with its API, and the metrics of all replicas."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlencode

import orjson
from prometheus_client.samples import Sample
from starlette.requests import Request
from starlette.routing import BaseRoute, Mount, Route

from driftgauge.config import Settings
from driftgauge.events.records import StoredRecord
from driftgauge.page.marks import Marks
from driftgauge.page.service_watch import ServiceWatch
from driftgauge.page.site import Site
from driftgauge.records.heartbeat import Heartbeat, encode_heartbeat
from driftgauge.telemetry.metrics import Telemetry
from tests.builders.page import MadeResults

Samples = dict[str, dict[frozenset[tuple[str, str]], float]]
"""By a metric's name, without the prefix: the value by labels."""


class Page:
    """The page of a run, which reads every result and heartbeat when it is published."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._visits: dict[int, Visit] = {}
        # Configurations of a run may name different streams, and results are read once.
        self.results = MadeResults(10**6, shows_snippets=True)
        self.source = self.results.made
        self._watch = ServiceWatch()

    def publish(self, value: bytes, now_ms: int) -> None:
        """Read a result."""
        self.results.add(value, now_ms)

    def hear(self, heartbeat: Heartbeat, now_ms: int) -> None:
        """Read a heartbeat of a replica."""
        for value in encode_heartbeat(heartbeat):
            self._watch.receive(StoredRecord(value, "heartbeats", stored_ms=now_ms))

    def visit(self, settings: Settings) -> "Visit":
        """Return the site of a process with a configuration."""
        if id(settings) not in self._visits:
            site = Site(self.results, settings, self._clock_ms, Marks(), self._watch)
            self._visits[id(settings)] = Visit(site.routes())
        return self._visits[id(settings)]


class Visit:
    """Requests to the site, answered in this thread."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._endpoints = dict(_endpoints("", routes))

    def statuses(self) -> dict[str, dict[str, Any]]:
        """Return the status of each stream, as the API answers."""
        return {each["stream"]: each for each in orjson.loads(self.get("/api/v1/streams"))["streams"]}

    def get(self, path: str, **query: str) -> bytes:
        """Return the body of an answer that is 200."""
        scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        scope["query_string"] = urlencode(query).encode()
        response = self._endpoints[path](Request(scope))
        assert response.status_code == 200, f"{path} {query}: {response.body}"
        return response.body


def _endpoints(prefix: str, routes: Iterable[BaseRoute]) -> Iterable[tuple[str, Any]]:
    for route in routes:
        if isinstance(route, Mount):
            yield from _endpoints(prefix + route.path, route.routes)
        elif isinstance(route, Route):
            yield prefix + route.path, route.endpoint


def read_metrics(telemetries: Iterable[Telemetry]) -> Samples:
    """Return the samples of all replicas together; a stream's are those of one replica."""
    samples: Samples = {}
    for sample in collect(telemetries):
        name, key = sample.name.removeprefix("driftgauge_"), frozenset(sample.labels.items())
        known = samples.setdefault(name, {})
        is_shown_once = name.startswith(("window_", "alarm_", "late_", "windows_", "applied_"))
        assert key not in known or not is_shown_once, f"two replicas show {name}{sample.labels}"
        known[key] = sample.value
    return samples


def collect(telemetries: Iterable[Telemetry]) -> Iterator[Sample]:
    """Yield the samples of each replica."""
    for telemetry in telemetries:
        for family in telemetry.registry.collect():
            yield from family.samples
