"""Alertmanager's routes as an AlertmanagerConfig, the custom resource of the Prometheus operator."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = ["spec"]

_FILE = Path(__file__).parents[1] / "alertmanager/alertmanager.yml"
_SECRET = "driftgauge-notices"  # noqa: S105 - the name of a Secret, whose keys are the names of the secret files

# Short texts without links, because the operator passes on no file of templates.
_TITLE = (
    "[{{ .Status }}] "
    "{{ with .CommonLabels.stream }}{{ . }}{{ with $.CommonLabels.owner }} ({{ . }}){{ end }}: {{ end }}"
    "{{ (index .Alerts 0).Annotations.summary }}"
)
_TEXT = (
    "{{ range .Alerts }}{{ .Labels.alertname }} is {{ .Status }}. {{ .Annotations.description }}\n"
    "Runbook: {{ .Annotations.runbook_url }}\n{{ end }}"
)
# As in driftgauge.tmpl: Slack takes <!channel> and <address|text> for a mention or a link.
_FOR_SLACK = ' | reReplaceAll "&" "&amp;" | reReplaceAll "<" "&lt;" | reReplaceAll ">" "&gt;" }}'
_SLACK = _TEXT.replace(".Annotations.description }}", f".Annotations.description{_FOR_SLACK}")


def spec() -> dict[str, Any]:
    """Return the spec of an AlertmanagerConfig: routes, inhibitions and receivers of alertmanager.yml."""
    config = yaml.safe_load(_FILE.read_text("utf-8"))
    return {
        "route": _route(config["route"]),
        "inhibitRules": [
            {
                "sourceMatch": _matchers(rule["source_matchers"]),
                "targetMatch": _matchers(rule["target_matchers"]),
                "equal": rule["equal"],
            }
            for rule in config["inhibit_rules"]
        ],
        "receivers": [_receiver(receiver) for receiver in config["receivers"]],
    }


def _route(route: Mapping[str, Any]) -> dict[str, object]:
    renamed = {
        "receiver": "receiver",
        "group_by": "groupBy",
        "group_wait": "groupWait",
        "group_interval": "groupInterval",
        "repeat_interval": "repeatInterval",
    }
    return {
        **({"matchers": _matchers(route["matchers"])} if "matchers" in route else {}),
        **{renamed[key]: value for key, value in route.items() if key in renamed},
        **({"routes": [_route(each) for each in route["routes"]]} if "routes" in route else {}),
    }


def _matchers(texts: Iterable[str]) -> list[dict[str, str]]:
    # Without matchType values are equal.
    return [
        {"name": name, **({} if kind == "=" else {"matchType": kind}), "value": value}
        for text in texts
        for name, kind, value in re.findall(r'^(\w+)(=~|=)"(.*)"$', text)
    ]


def _receiver(receiver: Mapping[str, Any]) -> dict[str, object]:
    pages = [
        {
            "routingKey": _secret(page["routing_key_file"]),
            "description": _TITLE,
            "details": [{"key": "alerts", "value": _TEXT}],
        }
        for page in receiver.get("pagerduty_configs", ())
    ]
    tickets = [
        {"apiURL": _secret(ticket["api_url_file"]), "sendResolved": True, "title": _TITLE, "text": _SLACK}
        for ticket in receiver.get("slack_configs", ())
    ]
    return {
        "name": receiver["name"],
        **({"pagerdutyConfigs": pages} if pages else {}),
        **({"slackConfigs": tickets} if tickets else {}),
    }


def _secret(file: str) -> dict[str, str]:
    return {"name": _SECRET, "key": Path(file).name}
