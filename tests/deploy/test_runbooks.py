"""The runbooks: one page per alert, whose queries, commands and log messages exist."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy import promql
from tests.deploy.chain.servers import Alertmanager
from tests.deploy.test_alertmanager import post
from tests.deploy.test_rules import ALERTS, cases
from tests.needed import required
from tests.processes import run_command
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/runbooks"
OVERVIEW = FOLDER / "README.md"
PAGES = sorted(set(FOLDER.glob("*.md")) - {OVERVIEW})
SECTIONS = ["Urgency", "What it means", "Confirm", "What to do", "Silence"]

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

STATEFUL_SET = yaml.safe_load((ROOT / "deploy/kubernetes/base/stateful-set.yaml").read_text("utf-8"))
SOURCE = "".join(path.read_text("utf-8") for path in (ROOT / "service/driftgauge").rglob("*.py"))


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


def test_every_alert_has_page_and_row_in_overview():
    assert {page.stem for page in PAGES} == set(ALERTS)
    rows = re.findall(r"^\| \[(\w+)\]\(\1\.md\) \| ([^|]+) \|", OVERVIEW.read_text("utf-8"), re.MULTILINE)
    severities = {
        name: ", then ".join(rule["labels"]["severity"] for rule in rules) for name, rules in ALERTS.items()
    }
    assert dict(rows) == severities | {"DriftgaugeDrift": "the stream's"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_has_five_nonempty_sections(page: Path):
    title, *rest = re.split(r"^## ", page.read_text("utf-8"), flags=re.MULTILINE)
    assert title.strip() == f"# {page.stem}"
    sections = {heading: text.strip() for heading, _, text in (part.partition("\n") for part in rest)}
    assert list(sections) == SECTIONS
    assert all(sections.values())
    assert "```promql\n" in sections["Confirm"]
    assert "amtool silence add " in sections["Silence"]


@EACH_PAGE
def test_queries_and_text_name_exported_series(page: Path):
    for query in blocks(page, "promql"):
        promql.assert_exported(query)
    mentioned = set(re.findall(r"`(driftgauge_\w+)", page.read_text("utf-8")))
    assert mentioned <= promql.series().keys() | {name.removesuffix("_bucket") for name in promql.series()}


@EACH_PAGE
def test_commands_are_valid_shell_and_search_existing_messages(page: Path):
    for block in blocks(page, "sh"):
        done = run_command("bash", "-n", input=block)
        assert done.returncode == 0, done.stderr
        for message, fields in re.findall(r'^ *logged "([^"$]+)"(?: +# ([^:\n]+))?', block, re.MULTILINE):
            assert f'"{message}"' in SOURCE, message
            for field in filter(None, fields.split(", ")):
                assert f'"{field}"' in SOURCE or f"{field}=" in SOURCE, (message, field)


@EACH_PAGE
def test_jq_reads_existing_fields(page: Path):
    result = json.loads((ROOT / "schemas/window-result.v1.schema.json").read_text("utf-8"))
    for program in re.findall(r"\bjq -\w+ (?:--arg \w+ \S+ )?'([^']+)'", "\n".join(blocks(page, "sh"))):
        for field in re.findall(r"\.([a-z]\w*)", program):
            # A field of a result, or of a log line.
            assert field in result["properties"] or f'"{field}"' in SOURCE, program


@EACH_PAGE
def test_kafka_tools_have_used_options(page: Path):
    for tool, *words in commands(page, r"kafka-[\w-]+\.sh"):
        assert words[:2] == ["--bootstrap-server", "$BOOTSTRAP"], words
        assert {word for word in words[2:] if word.startswith("--")} <= set(KAFKA[tool].split()), words


@EACH_PAGE
def test_kubectl_uses_names_of_manifests(page: Path):
    name, labels = STATEFUL_SET["metadata"]["name"], STATEFUL_SET["spec"]["template"]["metadata"]["labels"]
    text = page.read_text("utf-8")
    for label in re.findall(r" -l (\S+)", text):
        assert label in {f"{key}={value}" for key, value in labels.items()}
    assert set(re.findall(r"\bstatefulset (\S+?)[`\s]", text)) <= {name}
    for words in commands(page, "kubectl"):
        pods = {word for word in words if re.fullmatch(r"[\w-]+-\d", word)}
        assert pods <= {f"{name}-{ordinal}" for ordinal in range(STATEFUL_SET["spec"]["replicas"])}, words


@pytest.mark.stack
def test_silences_mute_only_their_alerts(tmp_path: Path):
    amtool = required("amtool", "prometheus-alertmanager")
    fired: dict[str, dict[str, str]] = {}
    for name, expected in cases():
        for alert in expected:
            fired[name] = fired.get(name, {}) | alert["exp_labels"]
    nobody = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
    with Alertmanager(tmp_path, nobody) as alertmanager:
        for page in PAGES:
            ((_, *arguments),) = commands(page, "amtool silence add")
            labels = {"alertname": page.stem, **fired[page.stem]}
            matchers = [argument for argument in arguments[2:] if not argument.startswith("--")]
            chosen = dict(matcher.split("=", 1) for matcher in matchers)
            assert {"alertname"} <= chosen.keys() <= labels.keys(), arguments
            # The labels of the example; patterns keep the label of the alert.
            labels |= {label: value for label, value in chosen.items() if not value.startswith("~")}
            # A label per page, because otherwise the widest silence would match all alerts.
            alone = labels | {"page": page.stem}
            post(alertmanager, {"labels": alone}, {"labels": alone | {"alertname": "Another"}})
            where = f"--alertmanager.url=http://127.0.0.1:{alertmanager.port}"
            subprocess.run([amtool, *arguments, f"page={page.stem}", where], check=True, capture_output=True)

        def silenced() -> list[str]:
            muted = [alert for alert in alertmanager.alerts() if alert["status"]["silencedBy"]]
            return sorted(alert["labels"]["alertname"] for alert in muted)

        wait_for("silences to take effect", lambda: len(silenced()) >= len(PAGES))
        assert silenced() == sorted(ALERTS)
