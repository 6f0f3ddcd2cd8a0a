"""The dashboards: exported series by the rules of Grafana's linter, links, values, units and colours."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from deploy.generate.grafana.dashboards import DRIFT, SERVICE
from deploy.generate.labels import SOURCE

from driftgauge.core.judging.verdict import Verdict
from tests.builders.baselines import HOSTILE_NAMES
from tests.deploy import promql
from tests.deploy.test_rules import ALERTS, promtool

DASHBOARDS = Path(__file__).parents[2] / "deploy/kubernetes/chart/files/dashboards"

# Texts that no expression contains, so that they identify substituted variables.
MARKED = {
    **{name: f"<{name}>" for name in (*SOURCE, "instance", "stream", "window")},
    "__rate_interval": "7m",
    "__interval": "3m",
    "__range": "7m",
}

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))")
_LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), \w+\)", re.DOTALL)


def documents() -> list[dict[str, Any]]:
    """Every committed dashboard."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))]


def flat(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every row and panel of a dashboard, including panels in collapsed rows."""
    return [each for item in document["panels"] for each in (item, *item.get("panels", ()))]


def substitute(text: str, values: Mapping[str, str]) -> str:
    """The text with every variable replaced.

    Raises:
        KeyError: A variable has no value.
    """
    return _VARIABLE.sub(lambda match: values[match[1] or match[2]], text)


def panels() -> list[dict[str, Any]]:
    return [panel for document in documents() for panel in flat(document) if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Each expression with marked variables, and its place."""
    for document in documents():
        for variable in document["templating"]["list"]:
            if variable["type"] == "query":
                query = _LABEL_VALUES.fullmatch(variable["query"]["query"])
                yield f"variable {variable['name']}", substitute(query["selector"], MARKED)
        for annotation in document["annotations"]["list"]:
            yield annotation["name"], substitute(annotation["expr"], MARKED)
        for panel in flat(document):
            for target in panel.get("targets", ()):
                yield panel["title"], substitute(target["expr"], MARKED)


def named(panel: Mapping[str, Any]) -> dict[str, str]:
    """The expressions of a panel, with variables, by the displayed name."""
    renamed = {
        answer.removeprefix("Value").removeprefix(" #") or "A": name
        for each in panel.get("transformations", ())
        for answer, name in each["options"].get("renameByName", {}).items()
    }
    return {
        renamed.get(target["refId"], target["legendFormat"].removeprefix("__auto")): target["expr"]
        for target in panel["targets"]
    }


def property_of(panel: Mapping[str, Any], name: str, wanted: str) -> Any:
    """The value of a display property for the field of a name."""
    for override in panel["fieldConfig"]["overrides"]:
        for each in override["properties"]:
            if (override["matcher"]["options"], each["id"]) == (name, wanted):
                return each["value"]
    return panel["fieldConfig"]["defaults"].get(wanted)


def texts(panel: Mapping[str, Any], name: str = "") -> dict[float, tuple[str, str]]:
    """The mapped text and colour by value."""
    return {
        float(value): (each["text"], each["color"])
        for mapping in property_of(panel, name, "mappings") or ()
        for value, each in mapping["options"].items()
    }


def colour(panel: Mapping[str, Any], value: float) -> str:
    """The colour of a value by the thresholds."""
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    reached: list[str] = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return reached[-1]


GRAFANAS_OWN = re.compile(r"__\w+")


def variable_names(document: dict[str, Any]) -> set[str]:
    return {variable["name"] for variable in document["templating"]["list"]}


@pytest.mark.parametrize("document", documents(), ids=lambda document: document["uid"])
def test_used_variables_equal_defined_variables(document: dict[str, Any]):
    used = set(re.findall(r"\$\{?([A-Za-z_]\w*)", json.dumps(document)))
    assert {name for name in used if not GRAFANAS_OWN.match(name)} == variable_names(document)


def test_every_link_passes_only_known_variables():
    known = {document["uid"]: variable_names(document) for document in documents()}
    links = [link for each in documents() for link in re.findall(r'"(/d/[^"]+)"', json.dumps(each))]
    links += [rule["annotations"]["dashboard"] for rules in ALERTS.values() for rule in rules]
    assert len(links) > len(known)
    for link in links:
        uid, _, query = link.removeprefix("/d/").partition("?")
        given = set(re.findall(r"var-(\w+)=|\{(\w+):queryparam\}", query))
        assert {name for pair in given for name in pair if name} <= known[uid], link


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


def test_legends_columns_and_links_use_labels_of_result():
    asking = [
        (target["expr"], target["legendFormat"] + json.dumps(panel["fieldConfig"]))
        for panel in panels()
        for target in panel["targets"]
    ]
    asking += [
        (each["expr"], each["titleFormat"] + each["textFormat"])
        for document in documents()
        for each in document["annotations"]["list"]
    ]
    for expr, text in asking:
        matches = re.findall(r"\{\{(\w+)\}\}|__field\.labels\.(\w+)", text)
        used = {name for match in matches for name in match if name}
        assert used <= promql.labels(substitute(expr, MARKED)), expr


REPLICA = {"job": "driftgauge", "namespace": "ml", "instance": "a:9464"}


def series(name: str, value: float, /, **labels: str) -> dict[str, str]:
    """A constant series in the notation of promtool's unit tests."""
    inside = ", ".join(f"{label}={json.dumps(text, ensure_ascii=False)}" for label, text in labels.items())
    return {"series": f"{name}{{{inside}}}", "values": f"{value!r}x10"}


def assert_results(
    folder: Path, inputs: Sequence[Mapping[str, str]], expected: Sequence[tuple[str, float | None]]
) -> None:
    """Assert the results of expressions after five minutes.

    Args:
        folder: A folder for temporary files.
        inputs: The scraped series.
        expected: Expressions and the sum of each result; None for an empty result.
    """
    _assert_samples(
        folder,
        inputs,
        [
            (f"sum({expr})", [] if value is None else [{"labels": "{}", "value": value}])
            for expr, value in expected
        ],
    )


def assert_series(
    folder: Path,
    inputs: Sequence[Mapping[str, str]],
    expr: str,
    expected: Sequence[tuple[Mapping[str, str], float]],
) -> None:
    """Assert the labels and values of an expression's result after five minutes."""
    samples = [
        {"labels": series("", value, **labels)["series"], "value": value} for labels, value in expected
    ]
    _assert_samples(folder, inputs, [(expr, samples)])


def _assert_samples(
    folder: Path,
    inputs: Sequence[Mapping[str, str]],
    expected: Sequence[tuple[str, Sequence[Mapping[str, object]]]],
) -> None:
    path = folder / "values.test.yml"
    test = {
        "interval": "1m",
        "input_series": list(inputs),
        "promql_expr_test": [
            {"expr": expr, "eval_time": "5m", "exp_samples": samples} for expr, samples in expected
        ],
    }
    path.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [test]}))
    promtool("test", "rules", path)


CHOSEN = {"job": "driftgauge", "namespace": "ml", "stream": "clicks", "window": "1h"}
VARIABLES = {**CHOSEN, "cluster": ".*", "instance": ".+", "__rate_interval": "1m", "__interval": "1m"}

COLOURS = {
    "ok": "green",
    "warning": "yellow",
    "drift": "red",
    "insufficient": "#8e8e8e",
    "incomplete": "purple",
    "misfit": "orange",
}

# All different, and sums of powers of two, which floating point adds and divides exactly.
WINDOW = {
    "js_divergence": 0.5,
    "noise_floor": 0.125,
    "p_value": 2**-4,
    "slow_drift_ratio": 0.75,
    "events": 4096,
    "end_timestamp_seconds": 240,
    "closed_timestamp_seconds": 260,
    "overdue_threshold_seconds": 30,
}

NEWEST = "Newest windows of all streams"
CLUSTERS = "Clusters by contribution"
SEGMENTS = "Segments of the newest window"

# The value and unit, by panel and displayed name.
SHOWN = {
    ("Streams in drift", ""): (1, "none"),
    ("Streams overdue", ""): (1, "none"),
    (NEWEST, "alarm"): (1, "none"),
    (NEWEST, "p-value"): (2**-4, "sci"),
    (NEWEST, "divergence"): (0.5, "none"),
    (NEWEST, "noise floor"): (0.125, "none"),
    (NEWEST, "slow drift"): (0.75, "percentunit"),
    (NEWEST, "events"): (4096, "locale"),
    (NEWEST, "window ended"): (240_000, "dateTimeAsIso"),
    (NEWEST, "closed ago"): (40, "s"),
    ("Divergence", "divergence"): (0.5, "none"),
    ("Divergence", "noise floor"): (0.125, "none"),
    ("Divergence", "large above"): (0.126953125, "none"),
    ("p-value", "p-value"): (2**-4, "sci"),
    ("p-value", "significant below"): (2**-3, "sci"),
    ("Size by kind of drift", "{{kind}}"): (3, "percentunit"),
    ("Slow drift", "slow drift"): (0.75, "percentunit"),
    ("Least detectable drift", "{{kind}}"): (1.5, "percentunit"),
    ("Numbers beside the embeddings", "{{number}}"): (0.625, "none"),
    ("Numbers beside the embeddings", "{{number}}, baseline"): (0.875, "none"),
    (CLUSTERS, "contribution"): (1, "percentunit"),
    (CLUSTERS, "share now"): (0.75, "percentunit"),
    (CLUSTERS, "share in baseline"): (0.25, "percentunit"),
    (CLUSTERS, "change"): (0.5, "percentunit"),
}

UNHELD = "Partitions not worked on"

# Panel, metric, the values of two replicas, the displayed value and its colour.
OVERVIEW = [
    ("Replicas up", "up", (1, 0), 1, "green"),
    ("Replicas up", "up", (0, 0), 0, "red"),
    ("Replicas not ready", "driftgauge_ready", (1, 1), 0, "green"),
    ("Replicas not ready", "driftgauge_ready", (1, 0), 1, "orange"),
    (UNHELD, "driftgauge_consumer_assigned_partitions", (2, 1), 0, "green"),
    (UNHELD, "driftgauge_consumer_assigned_partitions", (2, 0), 1, "red"),
    (UNHELD, "driftgauge_blocked_partitions", (0, 2), 5, "red"),
]

# The panels with verdicts.
VERDICT_PANELS = ("Verdicts other than ok", NEWEST, SEGMENTS)


def gauges(replica: Mapping[str, str] = REPLICA, name: str = "") -> list[dict[str, str]]:
    """The gauges of the selected stream's newest window, as the owner of its shard exports them.

    Args:
        replica: The labels of the target.
        name: The name of its cluster.
    """
    of_stream = {**replica, "stream": "clicks"}
    of_window = {**of_stream, "window": "1h"}
    cluster = {"cluster_id": "3", "name": name}
    return [
        *(series(f"driftgauge_window_{gauge}", value, **of_window) for gauge, value in WINDOW.items()),
        series("driftgauge_p_value_threshold", 2**-3, **of_stream),
        series("driftgauge_excess_threshold", 2**-9, **of_stream, kind="mix"),
        series("driftgauge_alarm_active", 1, **of_window),
        series("driftgauge_window_excess", 3 * 2**-9, **of_window, kind="mix"),
        series("driftgauge_window_detectable_ratio", 1.5, **of_window, kind="mix"),
        series("driftgauge_window_cluster_contribution", -0.25, **of_window, **cluster, kind="mix"),
        series("driftgauge_window_cluster_contribution", 2**-16, **of_window, **cluster, kind="novelty"),
        series("driftgauge_window_cluster_ratio", 0.75, **of_window, **cluster),
        series("driftgauge_baseline_cluster_ratio", 0.25, **of_window, **cluster),
        series("driftgauge_number_mean", 0.625, **of_window, number="confidence"),
        series("driftgauge_baseline_number_mean", 0.875, **of_window, number="confidence"),
    ]


def verdict_gauges(verdict: str, **labels: str) -> list[dict[str, str]]:
    """The verdict gauges of a window and of a segment: 1 for the verdict, 0 for the others."""
    of_window = {**REPLICA, "stream": "clicks", "window": "1h", **labels}
    segment = {"segment": "country", "value": "de"}
    return [
        series(name, int(each == verdict), **of_window, **more, verdict=each)
        for name, more in (
            ("driftgauge_window_verdict", {}),
            ("driftgauge_window_segment_verdict", segment),
        )
        for each in Verdict
    ]


@cache
def titled_panels(uid: str = DRIFT) -> dict[str, dict[str, Any]]:
    (found,) = (each for each in documents() if each["uid"] == uid)
    return {panel["title"]: panel for panel in flat(found) if panel["type"] != "row"}


def asked(title: str, name: str = "", uid: str = DRIFT, **chosen: str) -> str:
    """The expression of a displayed name on a panel, with substituted variables."""
    return substitute(named(titled_panels(uid)[title])[name], VARIABLES | chosen)


@pytest.mark.stack
def test_every_series_shows_expected_value(tmp_path: Path):
    assert_results(tmp_path, gauges(), [(asked(*gauge), value) for gauge, (value, _) in SHOWN.items()])


@pytest.mark.stack
@pytest.mark.parametrize("name", ["truck, automobile", *HOSTILE_NAMES])
def test_clusters_have_their_names_beside_their_numbers(tmp_path: Path, name: str):
    of_window = {**REPLICA, "stream": "clicks", "window": "1h"}
    unnamed = series("driftgauge_window_cluster_ratio", 0.125, **of_window, cluster_id="12")
    now = asked(CLUSTERS, "share now")
    expected = [({"cluster_id": "3", "name": name}, 0.75), ({"cluster_id": "12"}, 0.125)]
    assert_series(tmp_path, [*gauges(name=name), unnamed], now, expected)


@pytest.mark.stack
def test_marks_of_stream_and_of_all_stand_at_their_own_time_once(tmp_path: Path):
    (drift,) = (each for each in documents() if each["uid"] == DRIFT)
    (marks,) = (each for each in drift["annotations"]["list"] if each["name"] == "Deployment marks")
    assert marks["useValueForTime"] is True
    exported = [
        series("driftgauge_mark_timestamp_seconds", 1_000 + at, **replica, stream=stream, text="v2")
        for replica in (REPLICA, {**REPLICA, "instance": "b:9464"})
        for at, stream in enumerate(("clicks", "", "other"))
    ]
    source = {"job": "driftgauge", "namespace": "ml", "text": "v2"}
    expected = [({**source, "stream": "clicks"}, 1_000_000), (source, 1_001_000)]
    assert_series(tmp_path, exported, substitute(marks["expr"], VARIABLES), expected)


@pytest.mark.stack
def test_clusters_of_two_deployments_have_no_result(tmp_path: Path):
    by_cluster = [gauge for gauge in SHOWN if "cluster_id" in asked(*gauge)]
    assert len(by_cluster) == 4
    both = [*gauges(), *gauges({**REPLICA, "namespace": "staging"})]
    assert_results(tmp_path, both, [(asked(*gauge, namespace=".*"), None) for gauge in by_cluster])


def test_every_drawn_gauge_has_expected_value_and_unit():
    units = {
        (title, name): property_of(panel, name, "unit")
        for title, panel in titled_panels().items()
        for name, expr in named(panel).items()
        if "_total" not in expr and "ALERTS" not in expr and "verdict" not in expr
    }
    assert units == {gauge: unit for gauge, (_, unit) in SHOWN.items()}


@pytest.mark.stack
def test_shard_with_two_owners_is_drawn_once(tmp_path: Path):
    both = [*gauges(), *gauges({**REPLICA, "instance": "b"})]
    expected = [(asked("Divergence", "divergence"), 0.5), (asked("Divergence", "large above"), 0.126953125)]
    assert_results(tmp_path, both, expected)


@pytest.mark.stack
@pytest.mark.parametrize(("title", "name", "exported", "value", "shade"), OVERVIEW)
def test_overview_shows_state_of_service(
    tmp_path: Path, title: str, name: str, exported: tuple[float, float], value: float, shade: str
):
    more = {
        "up": {},
        "driftgauge_ready": {"condition": "count"},
        "driftgauge_blocked_partitions": {"topic": "embeddings", "reason": "schema"},
    }.get(name, {"topic": "embeddings"})
    replicas = [REPLICA, {**REPLICA, "instance": "b:9464"}]
    inputs = [
        *(series(name, each, **replica, **more) for replica, each in zip(replicas, exported, strict=True)),
        *(series("driftgauge_topic_partitions", 3, **replica, topic="embeddings") for replica in replicas),
    ]
    assert_results(tmp_path, inputs, [(asked(title, uid=SERVICE), value)])
    assert colour(titled_panels(SERVICE)[title], value) == shade


@pytest.mark.stack
@pytest.mark.parametrize("verdict", Verdict)
def test_verdict_is_shown_with_name_and_colour(tmp_path: Path, verdict: Verdict):
    expected = []
    for title in VERDICT_PANELS:
        panel = titled_panels()[title]
        (field,) = (each for each, expr in named(panel).items() if "_verdict" in expr)
        (code,) = (value for value, (text, _) in texts(panel, field).items() if text == verdict)
        assert texts(panel, field)[code][1] == COLOURS[verdict]
        is_hidden = title == "Verdicts other than ok" and verdict is Verdict.OK
        expected.append((asked(title, field), None if is_hidden else code))
    unjudged = int(verdict in {Verdict.INCOMPLETE, Verdict.MISFIT})
    expected.append((asked("Streams without a verdict"), unjudged))
    assert_results(tmp_path, verdict_gauges(verdict), expected)


@pytest.mark.stack
def test_worst_verdict_of_two_jobs_is_shown(tmp_path: Path):
    panel = titled_panels()["Verdicts other than ok"]
    (legend,) = named(panel)
    (code,) = (value for value, (text, _) in texts(panel, legend).items() if text == "drift")
    expected = [(asked("Verdicts other than ok", legend, job=".+"), code)]
    assert_results(tmp_path, [*verdict_gauges("ok"), *verdict_gauges("drift", job="other")], expected)
