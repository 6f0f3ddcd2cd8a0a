"""What all panels have alike: their queries, and how fields of a name are shown."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from deploy.generate.grafana.queries import VERDICT_CODES
from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

from driftgauge.core.windows.result import Verdict

__all__ = [
    "COLOURS",
    "DATASOURCE",
    "NOTHING",
    "VERDICT_TEXTS",
    "Link",
    "Panel",
    "Properties",
    "begin",
    "fixed",
    "limit",
    "link",
    "mapping",
    "overrides",
    "ref",
    "targets",
    "thresholds",
]

Panel = Builder[dashboard.Panel]
Link = Builder[dashboard.DashboardLink]
Properties = Mapping[str, object]
NOTHING: Mapping[str, Properties] = MappingProxyType({})

_Kind = TypeVar("_Kind", timeseries.Panel, stat.Panel, statetimeline.Panel, heatmap.Panel, table.Panel)

DATASOURCE = dashboard.DataSourceRef("prometheus", "${datasource}")

COLOURS: Mapping[str, str] = {
    Verdict.OK: "green",
    Verdict.WARNING: "yellow",
    Verdict.DRIFT: "red",
    Verdict.INSUFFICIENT: "#8e8e8e",
    Verdict.INCOMPLETE: "purple",
}
VERDICT_TEXTS: Mapping[float, tuple[str, str]] = {
    code: (verdict, COLOURS[verdict]) for verdict, code in VERDICT_CODES.items()
}
"""The text and colour of each verdict's code."""


def fixed(colour: str) -> Properties:
    """Return the properties of a series of one colour."""
    return {"color": {"mode": "fixed", "fixedColor": colour}}


def limit() -> Properties:
    """Return the properties of a line that others are held against."""
    return {**fixed("red"), "custom.lineStyle": {"fill": "dash", "dash": [8, 6]}, "custom.fillOpacity": 0}


def link(title: str, url: str) -> Builder[dashboard.DashboardLink]:
    """Return where a click on a value leads."""
    return d.DashboardLink(title).url(url)


def begin(panel: _Kind, title: str, description: str, queries: list[Builder[Dataquery]], unit: str) -> _Kind:
    """Return a panel with what every kind has."""
    return panel.title(title).description(description).datasource(DATASOURCE).targets(queries).unit(unit)


def ref(place: int) -> str:
    """Return the letter by which a panel knows a query."""
    return chr(ord("A") + place)


def targets(
    queries: Mapping[str, str], *, instant: bool = False, interval: str = ""
) -> list[Builder[Dataquery]]:
    """Return queries by the names of what they draw; instant ones as a table."""
    targets: list[Builder[Dataquery]] = []
    for place, (legend, expr) in enumerate(queries.items()):
        query = (
            prometheus.Dataquery()
            .ref_id(ref(place))
            .datasource(DATASOURCE)
            .editor_mode(QueryEditorMode.CODE)
            .expr(expr)
            .legend_format("__auto" if instant else legend or "__auto")
            .format(PromQueryFormat.TABLE if instant else PromQueryFormat.TIME_SERIES)
        )
        query = query.instant() if instant else query.range()
        targets.append(query.interval(interval) if interval else query)
    return targets


def overrides(
    series: Mapping[str, Properties],
) -> list[Builder[dashboard.DashboardFieldConfigSourceOverrides]]:
    """Return how fields of these names are shown."""
    return [
        d.DashboardFieldConfigSourceOverrides()
        .matcher(dashboard.MatcherConfig("byName", name))
        .properties([dashboard.DynamicConfigValue(key, each) for key, each in properties.items()])
        for name, properties in series.items()
    ]


def mapping(names: Mapping[float, tuple[str, str]]) -> dashboard.ValueMap:
    """Return the text and colour that each number stands for."""
    return dashboard.ValueMap(
        {
            f"{code:g}": dashboard.ValueMappingResult(text, colour, index=place)
            for place, (code, (text, colour)) in enumerate(names.items())
        }
    )


def thresholds(colours: Mapping[float | None, str]) -> d.ThresholdsConfig:
    """Return colours from values on; that of None is for what is below the others."""
    steps = [dashboard.Threshold(at, colour) for at, colour in colours.items()]
    return d.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)
