"""The compose file and its services."""

import re
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


def memory_mib(name: str) -> int:
    """The memory limit of a service, MiB."""
    limit = re.fullmatch(r"(\d+)m", SERVICES[name]["deploy"]["resources"]["limits"]["memory"])
    assert limit
    return int(limit[1])
