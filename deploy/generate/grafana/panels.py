"""What a dashboard is made of, as Grafana's JSON has it: panels, their queries and how they draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = [
    "DATASOURCE",
    "Json",
    "Link",
    "Panel",
    "Query",
    "by_name",
    "defaults",
    "line",
    "mapping",
    "thresholds",
]

Json = dict[str, object]

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression of a panel.

    Attributes:
        expr: The expression, with the dashboard's variables.
        legend: The name of each series, with its labels in double braces.
        instant: Evaluated once, at the end of the time shown, as a table.
        step: The least time between two points; what the data source says where it is empty.
    """

    expr: str
    legend: str = ""
    instant: bool = False
    step: str = ""

    def to_json(self, ref: str) -> Json:
        """Return it under the letter that the panel knows it by."""
        document: Json = {
            "refId": ref,
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expr,
            "instant": self.instant,
            "range": not self.instant,
            "format": "table" if self.instant else "time_series",
            "legendFormat": self.legend or "__auto",
        }
        return document | ({"interval": self.step} if self.step else {})


@dataclass(frozen=True, slots=True)
class Link:
    """Where a click on a value leads."""

    title: str
    url: str

    def to_json(self) -> Json:
        """Return it as a data link."""
        return {"title": self.title, "url": self.url}


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        kind: Grafana's name of the visualisation.
        title: Its title, unique on its dashboard.
        description: What it draws, from which metrics, and how to read it.
        queries: What it draws, A, B, …
        width: Of the dashboard's 24 columns.
        height: Grafana's rows, of some 30 pixels.
        defaults: How fields are shown: unit, decimals, colours.
        overrides: How some fields are shown otherwise.
        options: The visualisation's own options.
        transformations: What is done to the answers before they are drawn.
    """

    kind: str
    title: str
    description: str
    queries: Sequence[Query]
    width: int
    height: int
    defaults: Json
    overrides: Sequence[Json] = ()
    options: Json = field(default_factory=dict)
    transformations: Sequence[Json] = ()

    def to_json(self, *, number: int, x: int, y: int) -> Json:
        """Return it as the `number`th panel, at a place of the grid."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": self.defaults, "overrides": list(self.overrides)},
            "options": self.options,
            "targets": [query.to_json(chr(ord("A") + place)) for place, query in enumerate(self.queries)],
            "transformations": list(self.transformations),
        }


def by_name(name: str, **properties: object) -> Json:
    """Return how the field of this name is shown; a property `custom_x` stands for `custom.x`."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [
            {"id": key.replace("custom_", "custom.", 1), "value": value} for key, value in properties.items()
        ],
    }


def line(colour: str, *, dashed: bool = False) -> dict[str, object]:
    """Return the properties of a line of fixed colour, dashed where it is a limit."""
    style = {"custom_lineStyle": {"fill": "dash", "dash": [8, 6]}, "custom_fillOpacity": 0} if dashed else {}
    return {"color": {"mode": "fixed", "fixedColor": colour}, **style}


def mapping(names: Mapping[float, tuple[str, str]]) -> list[Json]:
    """Return value mappings, from a number to a text and its colour."""
    options = {
        f"{value:g}": {"text": text, "color": colour, "index": place}
        for place, (value, (text, colour)) in enumerate(names.items())
    }
    return [{"type": "value", "options": options}]


def thresholds(*steps: tuple[float | None, str]) -> Json:
    """Return colours from values on; the first value is None, for all that is below the second."""
    return {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]}


def defaults(unit: str, decimals: int | None, steps: Json) -> Json:
    """Return how fields are shown: in which unit, by how many digits, on which colours."""
    return {"unit": unit, "thresholds": steps} | ({} if decimals is None else {"decimals": decimals})
