"""Time series panels of lines."""

from collections.abc import Mapping

from deploy.generate.grafana.fields import (
    NOTHING,
    Link,
    Panel,
    Properties,
    begin,
    overrides,
    targets,
    thresholds,
)
from grafana_foundation_sdk.builders import common as c
from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models import common, dashboard

__all__ = ["draw"]


def draw(  # noqa: PLR0913 - each is one option of a line panel
    title: str,
    description: str,
    queries: Mapping[str, str],
    *,
    unit: str,
    span: int = 8,
    steps: bool = False,
    stacked: bool = False,
    logarithmic: bool = False,
    line_at: float | None = None,
    series: Mapping[str, Properties] = NOTHING,
    leads_to: Link | None = None,
) -> Panel:
    """Return a panel of lines over time.

    Args:
        title: The panel's title.
        description: The metrics of the panel, and how to read it.
        queries: Expressions by legend.
        unit: Grafana's identifier of the unit.
        span: The width in columns of 24.
        steps: A value holds until the next, as with gauges of windows.
        stacked: Series are stacked.
        logarithmic: The axis is logarithmic, base 10.
        line_at: The value of a dashed line across the panel; None draws no line.
        series: Display properties by series name.
        leads_to: The link of a click; None for no link.
    """
    mode = common.GraphThresholdsStyleMode.OFF if line_at is None else common.GraphThresholdsStyleMode.DASHED
    scale = c.ScaleDistributionConfig().type(common.ScaleDistribution.LINEAR)
    if logarithmic:
        scale = c.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10)
    panel = (
        begin(timeseries.Panel(), title, description, targets(queries), unit)
        .span(span)
        .height(8)
        .thresholds(thresholds({None: "transparent"} | ({} if line_at is None else {line_at: "orange"})))
        .thresholds_style(c.GraphThresholdsStyleConfig().mode(mode))
        .color_scheme(d.FieldColor().mode(dashboard.FieldColorModeId.PALETTE_CLASSIC))
        .overrides(overrides(series))
        .data_links([leads_to] if leads_to else [])
        .line_interpolation(common.LineInterpolation.STEP_AFTER if steps else common.LineInterpolation.LINEAR)
        .line_width(1)
        .fill_opacity(30 if stacked else 0 if logarithmic else 8)
        .show_points(common.VisibilityMode.NEVER)
        .stacking(c.StackingConfig().mode(_stacking(stacked)).group("A"))
        .scale_distribution(scale)
        .axis_grid_show(not logarithmic)
        .legend(_legend())
        .tooltip(_tooltip())
    )
    return panel if line_at is None else panel.axis_soft_max(line_at)


def _stacking(stacked: bool) -> common.StackingMode:  # noqa: FBT001 - one caller
    return common.StackingMode.NORMAL if stacked else common.StackingMode.NONE


def _legend() -> c.VizLegendOptions:
    return (
        c.VizLegendOptions()
        .show_legend(True)  # noqa: FBT003 - the builder's
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
    )


def _tooltip() -> c.VizTooltipOptions:
    return c.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
