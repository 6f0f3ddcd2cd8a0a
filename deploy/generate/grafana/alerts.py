"""The drift alerts as Grafana alert rules, made from Prometheus's rules, for those who alert in Grafana.

The alerts on blind monitoring have no such copy: they must reach somebody also while Grafana is down.
"""

from typing import Any

from deploy.generate import alerts
from deploy.generate.grafana import drift, drift_details
from deploy.generate.grafana.dashboards import DRIFT, panel_id
from deploy.generate.grafana.fields import to_plain
from grafana_foundation_sdk.builders import alerting, expr, prometheus
from grafana_foundation_sdk.models.alerting import RelativeTimeRange

__all__ = ["DATASOURCE_UID", "GROUP", "provisioning"]

DATASOURCE_UID = "driftgauge-prometheus"
"""The uid in provisioning/datasources/prometheus.yml; alert rules cannot name a data source by a variable."""

GROUP = "driftgauge-drift"

# The panel that each alert links to.
_PANELS = {
    "DriftgaugeDrift": drift.VERDICTS,
    "DriftgaugeDriftPassed": drift.VERDICTS,
    "DriftgaugeSlowDrift": drift_details.SLOW_DRIFT,
    "DriftgaugeSegmentDrift": drift_details.SEGMENT_VERDICTS,
}

# Unlike Prometheus's templates, Grafana's cannot query times and top movers.
_PAGE = "?stream={{ urlquery $labels.stream }}&window={{ $labels.window }}"
_DESCRIPTION = (
    "Stream {{ $labels.stream }}, windows of {{ $labels.window }}"
    "{{ if $labels.segment }}, segment {{ $labels.segment }} = {{ $labels.value }}{{ end }}: drift."
    " See on the dashboard how large the drift is and when it began, and look for a change at that time."
)

# Much longer than a scrape interval; an instant query itself looks back five minutes.
_LOOK_BACK_S = 600


def provisioning() -> dict[str, object]:
    """Return the file of alert rules, as Grafana's file provisioning reads it."""
    (rules,) = (group["rules"] for group in alerts.groups() if group["name"] == GROUP)
    # The SDK's builders of groups and rules write the keys of the HTTP API and have no keepFiringFor.
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
    # Grafana accepts either both keys or neither.
    panel = {
        "__dashboardUid__": DRIFT,
        "__panelId__": str(panel_id(drift.dashboard(), _PANELS[name])),
    }
    return {
        "uid": name.lower(),
        "title": name,
        "condition": "fires",
        "data": [_query(rule["expr"]), _condition()],
        # The expressions have a value only during drift, and Prometheus's alerts report blind monitoring.
        "noDataState": "OK",
        # A failed query means that Grafana itself is blind; Grafana raises an alert of its own for it.
        "execErrState": "Error",
        "for": rule.get("for", "0s"),
        # Since Grafana 12. Earlier versions ignore the key and resolve at once.
        **({"keepFiringFor": rule["keep_firing_for"]} if "keep_firing_for" in rule else {}),
        "labels": rule["labels"],
        "annotations": rule["annotations"] | {"description": _DESCRIPTION, "page": _PAGE} | panel,
        "isPaused": False,
    }


def _query(expression: str) -> dict[str, object]:
    query = (
        alerting.Query("drift")
        .relative_time_range(RelativeTimeRange(from_val=_LOOK_BACK_S, to=0))
        .datasource_uid(DATASOURCE_UID)
        .model(prometheus.Dataquery().ref_id("drift").expr(expression).instant())
    )
    return dict(to_plain(query.build()))


def _condition() -> dict[str, object]:
    """Return the condition that the query has any value; no drift expression has a value of 0 or less."""
    above_zero = expr.ExprTypeThresholdConditions().evaluator(
        expr.ExprTypeThresholdConditionsEvaluator().type("gt").params([0])
    )
    condition = (
        alerting.Query("fires")
        .relative_time_range(RelativeTimeRange(from_val=0, to=0))
        .datasource_uid("__expr__")
        .model(expr.TypeThreshold().ref_id("fires").expression("drift").conditions([above_zero]))
    )
    return dict(to_plain(condition.build()))
