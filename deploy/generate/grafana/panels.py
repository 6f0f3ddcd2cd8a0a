"""Panels of single values, of states over time, and of heat maps."""

from collections.abc import Mapping

from deploy.generate.grafana.fields import Link, Panel, begin, mapping, targets, thresholds
from grafana_foundation_sdk.builders import common as c
from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.builders import heatmap, stat, statetimeline
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode

__all__ = ["heat_map", "states", "value"]


def value(
    title: str, description: str, query: str, *, unit: str, colours: Mapping[float | None, str]
) -> Panel:
    """Return a panel that shows the last value, coloured by thresholds."""
    return (
        begin(stat.Panel(), title, description, targets({"": query}), unit)
        .span(4)
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
    span: int = 24,
    leads_to: Link | None = None,
) -> Panel:
    """Return a timeline with one row for each series and one block for each period of a state."""
    return (
        begin(statetimeline.Panel(), title, description, targets(queries), "none")
        .span(span)
        .height(8)
        .mappings([mapping(names)])
        .color_scheme(d.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
        .data_links([leads_to] if leads_to else [])
        .fill_opacity(85)
        .line_width(0)
        .merge_values(True)  # noqa: FBT003 - the builder's
        .row_height(0.85)
    )


def heat_map(title: str, description: str, query: str, legend: str) -> Panel:
    """Return a heat map with one row for each series: blue below 0, red above."""
    return (
        begin(heatmap.Panel(), title, description, targets({legend: query}), "none")
        .span(14)
        .height(9)
        .calculate(False)  # noqa: FBT003 - the builder's
        .color(
            heatmap.HeatmapColorOptions()
            .mode(HeatmapColorMode.SCHEME)
            .scheme("RdBu")
            .reverse(True)  # noqa: FBT003 - the builder's
            .steps(64)
            # One cluster at 0.3 is a divergence of 0.09, nine times the default floor of a large divergence.
            .min(-0.3)
            .max(0.3)
        )
        # Grafana hides cells of 0 or less by default; no value here is below -1.
        .filter_values(heatmap.FilterValueRange().le(-2))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(common.HeatmapCellLayout.AUTO))
        .cell_gap(0)
        .cell_values(heatmap.CellValues().decimals(3))
    )
