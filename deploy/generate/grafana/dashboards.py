"""A dashboard around its panels: variables, annotations, links, rows."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from deploy.generate.grafana.annotations import annotations
from deploy.generate.grafana.fields import DATASOURCE, Panel, link
from deploy.generate.grafana.queries import firing
from deploy.generate.grafana.tables import Column, table_of
from deploy.generate.labels import SOURCE
from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

__all__ = ["DRIFT", "SERVICE", "alert_table", "drift_url", "panel_number", "render", "variable"]

DRIFT = "driftgauge-drift"
SERVICE = "driftgauge-service"

_DEPLOY = "https://github.com/driftgauge/driftgauge/blob/main/deploy"
_CHOSEN = "&".join(f"${{{name}:queryparam}}" for name in ("datasource", *SOURCE))

Variable = Builder[dashboard.VariableModel]


def drift_url(stream: str, window: str | None = None) -> str:
    """Return where the drift of a stream is drawn, both given as Grafana's variables of a link."""
    chosen = f"var-stream={stream}" + (f"&var-window={window}" if window else "")
    return f"/d/{DRIFT}?{_CHOSEN}&{chosen}&${{__url_time_range}}"


def variable(name: str, metric: str, description: str, every: str | None = None) -> Variable:
    """Return what is chosen at the top out of the values of a label.

    Args:
        name: The label, and the variable.
        metric: A selector of series that bear it.
        description: What it chooses.
        every: The regular expression for all of them, of which several can be chosen; None where one is.
    """
    query = f"label_values({metric}, {name})"
    chosen = (
        d.QueryVariable(name)
        .label(name.capitalize())
        .description(description)
        .datasource(DATASOURCE)
        .query({"qryType": 1, "query": query, "refId": name})
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(every is not None)
        .include_all(every is not None)
    )
    if every is None:
        return chosen
    return chosen.all_value(every).current(dashboard.VariableOption(text=["All"], value=["$__all"]))


def alert_table(where: str, *, span: int) -> Panel:
    """Return a table of the alerts that fire, with links to their runbooks."""
    return table_of(
        "Alerts that fire",
        "ALERTS of the rules in driftgauge-alerts.yml. The name leads to the runbook, the stream to its"
        " panels of drift.",
        ("alertname", "severity", "stream", "window"),
        {"count": Column(firing(where, "alertname", "severity", "stream", "window"), decimals=0)},
        span=span,
        cells={
            "alertname": {"links": [link("Runbook", f"{_DEPLOY}/${{__data.fields.runbook}}").build()]},
            "stream": {
                "links": [
                    link("Drift", drift_url("${__data.fields.stream}", "${__data.fields.window}")).build()
                ]
            },
            "runbook": {"custom.hidden": True},
        },
    )


def render(
    uid: str,
    title: str,
    description: str,
    *,
    variables: Sequence[Variable],
    alerts_where: str,
    to: tuple[str, str],
    rows: Mapping[str, Sequence[Panel]],
) -> dict[str, Any]:
    """Return a dashboard as Grafana's provisioning reads it.

    Args:
        uid: Its name in links, which alerts hold as well.
        title: Its title.
        description: Whom it is for.
        variables: What is chosen at the top, beside the data source and the source.
        alerts_where: Which alerts are marked on every panel.
        to: The title and uid of the other dashboard.
        rows: Panels under headings; a heading that ends in `…` is closed until somebody clicks it.
    """
    built = (
        d.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["driftgauge"])
        .readonly()
        # Windows are aligned to UTC, and the log's times are.
        .timezone("utc")
        .time("now-24h", "now")
        .refresh("1m")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .variables([_datasource(), *_sources(), *variables])
        .link(
            d.DashboardLink(to[0])
            .type(dashboard.DashboardLinkType.LINK)
            .icon("dashboard")
            .url(f"/d/{to[1]}?{_CHOSEN}")
            .keep_time(True)  # noqa: FBT003 - the builder's
        )
        .link(
            d.DashboardLink("Runbooks")
            .type(dashboard.DashboardLinkType.LINK)
            .icon("doc")
            .url(f"{_DEPLOY}/runbooks")
            .target_blank(True)  # noqa: FBT003 - the builder's
        )
    )
    for heading, panels in rows.items():
        row = d.Row(heading.removesuffix(" …"))
        if heading.endswith(" …"):
            for panel in panels:
                row = row.with_panel(panel)
            built = built.with_row(row)
        else:
            built = built.with_row(row)
            for panel in panels:
                built = built.with_panel(panel)
    document: dict[str, Any] = json.loads(json.dumps(built.build(), cls=JSONEncoder))
    for number, panel_document in enumerate(_flat(document), 1):
        panel_document["id"] = number
    # The builder knows no texts of annotations.
    document["annotations"] = {"list": annotations(alerts_where)}
    return document


def panel_number(document: Mapping[str, Any], title: str) -> int:
    """Return the number by which links and alerts know a panel."""
    return {panel["title"]: int(panel["id"]) for panel in _flat(document)}[title]


def _flat(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(chain.from_iterable((item, *item.get("panels", ())) for item in document["panels"]))


def _datasource() -> Variable:
    return (
        d.DatasourceVariable("datasource")
        .label("Data source")
        .description("The Prometheus that scrapes driftgauge.")
        .type("prometheus")
    )


def _sources() -> list[Variable]:
    """Return the variables of the source, each of what those before it leave."""
    chosen: list[Variable] = []
    where: list[str] = []
    for label in SOURCE:
        metric = f"driftgauge_build_info{{{', '.join(where)}}}" if where else "driftgauge_build_info"
        # Only the job is always there.
        every = ".+" if label == "job" else ".*"
        text = "Where a scrape or a central ruler adds it." if label != "job" else "The scrape job."
        chosen.append(variable(label, metric, text, every))
        where.append(f'{label}=~"${label}"')
    return chosen
