"""The alerts of drift as Grafana's own, for those who alert there: from the same rules as Prometheus's.

The alerts on blindness have no such copy: they must reach somebody where Grafana is away as well.
"""

from typing import Any

from deploy.generate import alerts
from deploy.generate.grafana import drift
from deploy.generate.grafana.dashboards import DRIFT
from deploy.generate.grafana.drift_evidence import SLOW_DRIFT
from deploy.generate.grafana.drift_overview import VERDICT_TIMELINE
from deploy.generate.grafana.drift_places import SEGMENT_VERDICTS

__all__ = ["DATASOURCE_UID", "GROUP", "provisioning"]

DATASOURCE_UID = "driftgauge-prometheus"
"""The data source of provisioning/datasources/prometheus.yml; alerts can name none by a variable."""

GROUP = "driftgauge-drift"

# Where to look, of all panels.
_PANELS = {
    "DriftgaugeDrift": VERDICT_TIMELINE,
    "DriftgaugeDriftPassed": VERDICT_TIMELINE,
    "DriftgaugeSlowDrift": SLOW_DRIFT,
    "DriftgaugeSegmentDrift": SEGMENT_VERDICTS,
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
    # Grafana takes either both or neither.
    panel = {
        "__dashboardUid__": DRIFT,
        "__panelId__": str(drift.dashboard().panel_number(_PANELS[name])),
    }
    return {
        "uid": name.lower(),
        "title": name,
        "condition": "fires",
        "data": [_query(rule["expr"]), _condition()],
        # The expressions have a value only where there is drift, and Prometheus tells of blindness.
        "noDataState": "OK",
        # A question that is not answered is blindness, of Grafana's; it has a name of its own there.
        "execErrState": "Error",
        "for": rule.get("for", "0s"),
        # Since Grafana 12; those before it pass over what they do not know, and resolve at once.
        **({"keepFiringFor": rule["keep_firing_for"]} if "keep_firing_for" in rule else {}),
        "labels": rule.get("labels", {}),
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
