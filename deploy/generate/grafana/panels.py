"""Panels of single values, and of states over time."""

from collections.abc import Mapping

from deploy.generate.grafana.fields import Link, Panel, begin, mapping, targets, thresholds
from grafana_foundation_sdk.builders import common as c
from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.builders import stat, statetimeline
from grafana_foundation_sdk.models import common, dashboard

__all__ = ["states", "value"]


def value(
    title: str,
    description: str,
    query: str,
    *,
    unit: str,
    colours: Mapping[float | None, str],
    span: int = 4,
) -> Panel:
    """Return a panel that shows the last value, coloured by thresholds."""
    return (
        begin(stat.Panel(), title, description, targets({"": query}), unit)
        .span(span)
        .height(4)
        .decimals(1 if unit == "percentunit" else 0)
        .thresholds(thresholds(colours))
        .color_mode(common.BigValueColorMode.BACKGROUND_SOLID)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(c.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def states(
    title: str,
    description: str,
    queries: Mapping[str, str],
    *,
    names: Mapping[float, tuple[str, str]],
    leads_to: Link,
) -> Panel:
    """Return a timeline with one row for each series and one block for each period of a state."""
    return (
        begin(statetimeline.Panel(), title, description, targets(queries), "none")
        .span(24)
        .height(8)
        .mappings([mapping(names)])
        .color_scheme(d.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .data_links([leads_to])
        .fill_opacity(85)
        .line_width(0)
        .merge_values(True)  # noqa: FBT003 - the builder's
        .row_height(0.85)
    )
