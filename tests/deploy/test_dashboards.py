"""The dashboards: exported series by the rules of Grafana's dashboard-linter, and links that lead on.

The linter's rules on `instance` are left out, because gauges of windows belong to no replica.
"""

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from deploy.generate.labels import SOURCE

from tests.deploy import promql
from tests.deploy.dashboards import MARKED, POINT, RATE, documents, expressions, flat, panels, substitute
from tests.deploy.test_rules import ALERTS
from tests.processes import run_required

DRIFT, SERVICE = "driftgauge-drift", "driftgauge-service"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GRAFANAS_OWN = re.compile(r"__\w+")
EACH = pytest.mark.parametrize("document", documents(), ids=lambda document: document["uid"])


def variable_names(document: dict[str, Any]) -> set[str]:
    return {variable["name"] for variable in document["templating"]["list"]}


def test_two_dashboards_are_read_only_in_utc():
    assert {(each["uid"], each["editable"], each["timezone"]) for each in documents()} == {
        (DRIFT, False, "utc"),
        (SERVICE, False, "utc"),
    }


@EACH
def test_every_query_uses_data_source_variable(document: dict[str, Any]):
    first, *others = (one for one in document["templating"]["list"] if one["type"] != "textbox")
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
    drawn = [panel for panel in flat(document) if panel["type"] != "row"]
    targets = [target for panel in drawn for target in panel["targets"]]
    for asking in (*others, *document["annotations"]["list"], *drawn, *targets):
        assert asking["datasource"] == DATASOURCE


@EACH
def test_used_variables_equal_defined_variables(document: dict[str, Any]):
    used = set(re.findall(r"\$\{?([A-Za-z_]\w*)", json.dumps(document)))
    assert {name for name in used if not GRAFANAS_OWN.match(name)} == variable_names(document)


@EACH
def test_every_panel_has_unique_id_and_title_and_is_described(document: dict[str, Any]):
    for key in ("id", "title"):
        values = [panel[key] for panel in flat(document)]
        assert len(values) == len(set(values))
    for panel in flat(document):
        assert panel["type"] == "row" or (panel["description"] and panel["targets"]), panel["title"]


def test_every_link_passes_only_known_variables():
    known = {document["uid"]: variable_names(document) for document in documents()}
    links = [link for each in documents() for link in re.findall(r'"(/d/[^"]+)"', json.dumps(each))]
    links += [rule["annotations"]["dashboard"] for rules in ALERTS.values() for rule in rules]
    assert len(links) > len(known)
    for link in links:
        uid, _, query = link.removeprefix("/d/").partition("?")
        given = set(re.findall(r"var-(\w+)=|\{(\w+):queryparam\}", query))
        assert {name for pair in given for name in pair if name} <= known[uid], link


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


def test_query_selects_exported_series_of_chosen_source():
    for where, expr in expressions():
        promql.assert_exported(expr)
        # A source variable is filtered by the source variables before it.
        _, _, variable = where.partition("variable ")
        known = SOURCE[: SOURCE.index(variable)] if variable in SOURCE else SOURCE
        for selector, _ in promql.selectors(expr):
            matchers = {each.name: (each.op, each.value) for each in selector.matchers.matchers}
            chosen = {label: (promql_parser.MatchOp.Re, MARKED[label]) for label in known}
            assert chosen.items() <= matchers.items(), f"{where}: {selector}"


def test_every_range_uses_grafana_variable_and_counters_are_read_by_growth():
    for where, expr in expressions():
        for node, above in promql.nodes(expr):
            if isinstance(node, promql_parser.MatrixSelector):
                assert node.range == RATE, f"{where}: {node}"
            if isinstance(node, promql_parser.VectorSelector):
                assert node.offset in {None, RATE, POINT}, f"{where}: {node}"
                call = above[-2] if len(above) > 1 else None
                grows = isinstance(call, promql_parser.Call) and call.func.name in {"rate", "increase"}
                assert grows or not node.name.endswith(("_total", "_bucket", "_sum", "_count")), (
                    f"{where}: {node}"
                )


def test_legends_columns_and_links_use_labels_of_result():
    for panel in panels():
        for target in panel["targets"]:
            kept = promql.labels(substitute(target["expr"], MARKED))
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept, panel["title"]
            linked = set(re.findall(r"__field\.labels\.(\w+)", json.dumps(panel["fieldConfig"])))
            assert linked <= kept, panel["title"]
    for document in documents():
        for annotation in document["annotations"]["list"]:
            kept = promql.labels(substitute(annotation["expr"], MARKED))
            text = annotation["titleFormat"] + annotation["textFormat"]
            assert set(re.findall(r"\{\{(\w+)\}\}", text)) <= kept, annotation["name"]
