"""How panels draw: lines, bars, states, heat maps and single values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from deploy.generate.grafana.panels import Json, Link, Panel, Query, by_name, defaults, mapping, thresholds

__all__ = ["Axis", "Look", "bar_chart", "bars", "heat_map", "stat", "states", "timeseries"]


class Look(StrEnum):
    """How a series is drawn over time."""

    LINES = "lines"
    STEPS = "steps"
    """A value holds until the next, as with gauges of windows."""
    STACK = "stack"
    """Each series stands on the one below."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What values are drawn along.

    Attributes:
        unit: Grafana's name of the unit.
        decimals: Shown digits; as many as fit where None.
        logarithmic: It counts powers of ten.
        least: Where it begins at the latest; None leaves it to the data.
        most: Where it ends at the earliest; None leaves it to the data and the line.
        line_at: Where a dashed line is drawn across.
    """

    unit: str
    decimals: int | None = None
    logarithmic: bool = False
    least: float | None = 0
    most: float | None = None
    line_at: float | None = None

    def to_json(self) -> Json:
        """Return it as it stands among a panel's defaults."""
        steps: list[tuple[float | None, str]] = [(None, "transparent")]
        if self.line_at is not None:
            steps.append((self.line_at, "orange"))
        least = {} if self.least is None else {"min": self.least}
        return defaults(self.unit, self.decimals, thresholds(*steps)) | least


def timeseries(
    title: str,
    description: str,
    *queries: Query,
    axis: Axis,
    look: Look = Look.LINES,
    width: int = 8,
    height: int = 8,
    overrides: Sequence[Json] = (),
    links: Sequence[Link] = (),
) -> Panel:
    """Draw series over time; nothing is drawn where there is nothing."""
    custom: Json = {
        "drawStyle": "line",
        "lineInterpolation": "stepAfter" if look is Look.STEPS else "linear",
        "lineWidth": 1,
        # Below a line on a logarithmic axis there is no area to speak of.
        "fillOpacity": 30 if look is Look.STACK else 0 if axis.logarithmic else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if look is Look.STACK else "none", "group": "A"},
        "scaleDistribution": {"type": "log", "log": 10} if axis.logarithmic else {"type": "linear"},
        "thresholdsStyle": {"mode": "off" if axis.line_at is None else "dashed"},
        "axisSoftMax": axis.line_at if axis.most is None else axis.most,
        # Nine lines to each power of ten would hide what is drawn.
        "axisGridShow": not axis.logarithmic,
    }
    shown = axis.to_json() | {
        "custom": custom,
        "color": {"mode": "palette-classic"},
        "links": [link.to_json() for link in links],
    }
    return Panel(
        "timeseries",
        title,
        description,
        queries,
        width,
        height,
        shown,
        overrides,
        _legend_and_tooltip("lastNotNull"),
    )


def bars(
    title: str,
    description: str,
    *queries: Query,
    width: int = 8,
    overrides: Sequence[Json] = (),
) -> Panel:
    """Draw how often something happened, a bar for each minute or more; nothing at all is a bar of 0."""
    custom: Json = {
        "drawStyle": "bars",
        "fillOpacity": 80,
        "lineWidth": 0,
        "showPoints": "never",
        "stacking": {"mode": "normal", "group": "A"},
        "axisSoftMax": 1,
    }
    shown = Axis("short", decimals=0).to_json() | {"custom": custom, "color": {"mode": "palette-classic"}}
    queries_by_minute = [replace(query, step="1m") for query in queries]
    return Panel(
        "timeseries", title, description, queries_by_minute, width, 8, shown, overrides, _legend_and_tooltip()
    )


def stat(
    title: str,
    description: str,
    query: Query,
    *,
    unit: str,
    decimals: int | None = None,
    steps: Json | None = None,
    mappings: Sequence[Json] = (),
) -> Panel:
    """Show the last value, large, on the colour of its threshold or mapping."""
    shown = defaults(unit, decimals, steps or thresholds((None, "text"))) | {
        "mappings": list(mappings),
        "color": {"mode": "thresholds"},
    }
    options: Json = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background_solid" if steps or mappings else "none",
        "graphMode": "none",
        "justifyMode": "center",
        "textMode": "value",
    }
    return Panel("stat", title, description, (query,), 4, 4, shown, (), options)


def states(
    title: str,
    description: str,
    *queries: Query,
    names: Mapping[float, tuple[str, str]],
    width: int = 24,
    height: int = 6,
    links: Sequence[Link] = (),
) -> Panel:
    """Draw a row for each series, and in it a block for as long as a state lasts."""
    shown = defaults("none", 0, thresholds((None, "text"))) | {
        "custom": {"fillOpacity": 85, "lineWidth": 0, "spanNulls": False},
        "color": {"mode": "thresholds"},
        "mappings": mapping(names),
        "links": [link.to_json() for link in links],
    }
    options: Json = {
        "mergeValues": True,
        "showValue": "auto",
        "alignValue": "left",
        "rowHeight": 0.85,
        "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return Panel("state-timeline", title, description, queries, width, height, shown, (), options)


def heat_map(title: str, description: str, query: Query, *, width: int, height: int, bound: float) -> Panel:
    """Draw a row for each series, coloured by sign and size: blue below 0, red above, up to a bound."""
    options: Json = {
        "calculate": False,
        "cellGap": 0,
        "cellValues": {"unit": "none", "decimals": 3},
        "color": {
            "mode": "scheme",
            "scheme": "RdBu",
            "reverse": True,
            "steps": 64,
            "min": -bound,
            "max": bound,
        },
        # Grafana hides cells that are not above 0 unless told otherwise; no value here is below -1.
        "filterValues": {"le": -2},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto", "value": "cell"},
        "tooltip": {"mode": "single", "showColorScale": True, "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "axisLabel": "cluster", "unit": "none"},
    }
    shown: Json = {"custom": {"scaleDistribution": {"type": "linear"}}, "unit": "none"}
    return Panel("heatmap", title, description, (query,), width, height, shown, (), options)


def bar_chart(
    title: str,
    description: str,
    *bars_of: tuple[str, str, Query],
    along: str,
    unit: str,
    width: int,
    height: int,
) -> Panel:
    """Draw bars side by side for each value of a label; each of `bars_of` is a name, a colour and a query."""
    refs = [chr(ord("A") + place) for place in range(len(bars_of))]
    renamed = {f"Value #{ref}": name for ref, (name, _, _) in zip(refs, bars_of, strict=True)}
    transformations: list[Json] = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": renamed}},
        {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": along}]}},
    ]
    options: Json = {
        "xField": along,
        "orientation": "vertical",
        "stacking": "none",
        "groupWidth": 0.75,
        "barWidth": 0.95,
        "showValue": "never",
        "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "multi", "sort": "none"},
    }
    shown = defaults(unit, 1, thresholds((None, "text"))) | {
        "min": 0,
        "custom": {"fillOpacity": 80, "lineWidth": 0},
    }
    overrides = [by_name(name, color={"mode": "fixed", "fixedColor": colour}) for name, colour, _ in bars_of]
    queries = [query for _, _, query in bars_of]
    return Panel(
        "barchart", title, description, queries, width, height, shown, overrides, options, transformations
    )


def _legend_and_tooltip(*calcs: str) -> Json:
    return {
        "legend": {
            "showLegend": True,
            "displayMode": "list",
            "placement": "bottom",
            "calcs": list(calcs),
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
