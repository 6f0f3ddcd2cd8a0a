"""Prometheus's alerting rules and their runbooks: validity, unit tests, series, labels, links, commands."""

import json
import re
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from deploy.generate.labels import SOURCE

from driftgauge.core.durations import parse_duration
from tests.deploy import promql
from tests.deploy.servers import load
from tests.processes import run_command, run_required

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
RULES = ROOT / "deploy/kubernetes/chart/files/rules/driftgauge-alerts.yml"
TESTS = sorted(PROMETHEUS.glob("tests/*.test.yml"))

RANGE = re.compile(r"\[(\d+[smhd])(:\d+[smhd])?\]")

promtool = partial(run_required, "promtool", "prometheus")


ALL: list[dict[str, Any]] = [rule for group in load(RULES)["groups"] for rule in group["rules"]]
ALERTS = {each["alert"]: [rule for rule in ALL if rule["alert"] == each["alert"]] for each in ALL}
"""The rules by alert, one for each reason and severity."""

TEMPLATED = {
    "{{ with $labels.severity }}{{ . }}{{ else }}warning{{ end }}": {"critical", "warning", "info"},
    '{{ if eq $labels.severity "info" }}info{{ else }}warning{{ end }}': {"warning", "info"},
}
EACH_RULE = pytest.mark.parametrize(
    "rule",
    ALL,
    ids=["-".join((rule["alert"], *filter(str.isidentifier, rule["labels"].values()))) for rule in ALL],
)


def cases() -> list[tuple[str, list[dict[str, Any]]]]:
    """The evaluated alerts of all unit tests, with the instances expected to fire."""
    groups = [group for path in TESTS for group in load(path)["tests"]]
    evaluated = [case for group in groups for case in group.get("alert_rule_test", ())]
    return [(case["alertname"], case["exp_alerts"]) for case in evaluated]


@pytest.mark.stack
def test_promtool_accepts_rules_and_example_configuration():
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    promtool("check", "config", "--lint=all", "--lint-fatal", PROMETHEUS / "prometheus.yml")


def exclude_older_edge(text: str) -> str:
    """The rules with ranges that exclude a sample on the older edge, as Prometheus 3 evaluates them."""
    return RANGE.sub(lambda match: f"[{parse_duration(match[1]) - 1}ms{match[2] or ''}]", text)


@pytest.mark.stack
@pytest.mark.parametrize("version", ["2", "3"])
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name.removesuffix(".test.yml"))
def test_rules_pass_their_unit_tests(tmp_path: Path, path: Path, version: str):
    if version == "3":
        (tmp_path / "rules.yml").write_text(exclude_older_edge(RULES.read_text("utf-8")))
        text = re.sub(r"(?<=rule_files: \[).+(?=\])", "rules.yml", path.read_text("utf-8"))
        path = tmp_path / path.name
        path.write_text(text)
    promtool("test", "rules", path)


def test_unit_tests_cover_firing_and_quiet_of_every_alert_reason_and_severity():
    quiet = {name for name, expected in cases() if not expected}
    assert quiet == set(ALERTS)
    seen = {
        (name, alert["exp_labels"].get("reason"), alert["exp_labels"]["severity"])
        for name, expected in cases()
        for alert in expected
    }
    for path in TESTS:
        for labels in re.findall(r'\{__name__="ALERTS", ([^}]*)\}', path.read_text("utf-8")):
            found = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            seen.add((found["alertname"], found.get("reason"), found["severity"]))
    written = {
        (rule["alert"], rule["labels"].get("reason"), severity)
        for rule in ALL
        for severity in TEMPLATED.get(rule["labels"]["severity"], {rule["labels"]["severity"]})
    }
    assert seen == written


def test_drift_pages_at_once_and_blindness_after_half_an_hour():
    assert len(ALERTS) <= 16
    drift = [rule.get("for") for rule in ALERTS["DriftgaugeDrift"]]
    assert drift == [None, None]
    paging = {rule["for"] for rule in ALL if rule["labels"]["severity"] == "critical"}
    assert paging == {"30m"}


@EACH_RULE
def test_rule_queries_exported_metrics(rule: dict[str, Any]):
    promql.assert_exported(rule["expr"])
    # Alerts of streams have their owners.
    assert {"stream", "owner"} & promql.labels(rule["expr"]) in ({"stream", "owner"}, set())


@EACH_RULE
def test_rule_keeps_source_labels_and_joins_unique_series(rule: dict[str, Any]):
    for node, _ in promql.nodes(rule["expr"]):
        if isinstance(node, promql_parser.AggregateExpr):
            assert set(SOURCE) <= set(node.modifier.labels), str(node)
        if isinstance(node, promql_parser.BinaryExpr) and node.modifier and node.modifier.matching:
            assert set(SOURCE) <= set(node.modifier.matching.labels), str(node)
            # Replicas export the same series while a shard changes its owner, which no join accepts.
            bare = [
                found for found, above in promql.selectors(str(node.rhs)) if not promql.is_aggregated(above)
            ]
            assert str(node.op) in {"and", "or", "unless"} or not bare, str(node)


def test_unit_tests_use_only_exported_series():
    groups = [group for path in TESTS for group in load(path)["tests"]]
    inputs = {each["series"] for group in groups for each in group.get("input_series", ())}
    # `up` of other jobs has other labels.
    for series in (each for each in inputs if 'job="driftgauge"' in each):
        promql.assert_exported(series)


FOLDER = ROOT / "deploy/runbooks"
OVERVIEW = FOLDER / "README.md"
PAGES = sorted(set(FOLDER.glob("*.md")) - {OVERVIEW})
SECTIONS = ["What it means", "Look at", "What to do"]
MOST_WORDS = 4_960

EACH_PAGE = pytest.mark.parametrize("page", [OVERVIEW, *PAGES], ids=lambda page: page.stem)

# Useful options from the `--help` of Kafka's tools; all tools have --bootstrap-server.
KAFKA = {
    "kafka-configs.sh": "--all --alter --describe --entity-name --entity-type",
    "kafka-console-consumer.sh": (
        "--formatter-property --from-beginning --isolation-level --max-messages --offset --partition"
        " --property --timeout-ms --topic"
    ),
    "kafka-consumer-groups.sh": (
        "--delete --describe --dry-run --execute --group --list --members --offsets --reset-offsets --state"
        " --to-offset --topic --verbose"
    ),
    "kafka-get-offsets.sh": "--partitions --time --topic --topic-partitions",
    "kafka-topics.sh": "--create --delete --describe --list --topic --unavailable-partitions",
    "kafka-transactions.sh": (
        "--broker-id --max-transaction-timeout --partition --start-offset --topic --transactional-id"
    ),
}

MANIFESTS = yaml.safe_load_all((ROOT / "deploy/kubernetes/driftgauge.yaml").read_text("utf-8"))
(STATEFUL_SET,) = (entry for entry in MANIFESTS if entry["kind"] == "StatefulSet")
CODE = "".join(path.read_text("utf-8") for path in (ROOT / "service/driftgauge").rglob("*.py"))


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of a language, without the indent of list items."""
    found = re.findall(
        rf"^( *)```{language}\n(.*?)^ *```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return [
        "".join(line.removeprefix(indent) for line in block.splitlines(keepends=True))
        for indent, block in found
    ]


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """The words of each command of a program on a page, in blocks and in the text."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    for line in re.findall(rf"(?:^ *|`|\| )({program} [^|`\n]+)", text, re.MULTILINE):
        yield shlex.split(line, comments=True)


def test_every_alert_has_a_page_and_all_together_are_short():
    assert {page.stem for page in PAGES} == set(ALERTS)
    assert sum(len(page.read_text("utf-8").split()) for page in [OVERVIEW, *PAGES]) <= MOST_WORDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_has_its_sections_and_names_every_reason(page: Path):
    text = page.read_text("utf-8")
    assert re.findall(r"^##? (.+)$", text, re.MULTILINE) == [page.stem, *SECTIONS]
    assert "```promql\n" in text
    for rule in ALERTS[page.stem]:
        reason = rule["labels"].get("reason")
        assert reason is None or re.search(rf'^- `(reason=")?{reason}"?`', text, re.MULTILINE), reason


@EACH_PAGE
def test_queries_select_exported_series(page: Path):
    for query in blocks(page, "promql"):
        promql.assert_exported(query)


@EACH_PAGE
def test_commands_are_valid_shell_and_search_existing_messages(page: Path):
    for block in blocks(page, "sh"):
        done = run_command("bash", "-n", input=block)
        assert done.returncode == 0, done.stderr
        for message, fields in re.findall(r'^ *logged "([^"$]+)"(?: +# ([^:\n]+))?', block, re.MULTILINE):
            assert f'"{message}"' in CODE, message
            for field in filter(None, fields.split(", ")):
                assert f'"{field}"' in CODE or f"{field}=" in CODE, (message, field)


@EACH_PAGE
def test_jq_reads_existing_fields(page: Path):
    result = json.loads((ROOT / "schemas/window-result.v1.schema.json").read_text("utf-8"))
    for program in re.findall(r"\bjq -\w+ (?:--arg \w+ \S+ )?'([^']+)'", "\n".join(blocks(page, "sh"))):
        for field in re.findall(r"\.([a-z]\w*)", program):
            # A field of a result, or of a log line.
            assert field in result["properties"] or f'"{field}"' in CODE, program


@EACH_PAGE
def test_kafka_tools_have_used_options(page: Path):
    for tool, *words in commands(page, r"kafka-[\w-]+\.sh"):
        assert words[:2] == ["--bootstrap-server", "$BOOTSTRAP"], words
        assert {word for word in words[2:] if word.startswith("--")} <= set(KAFKA[tool].split()), words


@EACH_PAGE
def test_kubectl_uses_names_of_manifests(page: Path):
    spec, text = STATEFUL_SET["spec"], page.read_text("utf-8")
    labels = {f"{key}={value}" for key, value in spec["template"]["metadata"]["labels"].items()}
    assert set(re.findall(r" -l (\S+)", text)) <= labels
    name = STATEFUL_SET["metadata"]["name"]
    assert set(re.findall(r"\bstatefulset (\S+?)[`\s]", text)) <= {name}
    words = {word for command in commands(page, "kubectl") for word in command}
    pods = {word for word in words if re.fullmatch(r"[\w-]+-\d", word)}
    assert pods <= {f"{name}-{ordinal}" for ordinal in range(spec["replicas"])}
