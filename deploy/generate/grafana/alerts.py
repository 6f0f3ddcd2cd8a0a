"""The alerts of drift as Grafana's own, for those who alert there: from the same rules as Prometheus's.

The alerts on blindness have no such copy: they must reach somebody where Grafana is away as well.
"""

from typing import Any

from deploy.generate import alerts
from deploy.generate.grafana import drift, drift_details
from deploy.generate.grafana.dashboards import DRIFT, panel_number

__all__ = ["DATASOURCE_UID", "GROUP", "provisioning"]

DATASOURCE_UID = "driftgauge-prometheus"
"""The data source of provisioning/datasources/prometheus.yml; alerts can name none by a variable."""

GROUP = "driftgauge-drift"

# Where to look, of all panels.
_PANELS = {
    "DriftgaugeDrift": drift.VERDICTS,
    "DriftgaugeDriftPassed": drift.VERDICTS,
    "DriftgaugeSlowDrift": drift_details.SLOW_DRIFT,
    "DriftgaugeSegmentDrift": drift_details.SEGMENT_VERDICTS,
}

# Grafana's templates cannot ask Prometheus for more, as Prometheus's own do for times and top movers.
_DESCRIPTION = (
    "Stream {{ $labels.stream }}, windows of {{ $labels.window }}"
    "{{ if $labels.segment }}, segment {{ $labels.segment }} = {{ $labels.value }}{{ end }}."
    " The dashboard shows how far, where and since when."
)

# Far more than the time between two scrapes; an instant query looks back five minutes by itself.
_LOOK_BACK_S = 600


def provisioning() -> dict[str, object]:
    """Return the file of alert rules, as Grafana's provisioning reads it."""
    (rules,) = (group["rules"] for group in alerts.groups() if group["name"] == GROUP)
    group = {
        "orgId": 1,
        "name": GROUP,
        "folder": "driftgauge",
        "interval": "1m",
        "rules": [_rule(rule) for rule in rules],
    }
    return {"apiVersion": 1, "groups": [group]}


def _rule(rule: dict[str, Any]) -> dict[str, object]:
    name: str = rule["alert"]
    severity: str = rule["labels"]["severity"]
    # Grafana takes either both or neither.
    panel = {
        "__dashboardUid__": DRIFT,
        "__panelId__": str(panel_number(drift.dashboard(), _PANELS[name])),
    }
    return {
        "uid": f"{name.lower()}-{severity}",
        # No two of a folder may have the same.
        "title": f"{name} ({severity})",
        "condition": "fires",
        "data": [_query(rule["expr"]), _condition()],
        # The expressions have a value only where there is drift, and Prometheus tells of blindness.
        "noDataState": "OK",
        # A question that is not answered is blindness, of Grafana's; it has a name of its own there.
        "execErrState": "Error",
        "for": rule.get("for", "0s"),
        # Since Grafana 12; those before it pass over what they do not know, and resolve at once.
        **({"keepFiringFor": rule["keep_firing_for"]} if "keep_firing_for" in rule else {}),
        "labels": rule["labels"],
        "annotations": rule["annotations"] | {"description": _DESCRIPTION} | panel,
        "isPaused": False,
    }


def _query(expr: str) -> dict[str, object]:
    return {
        "refId": "drift",
        "relativeTimeRange": {"from": _LOOK_BACK_S, "to": 0},
        "datasourceUid": DATASOURCE_UID,
        "model": {"refId": "drift", "expr": expr, "instant": True, "range": False},
    }


def _condition() -> dict[str, object]:
    """Return that a value is there at all: no expression of drift has one of 0 or less."""
    return {
        "refId": "fires",
        "relativeTimeRange": {"from": 0, "to": 0},
        "datasourceUid": "__expr__",
        "model": {
            "refId": "fires",
            "type": "threshold",
            "expression": "drift",
            "conditions": [{"evaluator": {"type": "gt", "params": [0]}}],
        },
    }
