"""The shipped rules and routes with two changes: shorter waits, and notices that go to the test."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from driftgauge.core.durations import format_duration, parse_duration

__all__ = ["ALERTMANAGER", "ROUTING_KEY", "RULES", "load", "redirect", "shorten"]

_DEPLOY = Path(__file__).parents[3] / "deploy"
RULES = sorted((_DEPLOY / "prometheus" / "rules").glob("*.yml"))
ALERTMANAGER = _DEPLOY / "alertmanager" / "alertmanager.yml"

ROUTING_KEY = "the-key-of-the-test"
"""The routing key of the test's PagerDuty."""

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


def redirect(config: Mapping[str, Any], url: str, folder: Path) -> dict[str, Any]:
    """Return Alertmanager's configuration with a test server in place of PagerDuty and Slack.

    Every receiver also sends its notices to the same server as JSON.

    Args:
        config: The shipped configuration.
        url: The address of the test server.
        folder: The folder of the configuration; this function writes templates and secrets there.

    Raises:
        ValueError: A receiver has another kind of configuration.
    """
    shutil.copytree(ALERTMANAGER.parent / "templates", folder / "templates")
    (folder / "pagerduty-key").write_text(ROUTING_KEY)
    (folder / "slack-url").write_text(f"{url}/slack")
    ours = {
        "pagerduty_configs": {"routing_key_file": "pagerduty-key", "url": f"{url}/pagerduty"},
        "slack_configs": {"api_url_file": "slack-url"},
    }
    receivers = []
    for receiver in config["receivers"]:
        ways = {way: configs for way, configs in receiver.items() if way != "name"}
        if not ways.keys() <= ours.keys():
            message = (
                f"receiver {receiver['name']}: the test receives only {sorted(ours)}, not {sorted(ways)}"
            )
            raise ValueError(message)
        redirected = {way: [each | ours[way] for each in configs] for way, configs in ways.items()}
        as_data = {"webhook_configs": [{"url": f"{url}/notices"}]} if ways else {}
        receivers.append({"name": receiver["name"], **redirected, **as_data})
    return {**config, "receivers": receivers}
