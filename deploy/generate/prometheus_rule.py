"""The rules as a resource of the Prometheus operator: the same groups, for a cluster to apply."""

from pathlib import Path
from typing import Any

import yaml
from deploy.generate import recording

__all__ = ["manifest"]

_ALERTS = Path(__file__).parents[1] / "prometheus/rules/driftgauge-alerts.yml"


def manifest() -> dict[str, object]:
    """Return the PrometheusRule that holds the recording and the alerting rules."""
    # The recording rules from where they are made: their file may be about to be written anew.
    files: tuple[dict[str, Any], ...] = (recording.rules(), yaml.safe_load(_ALERTS.read_text("utf-8")))
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "driftgauge"},
        "spec": {"groups": [group for file in files for group in file["groups"]]},
    }
