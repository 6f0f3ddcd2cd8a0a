"""The runbooks: one page per alert, whose queries, commands and log messages exist."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy import promql
from tests.deploy.test_rules import ALERTS
from tests.processes import run_command

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/runbooks"
OVERVIEW = FOLDER / "README.md"
PAGES = sorted(set(FOLDER.glob("*.md")) - {OVERVIEW})
SECTIONS = ["What it means", "Look at", "What to do"]
MOST_WORDS = 4_720

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


def test_every_alert_has_a_page_and_all_together_are_short():
    assert {page.stem for page in PAGES} == set(ALERTS)
    assert sum(len(page.read_text("utf-8").split()) for page in [OVERVIEW, *PAGES]) <= MOST_WORDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_has_its_sections_and_names_every_reason(page: Path):
    text = page.read_text("utf-8")
    title, *rest = re.split(r"^## ", text, flags=re.MULTILINE)
    assert title.strip() == f"# {page.stem}"
    sections = {heading: text.strip() for heading, _, text in (part.partition("\n") for part in rest)}
    assert list(sections) == SECTIONS
    assert all(sections.values())
    assert "```promql\n" in sections["Look at"]
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
