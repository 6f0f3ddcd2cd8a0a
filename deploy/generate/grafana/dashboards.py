"""A dashboard around its panels: variables, annotations, links and the grid."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from deploy.generate.grafana.panels import DATASOURCE, Json, Panel
from deploy.generate.grafana.queries import OF_JOB

__all__ = [
    "DRIFT",
    "JOB",
    "NAMESPACE",
    "SERVICE",
    "Annotation",
    "Dashboard",
    "Row",
    "Variable",
    "annotations",
]

DRIFT = "driftgauge-drift"
SERVICE = "driftgauge-service"

_COLUMNS = 24
# Grafana 11's, and 10.4 takes it; later ones move it up by themselves.
_SCHEMA_VERSION = 39
_ON_TIME_RANGE_CHANGE = 2
_ALPHABETICALLY = 1


@dataclass(frozen=True, slots=True)
class Variable:
    """What is chosen at the top, out of the values of a label.

    Attributes:
        name: Its name in queries and links.
        heading: Its name on the dashboard.
        metric: A selector of series.
        description: What it chooses.
        several: More than one can be chosen.
        every: The regular expression for all of them; None where all cannot be chosen.
    """

    name: str
    heading: str
    metric: str
    description: str
    several: bool = False
    every: str | None = None

    def to_json(self) -> Json:
        """Return it as a variable of queries to Prometheus."""
        query = f"label_values({self.metric}, {self.name})"
        return {
            "type": "query",
            "name": self.name,
            "label": self.heading,
            "description": self.description,
            "datasource": DATASOURCE,
            "definition": query,
            "query": {"qryType": 1, "query": query, "refId": self.name},
            "refresh": _ON_TIME_RANGE_CHANGE,
            "sort": _ALPHABETICALLY,
            "multi": self.several,
            "includeAll": self.every is not None,
            "allValue": self.every,
            "regex": "",
            # Grafana chooses: all where that can be, else the first.
            "current": {},
        }


@dataclass(frozen=True, slots=True)
class Annotation:
    """What is marked on every panel: for as long as an expression has a value."""

    name: str
    colour: str
    expr: str
    title: str
    text: str

    def to_json(self) -> Json:
        """Return it as an annotation from Prometheus."""
        return {
            "name": self.name,
            "datasource": DATASOURCE,
            "enable": True,
            "iconColor": self.colour,
            "expr": self.expr,
            "titleFormat": self.title,
            "textFormat": self.text,
            "step": "60s",
        }


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard.

    Attributes:
        uid: Its name in links, which alerts hold as well.
        title: Its title.
        description: Whom it is for.
        since: The time shown at first, as `now-6h`.
        variables: What is chosen at the top.
        annotations: What is marked on every panel.
        links: Where else to look.
        rows: Its panels.
    """

    uid: str
    title: str
    description: str
    since: str
    variables: Sequence[Variable]
    annotations: Sequence[Annotation]
    links: Sequence[Json]
    rows: Sequence[Row]

    def to_json(self) -> Json:
        """Return it as Grafana's provisioning reads it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["driftgauge"],
            "schemaVersion": _SCHEMA_VERSION,
            "version": 1,
            "editable": False,
            # Windows are aligned to UTC, and the log's times are.
            "timezone": "utc",
            "time": {"from": self.since, "to": "now"},
            "refresh": "1m",
            "graphTooltip": 1,
            "templating": {"list": [_DATASOURCE_VARIABLE, *(each.to_json() for each in self.variables)]},
            "annotations": {"list": [each.to_json() for each in self.annotations]},
            "links": list(self.links),
            "panels": list(self._placed()),
        }

    def panel_number(self, title: str) -> int:
        """Return the number by which links and alerts know a panel."""
        return {item.title: number for number, item in self._numbered()}[title]

    def _numbered(self) -> Iterator[tuple[int, Row | Panel]]:
        items: Iterator[Row | Panel] = chain.from_iterable((row, *row.panels) for row in self.rows)
        return enumerate(items, start=1)

    def _placed(self) -> Iterator[Json]:
        """Yield the panels from left to right, and on a new line where one is full."""
        x = y = height = 0
        for number, item in self._numbered():
            if isinstance(item, Row):
                x, y = 0, y + height
                place = {"x": 0, "y": y, "w": _COLUMNS, "h": 1}
                yield {
                    "id": number,
                    "type": "row",
                    "title": item.title,
                    "collapsed": False,
                    "gridPos": place,
                    "panels": [],
                }
                y, height = y + 1, 0
                continue
            if x + item.width > _COLUMNS:
                x, y, height = 0, y + height, 0
            yield item.to_json(number=number, x=x, y=y)
            x, height = x + item.width, max(height, item.height)


_DATASOURCE_VARIABLE: Json = {
    "type": "datasource",
    "name": "datasource",
    "label": "Data source",
    "description": "The Prometheus that scrapes driftgauge and has its rules.",
    "query": "prometheus",
    "refresh": 1,
    "multi": False,
    "includeAll": False,
    "regex": "",
    "current": {},
}

JOB = Variable("job", "Job", "driftgauge_build_info", "The scrape job.", several=True, every=".+")
NAMESPACE = Variable(
    "namespace",
    "Namespace",
    'driftgauge_build_info{job=~"$job"}',
    "Where a scrape adds it. Choose one where several hold streams of the same name.",
    several=True,
    every=".*",
)


def annotations(alerts_where: str) -> tuple[Annotation, ...]:
    """Return what is marked on either dashboard: alerts that fire, and what was changed.

    Args:
        alerts_where: Which alerts.
    """
    return (
        Annotation(
            "Firing alerts",
            "red",
            f'ALERTS{{alertname=~"Driftgauge.*", alertstate="firing", {alerts_where}}}',
            "{{alertname}} fires",
            "{{severity}} {{stream}} {{window}} {{topic}}",
        ),
        Annotation(
            "New baselines",
            "purple",
            _appeared("driftgauge_baseline_info", "job, namespace, stream, baseline, model_version"),
            "A baseline of {{stream}} that was not there before",
            "{{baseline}}, of model version {{model_version}}",
        ),
        Annotation(
            "New versions",
            "blue",
            _appeared("driftgauge_build_info", "job, namespace, version"),
            "A version that was not there before",
            "{{version}}",
        ),
    )


def _appeared(name: str, by: str) -> str:
    """Return what was not there one point before."""
    series = f"{name}{{{OF_JOB}}}"
    return f"max by ({by}) ({series})\nunless\nmax by ({by}) ({series} offset $__interval)"
