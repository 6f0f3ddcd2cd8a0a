"""Parts that all panels share: data source, queries, colours, thresholds, overrides by field name."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from deploy.generate.grafana.queries import VERDICT_CODES
from grafana_foundation_sdk.builders import common as c
from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

from driftgauge.core.judging.verdict import Verdict

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
    "to_plain",
]

Panel = Builder[dashboard.Panel]
Link = Builder[dashboard.DashboardLink]
Properties = Mapping[str, object]
NOTHING: Mapping[str, Properties] = MappingProxyType({})

_Kind = TypeVar("_Kind", timeseries.Panel, stat.Panel, statetimeline.Panel, table.Panel)

DATASOURCE = dashboard.DataSourceRef("prometheus", "${datasource}")

COLOURS: Mapping[str, str] = {
    Verdict.OK: "green",
    Verdict.WARNING: "yellow",
    Verdict.DRIFT: "red",
    Verdict.INSUFFICIENT: "#8e8e8e",
    Verdict.INCOMPLETE: "purple",
    Verdict.MISFIT: "orange",
}
VERDICT_TEXTS: Mapping[float, tuple[str, str]] = {
    code: (verdict, COLOURS[verdict]) for verdict, code in VERDICT_CODES.items()
}
"""Text and colour by the code of a verdict."""


def fixed(colour: str) -> Properties:
    """Return the properties of a series in one colour."""
    color = d.FieldColor().mode(dashboard.FieldColorModeId.FIXED).fixed_color(colour)
    return {"color": color.build()}


def limit() -> Properties:
    """Return the properties of a dashed red line that marks a limit."""
    style = c.LineStyle().fill("dash").dash([8, 6])
    return {**fixed("red"), "custom.lineStyle": style.build(), "custom.fillOpacity": 0}


def link(title: str, url: str) -> Builder[dashboard.DashboardLink]:
    """Return a link that Grafana opens when a value is clicked."""
    return d.DashboardLink(title).url(url)


def begin(panel: _Kind, title: str, description: str, queries: list[Builder[Dataquery]], unit: str) -> _Kind:
    """Return a panel with the settings that every kind has."""
    return panel.title(title).description(description).datasource(DATASOURCE).targets(queries).unit(unit)


def ref(index: int) -> str:
    """Return the letter that identifies the query of an index within its panel."""
    return chr(ord("A") + index)


def targets(
    queries: Mapping[str, str], *, instant: bool = False, interval: str = ""
) -> list[Builder[Dataquery]]:
    """Return the queries of a panel, from expressions by legend. Instant queries return tables."""
    targets: list[Builder[Dataquery]] = []
    for index, (legend, expr) in enumerate(queries.items()):
        query = (
            prometheus.Dataquery()
            .ref_id(ref(index))
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
    """Return overrides that set properties of fields, by field name."""
    return [
        d.DashboardFieldConfigSourceOverrides()
        .matcher(dashboard.MatcherConfig("byName", name))
        .properties([dashboard.DynamicConfigValue(key, value) for key, value in properties.items()])
        for name, properties in series.items()
    ]


def mapping(names: Mapping[float, tuple[str, str]]) -> dashboard.ValueMap:
    """Return a value mapping from numbers to texts and colours."""
    return dashboard.ValueMap(
        {
            f"{code:g}": dashboard.ValueMappingResult(text, colour, index=index)
            for index, (code, (text, colour)) in enumerate(names.items())
        }
    )


def thresholds(colours: Mapping[float | None, str]) -> d.ThresholdsConfig:
    """Return thresholds from colours by the value where each starts; None starts below all others."""
    steps = [dashboard.Threshold(at, colour) for at, colour in colours.items()]
    return d.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)


def to_plain(built: object) -> Any:
    """Return a built SDK object as plain dictionaries and lists."""
    return json.loads(json.dumps(built, cls=JSONEncoder))
