"""The compose file and its services."""

from collections.abc import Iterator
from typing import Any

import yaml

from tests.deploy.dockerfile import DOCKER

FILE = DOCKER / "compose.yaml"
STACK: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
OURS = {
    name: service
    for name, service in SERVICES.items()
    if service["image"].startswith(("driftgauge:", "driftgauge-demo:"))
}
DEMO = {name: service for name, service in OURS.items() if service["image"].startswith("driftgauge-demo:")}


def mounts(name: str) -> Iterator[tuple[str, str, str]]:
    """Source, target and mode of each mount of a service."""
    for entry in SERVICES[name].get("volumes", []):
        source, target, *mode = entry.split(":")
        yield source, target, (mode or ["rw"])[0]


# The measured maximum in MiB. The service read a backlog of vectors of 512 numbers, the page had 60,000
# windows, Prometheus and Alertmanager had these files and no target. A Java program takes its heap (512 MiB;
# 256 for the topics' script) and at most as much again. Grafana's is half of its recommended minimum
# (https://grafana.com/docs/grafana/latest/setup-grafana/installation/).
HELD_MIB = {
    "driftgauge": 210,
    "page": 133,
    "prepare": 205,
    "producer": 163,
    "prometheus": 46,
    "alertmanager": 31,
    "kafka": 512,
    "topics": 256,
    "grafana": 256,
}
