"""Tables of the newest values: one row for each set of labels, one column for each query."""

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
    """A column of a table: its expression, one value for each row, and its display."""

    expr: str
    unit: str = "none"
    decimals: int | None = None
    properties: Properties = field(default_factory=dict)

    def override(self) -> Properties:
        """Return the display properties of the cells."""
        digits = {} if self.decimals is None else {"decimals": self.decimals}
        return {"unit": self.unit, **digits, **self.properties}

    @classmethod
    def of_texts(cls, expr: str, names: Mapping[float, tuple[str, str]]) -> "Column":
        """Return a column that shows a coloured text for each number."""
        # The SDK has models but no builders for cell options.
        cell = common.TableColoredBackgroundCellOptions(mode=common.TableCellBackgroundDisplayMode.BASIC)
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
    """Return a table of the newest values.

    Args:
        title: The panel's title.
        description: The panel's description.
        labels: The labels that identify a row, in the order of their columns.
        columns: The columns of values, by heading.
        span: The width in columns of 24.
        order: The heading of the column to sort by, and whether the order is descending; None does not sort.
        cells: Display properties by heading, for columns of labels.
    """
    # Grafana adds the query's letter to the column name only if a table has several queries.
    names = [f"Value #{ref(index)}" for index in range(len(columns))] if len(columns) > 1 else ["Value"]
    # The SDK has no builder for the options of transformations.
    organized = {
        "excludeByName": {"Time": True},
        "indexByName": {name: index for index, name in enumerate([*labels, *names])},
        "renameByName": dict(zip(names, columns, strict=True)),
    }
    displayed = {heading: column.override() for heading, column in columns.items()}
    panel = (
        begin(
            table.Panel(),
            title,
            description,
            targets({heading: column.expr for heading, column in columns.items()}, instant=True),
            "none",
        )
        .span(span)
        .height(9)
        .no_value("-")
        .with_transformation(dashboard.DataTransformerConfig("merge", options={}))
        .with_transformation(dashboard.DataTransformerConfig("organize", options=organized))
        .overrides(overrides(displayed) + overrides(cells))
        .cell_height(common.TableCellHeight.SM)
    )
    if order is not None:
        panel = panel.sort_by([c.TableSortByFieldState().display_name(order[0]).desc(order[1])])
    return panel
