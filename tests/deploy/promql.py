"""Static analysis of PromQL: the selectors of an expression, and the labels of its result."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import promql_parser
from deploy.generate.labels import SOURCE

from driftgauge.telemetry.catalogue import METRICS
from driftgauge.telemetry.metric import MetricType

TARGET = {*SOURCE, "instance"}

# Series of Prometheus itself and of the client library's default collectors.
OTHERS: Mapping[str, set[str]] = {
    "up": TARGET,
    "ALERTS": {
        *("alertname", "alertstate", "severity", "instance", *SOURCE),
        *("stream", "window", "segment", "value", "topic", "partition", "condition", "role"),
    },
    "process_cpu_seconds_total": TARGET,
    "process_resident_memory_bytes": TARGET,
    "process_open_fds": TARGET,
    "process_max_fds": TARGET,
    "process_start_time_seconds": TARGET,
    "python_gc_collections_total": TARGET | {"generation"},
}

_HISTOGRAM = {"_bucket": {"le"}, "_sum": set(), "_count": set()}
_SETS = {"and", "unless"}

Node = Any
"""A node of promql_parser's syntax tree."""


@cache
def series() -> dict[str, set[str]]:
    """The labels of every series of driftgauge in Prometheus, by series name."""
    exported = {}
    for name, metric in METRICS.items():
        labels = TARGET | set(metric.labels)
        if metric.type is MetricType.HISTOGRAM:
            exported |= {name + suffix: labels | more for suffix, more in _HISTOGRAM.items()}
        else:
            exported[name] = labels
    return exported | dict(OTHERS)


def source(name: str) -> str:
    """The catalogue metric of a series; other series are their own metric."""
    for suffix in _HISTOGRAM:
        if METRICS.get(stem := name.removesuffix(suffix)) and METRICS[stem].type is MetricType.HISTOGRAM:
            return stem
    return name


def is_counter(name: str) -> bool:
    metric = METRICS.get(source(name))
    if metric is not None:
        return metric.type is not MetricType.GAUGE
    return name.endswith("_total")


def nodes(expr: str) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    """Every node of an expression with its ancestors, the parent last."""
    yield from _walk(promql_parser.parse(expr), ())


def selectors(expr: str) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    for node, above in nodes(expr):
        if isinstance(node, promql_parser.VectorSelector):
            yield node, above


def labels(expr: str) -> set[str]:
    """The labels of an expression's result; grouping by a missing label fails an assertion."""
    return _labels(promql_parser.parse(expr))


def _children(node: Node) -> list[Node]:
    if isinstance(node, promql_parser.Call):
        return list(node.args)
    if isinstance(node, promql_parser.MatrixSelector):
        return [node.vector_selector]
    if isinstance(node, promql_parser.BinaryExpr):
        return [node.lhs, node.rhs]
    inner = getattr(node, "expr", None)
    return [] if inner is None else [inner]


def _walk(node: Node, above: tuple[Node, ...]) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    yield node, above
    for child in _children(node):
        yield from _walk(child, (*above, node))


def _labels(node: Node) -> set[str]:
    if isinstance(node, promql_parser.VectorSelector):
        return set(series()[node.name])
    if isinstance(node, promql_parser.AggregateExpr):
        by = set(node.modifier.labels) if node.modifier else set()
        missing = by - _labels(node.expr)
        assert not missing, f"grouped by {missing}, which is no label of {node.expr}"
        return by
    if isinstance(node, promql_parser.BinaryExpr):
        return _of_binary(node)
    if isinstance(node, promql_parser.Call):
        return _of_call(node)
    children = _children(node)
    return _labels(children[0]) if children else set()


def _of_binary(node: Node) -> set[str]:
    left, right = _labels(node.lhs), _labels(node.rhs)
    if str(node.op) == "or":
        return left | right
    if str(node.op) in _SETS:
        return left
    if _is_number(node.lhs) or _is_number(node.rhs):
        return left | right
    modifier = node.modifier
    if modifier is None or modifier.matching is None:
        assert left == right, f"{node}: {left} are matched with {right}"
        return left
    on = set(modifier.matching.labels)
    assert on <= left & right, f"{node}: not both have {on}"
    if modifier.card == promql_parser.VectorMatchCardinality.ManyToOne:
        return left | set(modifier.group_labels)
    return on


def _of_call(node: Node) -> set[str]:
    if node.func.name == "label_replace":
        of, name, _, origin, _ = node.args
        found = _labels(of)
        assert not origin.val or origin.val in found, f"{node}: there is no {origin.val}"
        return found | {name.val}
    if node.func.name == "histogram_quantile":
        return _labels(node.args[1]) - {"le"}
    return _labels(node.args[0]) if node.args else set()


def _is_number(node: Node) -> bool:
    """Whether a node is a scalar and not a vector."""
    if isinstance(node, promql_parser.BinaryExpr):
        return _is_number(node.lhs) and _is_number(node.rhs)
    if isinstance(node, promql_parser.Call):
        return bool(node.func.name == "time")
    return isinstance(node, promql_parser.NumberLiteral)
