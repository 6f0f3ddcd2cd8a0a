"""That each query of a dashboard asks for what there is, in the way that Grafana's dashboard-linter asks for.

The linter's rules on `instance` are not among these: gauges of windows are of no replica.
"""

import re
import subprocess
from pathlib import Path

import promql_parser
import pytest
import yaml
from deploy.generate.labels import SOURCE

from driftgauge.telemetry.catalogue import METRICS
from tests.deploy import promql
from tests.deploy.dashboards import MARKED, POINT, RATE, documents, expressions, panels, put_in
from tests.needed import required

CODES = re.compile(r"\{\{(.+?)\}\}")


def test_every_panel_says_which_metrics_it_draws():
    for panel in panels():
        drawn = {
            promql.source(selector.name)
            for target in panel["targets"]
            for selector, _ in promql.selectors(put_in(target["expr"], MARKED))
        }
        unsaid = {name for name in drawn if name not in panel["description"]}
        assert unsaid == set(), panel["title"]


@pytest.mark.stack
def test_prometheus_takes_every_expression(tmp_path: Path):
    promtool = required("promtool", "prometheus")
    rules = [
        {"record": f"expression_{number}", "expr": expr, "labels": {"at": where}}
        for number, (where, expr) in enumerate(expressions())
    ]
    path = tmp_path / "expressions.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    checked = subprocess.run(
        [promtool, "check", "rules", str(path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout


def test_every_series_that_is_asked_for_exists_and_has_the_labels_it_is_chosen_by():
    known = promql.series()
    for where, expr in expressions():
        for selector, _ in promql.selectors(expr):
            assert selector.name in known, where
            names = {matcher.name for matcher in selector.matchers.matchers}
            assert names <= known[selector.name], f"{where}: {selector}"


def test_every_series_is_of_the_chosen_source():
    for where, expr in expressions():
        # Each variable of the source is of what those before it leave.
        known = SOURCE[: SOURCE.index(where.removeprefix("variable "))] if where[9:] in SOURCE else SOURCE
        for selector, _ in promql.selectors(expr):
            matchers = {each.name: (each.op, each.value) for each in selector.matchers.matchers}
            for label in known:
                chosen = (promql_parser.MatchOp.Re, MARKED[label])
                assert matchers.get(label) == chosen, f"{where}: {selector}"


def test_every_time_that_is_looked_back_on_is_grafanas():
    for where, expr in expressions():
        for node, _ in promql.nodes(expr):
            if isinstance(node, promql_parser.MatrixSelector):
                assert node.range == RATE, f"{where}: {node}"
            if isinstance(node, promql_parser.VectorSelector) and node.offset is not None:
                assert node.offset in {RATE, POINT}, f"{where}: {node}"


def test_a_counter_is_seen_by_its_growth_alone():
    for where, expr in expressions():
        for selector, above in promql.selectors(expr):
            if promql.is_counter(selector.name):
                assert grows(selector, above), f"{where}: {selector}"


def grows(selector: promql.Node, above: tuple[promql.Node, ...]) -> bool:
    call, matrix = above[-2:]
    return isinstance(matrix, promql_parser.MatrixSelector) and call.func.name in {"rate", "increase"}


def test_every_label_that_results_are_grouped_matched_or_named_by_is_there():
    for panel in panels():
        for target in panel["targets"]:
            found = promql.labels(put_in(target["expr"], MARKED))
            named = set(CODES.findall(target["legendFormat"]))
            assert named <= found, f"{panel['title']}: {named - found}"
    for each in documents():
        for annotation in each["annotations"]["list"]:
            found = promql.labels(put_in(annotation["expr"], MARKED))
            assert set(CODES.findall(annotation["titleFormat"] + annotation["textFormat"])) <= found


def test_every_metric_of_the_catalogue_is_drawn_somewhere():
    drawn = {
        promql.source(selector.name) for _, expr in expressions() for selector, _ in promql.selectors(expr)
    }
    # A square root, a label of the alerts, and what a p-value and an excess are made of.
    elsewhere = {
        *("driftgauge_window_js_distance", "driftgauge_alarm_severity_info"),
        *("driftgauge_window_mean_shift_t2", "driftgauge_window_centroid_distance"),
    }
    assert set(METRICS) - drawn == elsewhere


def test_variables_are_put_in_however_they_are_written():
    text = 'label_replace(a{job=~"$job", b="${stream}"}, "c", "$1", "d", "(.)")[$__interval]'
    assert put_in(text, {"job": "x", "stream": "y", "__interval": "1m"}) == (
        'label_replace(a{job=~"x", b="y"}, "c", "$1", "d", "(.)")[1m]'
    )
    with pytest.raises(KeyError):
        put_in("$other", {})
