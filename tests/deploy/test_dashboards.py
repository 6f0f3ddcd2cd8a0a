"""The form of the dashboards by the rules of Grafana's dashboard-linter, and the targets of their links."""

import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import yaml
from deploy.generate.__main__ import files
from deploy.generate.grafana.drift_details import LATER

from tests.deploy import promql
from tests.deploy.dashboards import DASHBOARDS, MARKED, documents, flat, panels, substitute

ALERTS = DASHBOARDS.parents[1] / "prometheus/rules/driftgauge-alerts.yml"
DRIFT, SERVICE = "driftgauge-drift", "driftgauge-service"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Grafana's identifiers of those in use, from its packages/grafana-data/src/valueFormats/categories.ts.
UNITS = {
    *("none", "short", "percentunit", "sci", "locale", "bytes", "s", "eps", "ops", "dateTimeAsIso"),
}

GRAFANAS_OWN = {
    "__rate_interval",
    "__value",
    "__interval",
    "__range",
    "__all",
    "__data",
    "__field",
    "__url_time_range",
}

NAMES = re.compile(r"\$\{?([A-Za-z_]\w*)")


def texts(value: object) -> Iterator[str]:
    """Every string in a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


def document(uid: str) -> dict[str, Any]:
    (found,) = (each for each in documents() if each["uid"] == uid)
    return found


def variable_names(uid: str) -> set[str]:
    return {variable["name"] for variable in document(uid)["templating"]["list"]}


def test_committed_dashboards_are_up_to_date():
    generated = {path for path in files() if path.parent == DASHBOARDS}
    assert generated == set(DASHBOARDS.glob("*.json"))
    for path in generated:
        assert path.read_text("utf-8") == files()[path], f"{path.name}: run `make generate`"


def test_two_dashboards_are_read_only_in_utc():
    assert {each["uid"] for each in documents()} == {DRIFT, SERVICE}
    for each in documents():
        assert each["editable"] is False
        assert each["timezone"] == "utc"
        assert each["tags"] == ["driftgauge"]
        assert each["schemaVersion"] >= 39


def test_every_query_uses_data_source_variable():
    for each in documents():
        first, *others = (one for one in each["templating"]["list"] if one["type"] != "textbox")
        assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
        asking = [
            *others,
            *each["annotations"]["list"],
            *(panel for panel in flat(each) if panel["type"] != "row"),
            *(target for panel in flat(each) for target in panel.get("targets", ())),
        ]
        assert all(one["datasource"] == DATASOURCE for one in asking)


def test_variables_refresh_on_time_range_change():
    for each in documents():
        for variable in each["templating"]["list"]:
            assert variable["type"] != "query" or variable["refresh"] == 2, variable["name"]


def test_job_variable_allows_several_values():
    for each in documents():
        (job,) = (one for one in each["templating"]["list"] if one["name"] == "job")
        assert (job["label"], job["multi"], job["allValue"]) == ("Job", True, ".+")


def test_used_variables_equal_defined_variables():
    for each in documents():
        used = {name for text in texts(each) for name in NAMES.findall(text)}
        assert used - GRAFANAS_OWN == variable_names(each["uid"]), each["uid"]


def test_every_panel_has_unique_title_description_unit_and_queries():
    for each in documents():
        titles = [panel["title"] for panel in flat(each)]
        assert len(titles) == len(set(titles))
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        units = {panel["fieldConfig"]["defaults"]["unit"]}
        for override in panel["fieldConfig"]["overrides"]:
            units |= {each["value"] for each in override["properties"] if each["id"] == "unit"}
        assert units <= UNITS, panel["title"]


def test_panels_of_windows_over_time_describe_delay():
    of_window = re.compile(r"\bdriftgauge_window_(?!revisions)\w+")
    for panel in flat(document(DRIFT)):
        over_time = [target["expr"] for target in panel.get("targets", ()) if target["range"]]
        if any(of_window.search(expr) for expr in over_time):
            assert LATER.strip() in panel["description"], panel["title"]


def test_details_are_in_collapsed_rows():
    for each in documents():
        closed = [item for item in each["panels"] if item["type"] == "row" and item["collapsed"]]
        hidden = sum(len(row["panels"]) for row in closed)
        shown = sum(item["type"] != "row" for item in each["panels"])
        assert closed
        assert shown <= 12
        assert shown + hidden < 33
        # Grafana drops panels stored inside an open row.
        assert all(not item.get("panels") for item in each["panels"] if item not in closed)


def test_panel_ids_are_unique_and_panels_do_not_overlap():
    for each in documents():
        numbers = [panel["id"] for panel in flat(each)]
        assert len(numbers) == len(set(numbers))
        for panel in flat(each):
            grid = panel["gridPos"]
            assert grid["x"] >= 0
            assert grid["x"] + grid["w"] <= 24, panel["title"]
        for one, other in combinations(flat(each), 2):
            assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not beside and not below


def test_every_arranged_table_column_exists():
    for panel in panels():
        if panel["type"] != "table":
            continue
        (organized,) = (each for each in panel["transformations"] if each["id"] == "organize")
        columns = set().union(*(promql.labels(substitute(each["expr"], MARKED)) for each in panel["targets"]))
        answers = set(organized["options"]["renameByName"])
        assert set(organized["options"]["indexByName"]) <= columns | answers, panel["title"]
        shown = columns | set(organized["options"]["renameByName"].values())
        assert {each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"]} <= shown
        linked = {name for text in texts(panel) for name in re.findall(r"__data\.fields\.(\w+)", text)}
        assert linked <= shown, panel["title"]


def test_series_links_use_existing_labels():
    for panel in panels():
        wanted = set(re.findall(r"__field\.labels\.(\w+)", str(panel["fieldConfig"])))
        for target in panel["targets"]:
            assert wanted <= promql.labels(substitute(target["expr"], MARKED)) or not wanted, panel["title"]


def links() -> Iterator[str]:
    """Every link to a dashboard, from dashboards and from alerts."""
    for each in documents():
        yield from (text for text in texts(each) if text.startswith("/d/"))
    for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]:
        for rule in group["rules"]:
            yield rule["annotations"]["dashboard"]


def test_every_link_passes_only_known_variables():
    followed = list(links())
    assert len(followed) > len(documents())
    for link in followed:
        uid, _, query = link.removeprefix("/d/").partition("?")
        given = set(re.findall(r"var-(\w+)=", query)) | set(re.findall(r"\{(\w+):queryparam\}", query))
        assert given <= variable_names(uid), link
