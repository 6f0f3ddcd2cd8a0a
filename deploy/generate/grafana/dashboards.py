"""The frame of a dashboard: variables, annotations, links and rows around its panels."""

from collections.abc import Mapping, Sequence
from typing import Any

from deploy.generate.grafana.annotations import annotations
from deploy.generate.grafana.fields import DATASOURCE, Panel, link, to_plain
from deploy.generate.grafana.queries import firing
from deploy.generate.grafana.tables import Column, table_of
from deploy.generate.labels import SOURCE
from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard

__all__ = [
    "DRIFT",
    "PAGE_LINK",
    "SERVICE",
    "alert_table",
    "drift_url",
    "page_variable",
    "render",
    "variable",
]

DRIFT = "driftgauge-drift"
SERVICE = "driftgauge-service"

_DEPLOY = "https://github.com/driftgauge/driftgauge/blob/main/deploy"
_SELECTION = "&".join(f"${{{name}:queryparam}}" for name in ("datasource", *SOURCE))

_ALERT_LABELS = ("alertname", "reason", "severity", "stream", "window")

Variable = Builder[dashboard.VariableModel]

PAGE_LINK = link(
    "Show this window", "${page}?stream=${stream:percentencode}&window=${window}&seen=${__value.time}"
)
"""The link to driftgauge's own page, if a dashboard has `page_variable`, a stream and a window."""


def page_variable() -> Variable:
    """Return the variable with the address of driftgauge's own page."""
    return (
        d.TextBoxVariable("page")
        .label("Page")
        .description("The address of driftgauge's own page, which windows link to.")
        .default_value("http://localhost:9464/")
    )


def drift_url(stream: str, window: str | None = None) -> str:
    """Return a link to the drift dashboard of a stream; both arguments may be Grafana variables."""
    selection = f"var-stream={stream}" + (f"&var-window={window}" if window else "")
    return f"/d/{DRIFT}?{_SELECTION}&{selection}&${{__url_time_range}}"


def variable(name: str, metric: str, description: str, all_value: str | None = None) -> Variable:
    """Return a variable whose options are the values of a label.

    Args:
        name: The name of the label and of the variable.
        metric: A selector of series that have the label.
        description: What the variable selects.
        all_value: The regular expression that "All" stands for; None allows exactly one choice.
    """
    query = f"label_values({metric}, {name})"
    built = (
        d.QueryVariable(name)
        .label(name.capitalize())
        .description(description)
        .datasource(DATASOURCE)
        # The builder takes the query of a Prometheus variable as a dictionary; qryType 1 is label_values.
        .query({"qryType": 1, "query": query, "refId": name})
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(all_value is not None)
        .include_all(all_value is not None)
    )
    if all_value is None:
        return built
    return built.all_value(all_value).current(dashboard.VariableOption(text=["All"], value=["$__all"]))


def alert_table(selector: str) -> Panel:
    """Return a table of the firing alerts, with links to their runbooks."""
    return table_of(
        "Firing alerts",
        "ALERTS from the rules in driftgauge-alerts.yml. The name links to the runbook, the stream to its"
        " drift panels.",
        _ALERT_LABELS,
        {"count": Column(firing(selector, *_ALERT_LABELS), decimals=0)},
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
    selector: str,
    to: tuple[str, str],
    since: str,
    rows: Mapping[str, Sequence[Panel]],
) -> dict[str, Any]:
    """Return a dashboard as Grafana's provisioning reads it.

    Args:
        uid: The identifier in links from dashboards and alerts.
        title: The title.
        description: The question that the dashboard answers.
        variables: Variables beside the data source and the source labels.
        selector: Label matchers of the alerts and deployment marks that are shown on every panel.
        to: The title and uid of the other dashboard.
        since: The start of the time range at first, in Grafana's notation.
        rows: Panels by the heading of their row.
    """
    built = (
        d.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["driftgauge"])
        .readonly()
        # Windows are aligned to UTC, and the log has UTC times.
        .timezone("utc")
        .time(since, "now")
        .refresh("1m")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .variables([_datasource(), *_sources(), *variables])
        .link(
            d.DashboardLink(to[0])
            .type(dashboard.DashboardLinkType.LINK)
            .icon("dashboard")
            .url(f"/d/{to[1]}?{_SELECTION}")
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
        built = built.with_row(d.Row(heading))
        for panel in panels:
            built = built.with_panel(panel)
    document: dict[str, Any] = to_plain(built.build())
    for number, panel_document in enumerate(document["panels"], 1):
        panel_document["id"] = number
    # The annotations have texts that the builder of the dashboard does not take.
    document["annotations"] = {"list": annotations(selector)}
    return document


def _datasource() -> Variable:
    return (
        d.DatasourceVariable("datasource")
        .label("Data source")
        .description("The Prometheus server that scrapes driftgauge.")
        .type("prometheus")
    )


def _sources() -> list[Variable]:
    """Return the variables of the source labels; each offers the values that the ones before it leave."""
    variables: list[Variable] = []
    matchers: list[str] = []
    for label in SOURCE:
        metric = f"driftgauge_build_info{{{', '.join(matchers)}}}" if matchers else "driftgauge_build_info"
        # Every series has a job; the other labels may be missing.
        all_value = ".+" if label == "job" else ".*"
        text = "The scrape job." if label == "job" else "A label that a scrape or a central ruler may add."
        variables.append(variable(label, metric, text, all_value))
        matchers.append(f'{label}=~"${label}"')
    return variables
