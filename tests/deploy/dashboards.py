"""The committed dashboards, and every query in them with the variables put in."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from deploy.generate.labels import SOURCE

DASHBOARDS = Path(__file__).parents[2] / "deploy/grafana/dashboards"

# What Grafana puts in by itself, at a width of a few hours. Callers may say otherwise.
GRAFANAS_OWN = {"__interval": "15s", "__rate_interval": "1m", "__range": "1h"}

# Times that no expression has of itself, so that they tell where a variable stood.
RATE, POINT = timedelta(minutes=7), timedelta(minutes=3)
MARKED = {
    **{name: f"<{name}>" for name in (*SOURCE, "instance", "stream", "window")},
    "__rate_interval": "7m",
    "__interval": "3m",
    "__range": "7m",
}

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))")
_LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), (?P<label>\w+)\)", re.DOTALL)


@dataclass(frozen=True)
class PanelQuery:
    """One query of a panel, or of a variable of a dashboard.

    Attributes:
        dashboard: The dashboard's title.
        panel: The panel's title; of a variable `variable NAME`.
        ref: The query's letter; of a variable its name.
        expr: The PromQL, without variables.
    """

    dashboard: str
    panel: str
    ref: str
    expr: str


def documents() -> list[dict[str, Any]]:
    """Every committed dashboard."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))]


def flat(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every row and panel of a dashboard, also those in rows that are closed."""
    return [each for item in document["panels"] for each in (item, *item.get("panels", ()))]


def put_in(text: str, values: Mapping[str, str]) -> str:
    """The text with every variable replaced; one without a value is a KeyError."""
    return _VARIABLE.sub(lambda match: values[match[1] or match[2]], text)


def variable_query(variable: Mapping[str, Any]) -> tuple[str, str]:
    """The selector and the label of a variable's `label_values(selector, label)`."""
    match = _LABEL_VALUES.fullmatch(variable["query"]["query"])
    assert match is not None, variable["query"]["query"]
    return match["selector"], match["label"]


def queries(variables: Mapping[str, str]) -> Iterator[PanelQuery]:
    """Every query of every panel and variable, with these values for the variables.

    Args:
        variables: A regular expression or value for each of the source's labels, instance, stream and window;
            and, where another is meant, Grafana's own intervals.
    """
    values = {**GRAFANAS_OWN, **variables}
    for document in documents():
        title = document["title"]
        for variable in document["templating"]["list"]:
            if variable["type"] == "query":
                selector, label = variable_query(variable)
                expr = f"group by ({label}) ({put_in(selector, values)})"
                yield PanelQuery(title, f"variable {variable['name']}", variable["name"], expr)
        for panel in flat(document):
            for target in panel.get("targets", ()):
                yield PanelQuery(title, panel["title"], target["refId"], put_in(target["expr"], values))


def panels() -> list[dict[str, Any]]:
    return [panel for document in documents() for panel in flat(document) if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Each expression, its variables marked, and where it stands."""
    for document in documents():
        for variable in document["templating"]["list"]:
            if variable["type"] == "query":
                yield f"variable {variable['name']}", put_in(variable_query(variable)[0], MARKED)
        for annotation in document["annotations"]["list"]:
            yield annotation["name"], put_in(annotation["expr"], MARKED)
        for panel in flat(document):
            for target in panel.get("targets", ()):
                yield panel["title"], put_in(target["expr"], MARKED)


def named(panel: Mapping[str, Any]) -> dict[str, str]:
    """Each expression of a panel, with its variables, by the name that its values bear there."""
    renamed = {
        answer.removeprefix("Value").removeprefix(" #") or "A": name
        for each in panel.get("transformations", ())
        for answer, name in each["options"].get("renameByName", {}).items()
    }
    return {
        renamed.get(target["refId"], target["legendFormat"].removeprefix("__auto")): target["expr"]
        for target in panel["targets"]
    }


def property_of(panel: Mapping[str, Any], name: str, wanted: str) -> Any:
    """How the field of a name is shown."""
    for override in panel["fieldConfig"]["overrides"]:
        for each in override["properties"]:
            if (override["matcher"]["options"], each["id"]) == (name, wanted):
                return each["value"]
    return panel["fieldConfig"]["defaults"].get(wanted)


def texts(panel: Mapping[str, Any], name: str = "") -> dict[float, tuple[str, str]]:
    """The text and colour of each value that has one."""
    return {
        float(value): (each["text"], each["color"])
        for mapping in property_of(panel, name, "mappings") or ()
        for value, each in mapping["options"].items()
    }


def colour(panel: Mapping[str, Any], value: float) -> str:
    """The colour of a value by the thresholds."""
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    reached: list[str] = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return reached[-1]
