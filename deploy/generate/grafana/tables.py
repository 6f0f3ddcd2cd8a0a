"""Tables of newest values: a row for each set of labels, a column for each query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from deploy.generate.grafana.panels import Json, Link, Panel, Query, by_name, defaults, thresholds

__all__ = ["Column", "table"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of values.

    Attributes:
        name: Its heading.
        expr: What it shows, one value for each row.
        unit: Grafana's name of the unit.
        decimals: Shown digits; as many as fit where None.
        properties: How else it is shown, by the names of a field's properties.
    """

    name: str
    expr: str
    unit: str = "none"
    decimals: int | None = None
    properties: Json = field(default_factory=dict)

    def override(self) -> Json:
        """Return how its cells are shown."""
        digits = {} if self.decimals is None else {"decimals": self.decimals}
        return by_name(self.name, unit=self.unit, **digits, **self.properties)


def table(
    title: str,
    description: str,
    labels: Sequence[str],
    *columns: Column,
    width: int,
    height: int,
    hidden: Sequence[str] = (),
    links: Mapping[str, Link] = MappingProxyType({}),
    widths: Mapping[str, int] = MappingProxyType({}),
    order: tuple[str, bool] | None = None,
) -> Panel:
    """Show newest values side by side.

    Args:
        title: The panel's title.
        description: The panel's description.
        labels: The labels that name a row, in the order of their columns.
        columns: The values.
        width: Columns of 24.
        height: Rows of the grid.
        hidden: Labels that only links go by.
        links: Where a click on a cell of a label leads.
        widths: The columns that are not as wide as the others, pixels.
        order: The column that rows are sorted by, and whether the largest is first.
    """
    refs = [chr(ord("A") + place) for place in range(len(columns))]
    # Grafana tells the columns of values apart by letters only where there are several.
    answers = [f"Value #{ref}" for ref in refs] if len(refs) > 1 else ["Value"]
    renamed = {answer: column.name for answer, column in zip(answers, columns, strict=True)}
    places = {name: place for place, name in enumerate([*labels, *answers])}
    transformations: list[Json] = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {"excludeByName": {"Time": True}, "indexByName": places, "renameByName": renamed},
        },
    ]
    if order is not None:
        by, descending = order
        transformations.append(
            {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": by, "desc": descending}]}}
        )
    overrides = [
        *(column.override() for column in columns),
        *(by_name(name, links=[link.to_json()]) for name, link in links.items()),
        *(by_name(name, custom_width=width) for name, width in widths.items()),
        *(by_name(name, custom_hidden=True) for name in hidden),
    ]
    shown = defaults("none", None, thresholds((None, "text"))) | {
        "custom": {"align": "left", "cellOptions": {"type": "auto"}, "minWidth": 60},
        "noValue": "-",
    }
    options: Json = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}}
    queries = [Query(column.expr, instant=True) for column in columns]
    return Panel(
        "table", title, description, queries, width, height, shown, overrides, options, transformations
    )
