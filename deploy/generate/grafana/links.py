"""Where dashboards lead: to one another, to an alert's runbook."""

from deploy.generate.grafana.dashboards import DRIFT
from deploy.generate.grafana.panels import Json, Link, Panel
from deploy.generate.grafana.queries import firing
from deploy.generate.grafana.tables import Column, table

__all__ = ["RUNBOOKS", "alert_table", "drift_url", "to_dashboard"]

_DEPLOY = "https://github.com/driftgauge/driftgauge/blob/main/deploy"
_CHOSEN = "${datasource:queryparam}&${job:queryparam}&${namespace:queryparam}"

RUNBOOKS: Json = {
    "type": "link",
    "title": "Runbooks",
    "tooltip": "What each alert means, and what to do",
    "icon": "doc",
    "url": f"{_DEPLOY}/runbooks",
    "targetBlank": True,
}


def to_dashboard(title: str, uid: str) -> Json:
    """Return a link to another dashboard that keeps the time, and what is chosen of what both have."""
    return {
        "type": "link",
        "title": title,
        "tooltip": "",
        "icon": "dashboard",
        "url": f"/d/{uid}?{_CHOSEN}",
        "keepTime": True,
        "targetBlank": False,
    }


def drift_url(stream: str, window: str | None = None) -> str:
    """Return where the drift of a stream is drawn, both given as Grafana's variables of a link."""
    chosen = f"var-stream={stream}" + (f"&var-window={window}" if window else "")
    return f"/d/{DRIFT}?{_CHOSEN}&{chosen}&${{__url_time_range}}"


def alert_table(title: str, description: str, where: str, *, width: int, height: int) -> Panel:
    """Return a table of the alerts that fire, with links to their runbooks."""
    return table(
        title,
        description,
        ("alertname", "severity", "stream", "window"),
        Column("count", firing(where, "alertname, severity, stream, window"), decimals=0),
        width=width,
        height=height,
        hidden=("runbook",),
        widths={"alertname": 210, "severity": 75, "window": 70, "count": 60},
        links={
            "alertname": Link("Runbook", f"{_DEPLOY}/${{__data.fields.runbook}}"),
            "stream": Link("Drift", drift_url("${__data.fields.stream}", "${__data.fields.window}")),
        },
    )
