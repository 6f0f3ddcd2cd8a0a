"""The shipped rules and routes with two changes: shorter waits, and notices that go to the test."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from driftgauge.core.durations import format_duration, parse_duration

__all__ = ["ALERTMANAGER", "RULES", "load", "redirect", "shorten"]

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
