"""The exported series, and the selectors of an expression."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import promql_parser
from deploy.generate.labels import SOURCE

from driftgauge.telemetry.metrics import METRICS

TARGET = {*SOURCE, "instance"}

# Series of Prometheus itself and of the client library's default collectors.
OTHERS: Mapping[str, set[str]] = {
    "up": TARGET,
    "ALERTS": {
        *("alertname", "alertstate", "severity", "instance", *SOURCE),
        *("stream", "window", "segment", "value", "topic", "partition", "condition", "role"),
        *("reason", "owner", "team"),
    },
    "process_cpu_seconds_total": TARGET,
    "process_resident_memory_bytes": TARGET,
    "process_open_fds": TARGET,
    "process_max_fds": TARGET,
    "process_start_time_seconds": TARGET,
    "python_gc_collections_total": TARGET | {"generation"},
}

_HISTOGRAM = {"_bucket": {"le"}, "_sum": set(), "_count": set()}

Node = Any
"""A node of promql_parser's syntax tree."""


@cache
def series() -> dict[str, set[str]]:
    """The labels of every series of driftgauge in Prometheus, by series name."""
    exported = {}
    for name, metric in METRICS.items():
        labels = TARGET | set(metric.labels)
        if metric.type == "histogram":
            exported |= {name + suffix: labels | more for suffix, more in _HISTOGRAM.items()}
        else:
            exported[name] = labels
    return exported | dict(OTHERS)


def nodes(expr: str) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    """Every node of an expression with its ancestors, the parent last."""
    yield from _walk(promql_parser.parse(expr), ())


def selectors(expr: str) -> list[tuple[Node, tuple[Node, ...]]]:
    """Every selector of an expression with its ancestors."""
    return [each for each in nodes(expr) if isinstance(each[0], promql_parser.VectorSelector)]


def is_aggregated(above: tuple[Node, ...]) -> bool:
    return any(isinstance(node, promql_parser.AggregateExpr) for node in above)


def labels(expr: str) -> set[str]:
    """The labels that an expression's aggregations keep or that it sets; its result may have fewer."""
    parts = [node for node, _ in nodes(expr)]
    aggregations = [part for part in parts if isinstance(part, promql_parser.AggregateExpr)]
    kept = [part.modifier.labels for part in aggregations if part.modifier]
    calls = [part for part in parts if isinstance(part, promql_parser.Call)]
    made = {part.args[1].val for part in calls if part.func.name == "label_replace"}
    bare = [series()[selector.name] for selector, above in selectors(expr) if not is_aggregated(above)]
    return made.union(*kept, *bare)


def assert_exported(expr: str) -> None:
    """Assert that an expression parses, and that its series are exported with the labels it selects by."""
    for selector, _ in selectors(expr):
        assert {matcher.name for matcher in selector.matchers.matchers} <= series()[selector.name], expr


def _children(node: Node) -> list[Node]:
    parts = (getattr(node, name, None) for name in ("lhs", "rhs", "expr", "vector_selector"))
    return [*(part for part in parts if part is not None), *getattr(node, "args", ())]


def _walk(node: Node, above: tuple[Node, ...]) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    yield node, above
    for child in _children(node):
        yield from _walk(child, (*above, node))
