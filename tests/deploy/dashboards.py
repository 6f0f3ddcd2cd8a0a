"""The committed dashboards, and their expressions with marked variables."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deploy.generate.labels import SOURCE

DASHBOARDS = Path(__file__).parents[2] / "deploy/kubernetes/chart/files/dashboards"

# Texts that no expression contains, so that they identify substituted variables.
MARKED = {
    **{name: f"<{name}>" for name in (*SOURCE, "instance", "stream", "window")},
    "__rate_interval": "7m",
    "__interval": "3m",
    "__range": "7m",
}

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))")
_LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), \w+\)", re.DOTALL)


def documents() -> list[dict[str, Any]]:
    """Every committed dashboard."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))]


def flat(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every row and panel of a dashboard, including panels in collapsed rows."""
    return [each for item in document["panels"] for each in (item, *item.get("panels", ()))]


def substitute(text: str, values: Mapping[str, str]) -> str:
    """The text with every variable replaced.

    Raises:
        KeyError: A variable has no value.
    """
    return _VARIABLE.sub(lambda match: values[match[1] or match[2]], text)


def panels() -> list[dict[str, Any]]:
    return [panel for document in documents() for panel in flat(document) if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Each expression with marked variables, and its place."""
    for document in documents():
        for variable in document["templating"]["list"]:
            if variable["type"] == "query":
                query = _LABEL_VALUES.fullmatch(variable["query"]["query"])
                yield f"variable {variable['name']}", substitute(query["selector"], MARKED)
        for annotation in document["annotations"]["list"]:
            yield annotation["name"], substitute(annotation["expr"], MARKED)
        for panel in flat(document):
            for target in panel.get("targets", ()):
                yield panel["title"], substitute(target["expr"], MARKED)


def named(panel: Mapping[str, Any]) -> dict[str, str]:
    """The expressions of a panel, with variables, by the displayed name."""
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
    """The value of a display property for the field of a name."""
    for override in panel["fieldConfig"]["overrides"]:
        for each in override["properties"]:
            if (override["matcher"]["options"], each["id"]) == (name, wanted):
                return each["value"]
    return panel["fieldConfig"]["defaults"].get(wanted)


def texts(panel: Mapping[str, Any], name: str = "") -> dict[float, tuple[str, str]]:
    """The mapped text and colour by value."""
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
