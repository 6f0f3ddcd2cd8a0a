"""The alerts, as they are written by hand."""

from pathlib import Path
from typing import Any

import yaml

__all__ = ["groups"]

_FILE = Path(__file__).parents[1] / "prometheus/rules/driftgauge-alerts.yml"


def groups() -> list[dict[str, Any]]:
    """Return the groups of alerting rules."""
    found: list[dict[str, Any]] = yaml.safe_load(_FILE.read_text("utf-8"))["groups"]
    return found
