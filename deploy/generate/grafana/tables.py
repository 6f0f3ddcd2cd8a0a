"""Tables of newest values: a row for each set of labels, a column for each query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deploy.generate.grafana.fields import (
    NOTHING,
    Panel,
    Properties,
    begin,
    mapping,
    overrides,
    ref,
    targets,
)
from grafana_foundation_sdk.builders import common as c
from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models import common, dashboard

__all__ = ["Column", "table_of"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of values: what it shows, one value a row, and how."""

    expr: str
    unit: str = "none"
    decimals: int | None = None
    properties: Properties = field(default_factory=dict)

    def override(self) -> Properties:
        """Return how its cells are shown."""
        digits = {} if self.decimals is None else {"decimals": self.decimals}
        return {"unit": self.unit, **digits, **self.properties}

    @classmethod
    def of_texts(cls, expr: str, names: Mapping[float, tuple[str, str]]) -> "Column":
        """Return a column of texts on their colours, by the numbers that stand for them."""
        cell = {"type": "color-background", "mode": "basic"}
        return cls(expr, properties={"mappings": [mapping(names)], "custom.cellOptions": cell})


def table_of(
    title: str,
    description: str,
    labels: Sequence[str],
    columns: Mapping[str, Column],
    *,
    span: int = 24,
    order: tuple[str, bool] | None = None,
    cells: Mapping[str, Properties] = NOTHING,
) -> Panel:
    """Show newest values side by side.

    Args:
        title: The panel's title.
        description: The panel's description.
        labels: The labels that name a row, in the order of their columns.
        columns: The values, by their headings.
        span: Columns of 24.
        order: The column that rows are sorted by, and whether the largest is first.
        cells: How the cells of some columns are shown, by their headings.
    """
    # Grafana tells the columns of values apart by letters only where there are several.
    answers = [f"Value #{ref(place)}" for place in range(len(columns))] if len(columns) > 1 else ["Value"]
    organized = {
        "excludeByName": {"Time": True},
        "indexByName": {name: place for place, name in enumerate([*labels, *answers])},
        "renameByName": dict(zip(answers, columns, strict=True)),
    }
    shown = {name: column.override() for name, column in columns.items()}
    panel = (
        begin(
            table.Panel(),
            title,
            description,
            targets({name: column.expr for name, column in columns.items()}, instant=True),
            "none",
        )
        .span(span)
        .height(9)
        .no_value("-")
        .with_transformation(dashboard.DataTransformerConfig("merge", options={}))
        .with_transformation(dashboard.DataTransformerConfig("organize", options=organized))
        .overrides(overrides(shown) + overrides(cells))
        .cell_height(common.TableCellHeight.SM)
    )
    if order is not None:
        panel = panel.sort_by([c.TableSortByFieldState().display_name(order[0]).desc(order[1])])
    return panel
