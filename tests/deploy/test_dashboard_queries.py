"""Dashboard queries use existing series, and follow the rules of Grafana's dashboard-linter.

The linter's rules on `instance` are left out, because gauges of windows belong to no replica.
"""

import re
from pathlib import Path

import promql_parser
import pytest
import yaml
from deploy.generate.labels import SOURCE

from driftgauge.telemetry.catalogue import METRICS
from tests.deploy import promql
from tests.deploy.dashboards import MARKED, POINT, RATE, documents, expressions, panels, substitute
from tests.processes import run_required

CODES = re.compile(r"\{\{(.+?)\}\}")


def test_every_panel_description_names_its_metrics():
    for panel in panels():
        drawn = {
            promql.source(selector.name)
            for target in panel["targets"]
            for selector, _ in promql.selectors(substitute(target["expr"], MARKED))
        }
        unsaid = {name for name in drawn if name not in panel["description"]}
        assert unsaid == set(), panel["title"]


@pytest.mark.stack
def test_promtool_accepts_every_expression(tmp_path: Path):
    rules = [
        {"record": f"expression_{number}", "expr": expr, "labels": {"at": where}}
        for number, (where, expr) in enumerate(expressions())
    ]
    path = tmp_path / "expressions.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    checked = run_required("promtool", "prometheus", "check", "rules", path)
    assert f"{len(rules)} rules found" in checked.stdout


def test_every_selected_series_exists_with_selected_labels():
    known = promql.series()
    for where, expr in expressions():
        for selector, _ in promql.selectors(expr):
            assert selector.name in known, where
            names = {matcher.name for matcher in selector.matchers.matchers}
            assert names <= known[selector.name], f"{where}: {selector}"


def test_every_selector_filters_by_source_variables():
    for where, expr in expressions():
        # A source variable is filtered by the source variables before it.
        known = SOURCE[: SOURCE.index(where.removeprefix("variable "))] if where[9:] in SOURCE else SOURCE
        for selector, _ in promql.selectors(expr):
            matchers = {each.name: (each.op, each.value) for each in selector.matchers.matchers}
            for label in known:
                chosen = (promql_parser.MatchOp.Re, MARKED[label])
                assert matchers.get(label) == chosen, f"{where}: {selector}"


def test_every_range_uses_grafana_variable():
    for where, expr in expressions():
        for node, _ in promql.nodes(expr):
            if isinstance(node, promql_parser.MatrixSelector):
                assert node.range == RATE, f"{where}: {node}"
            if isinstance(node, promql_parser.VectorSelector) and node.offset is not None:
                assert node.offset in {RATE, POINT}, f"{where}: {node}"


def test_counters_are_read_only_by_rate_or_increase():
    for where, expr in expressions():
        for selector, above in promql.selectors(expr):
            if promql.is_counter(selector.name):
                assert grows(selector, above), f"{where}: {selector}"


def grows(selector: promql.Node, above: tuple[promql.Node, ...]) -> bool:
    call, matrix = above[-2:]
    return isinstance(matrix, promql_parser.MatrixSelector) and call.func.name in {"rate", "increase"}


def test_every_legend_label_exists_in_result():
    for panel in panels():
        for target in panel["targets"]:
            found = promql.labels(substitute(target["expr"], MARKED))
            named = set(CODES.findall(target["legendFormat"]))
            assert named <= found, f"{panel['title']}: {named - found}"
    for each in documents():
        for annotation in each["annotations"]["list"]:
            found = promql.labels(substitute(annotation["expr"], MARKED))
            assert set(CODES.findall(annotation["titleFormat"] + annotation["textFormat"])) <= found


def test_every_catalogue_metric_is_on_some_dashboard():
    drawn = {
        promql.source(selector.name) for _, expr in expressions() for selector, _ in promql.selectors(expr)
    }
    # A square root, a label of the alerts, and the inputs of p-values and of excesses.
    elsewhere = {
        *("driftgauge_window_js_distance", "driftgauge_alarm_severity_info"),
        *("driftgauge_window_mean_shift_t2", "driftgauge_window_centroid_distance"),
        "driftgauge_window_novelty_ratio",
    }
    assert set(METRICS) - drawn == elsewhere


def test_substitute_replaces_both_variable_notations():
    text = 'label_replace(a{job=~"$job", b="${stream}"}, "c", "$1", "d", "(.)")[$__interval]'
    assert substitute(text, {"job": "x", "stream": "y", "__interval": "1m"}) == (
        'label_replace(a{job=~"x", b="y"}, "c", "$1", "d", "(.)")[1m]'
    )
    with pytest.raises(KeyError):
        substitute("$other", {})
