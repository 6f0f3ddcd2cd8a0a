"""The commands of the runbooks use existing tools, options, names and fields."""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path

import pytest
import yaml

from driftgauge.config import TopicSettings
from tests.deploy.test_runbooks import OVERVIEW, PAGES, ROOT, blocks

EACH = pytest.mark.parametrize("page", [OVERVIEW, *PAGES], ids=lambda page: page.stem)

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
    "kafka-transactions.sh abort": "--partition --start-offset --topic",
    "kafka-transactions.sh describe": "--transactional-id",
    "kafka-transactions.sh describe-producers": "--broker-id --partition --topic",
    "kafka-transactions.sh find-hanging": "--broker-id --max-transaction-timeout --partition --topic",
    "kafka-transactions.sh list": "",
}

# The required options.
NEEDED = {
    "kafka-transactions.sh abort": "--topic --partition --start-offset",
    "kafka-transactions.sh describe": "--transactional-id",
    "kafka-transactions.sh describe-producers": "--topic --partition",
    # A broker id would do instead of the topic; the default of the time-out is 15 minutes.
    "kafka-transactions.sh find-hanging": "--topic --max-transaction-timeout",
}

TOPICS = {
    *("$TOPIC", "$PARTIALS", "$PARTIALS:3", "$CHANGELOG", "__consumer_offsets"),
    *(TopicSettings.model_fields[name].default for name in ("windows", "dead_letters")),
}

STATEFUL_SET = yaml.safe_load((ROOT / "deploy/kubernetes/base/stateful-set.yaml").read_text("utf-8"))
RESULT = json.loads((ROOT / "schemas/window-result.v1.schema.json").read_text("utf-8"))
OF_EVERY_LINE = {"ts", "level", "event", "logger"}


def lines(page: Path) -> Iterator[str]:
    """Each command line of each block; a quoted argument may span several lines."""
    for block in blocks(page, "sh"):
        yield from re.findall(r"(?:'[^']*'|[^'\n])+", block.replace("\\\n", " "))


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """The words of each command of a program on a page, in blocks and in the text."""
    spans = re.findall(rf"(?<!`)`({program} [^`]+)`(?!`)", page.read_text("utf-8"))
    for line in (*lines(page), *spans):
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|")
        lexer.whitespace_split = True
        for is_pipe, words in groupby(lexer, lambda word: word == "|"):
            first, *rest = words
            if not is_pipe and re.fullmatch(program, first):
                yield [first, *rest]


@cache
def logged_fields() -> dict[str, set[str]]:
    """The fields of each log message; for a message logged in several places, their common fields."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "service/driftgauge").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            match call:
                case ast.Call(args=[message], keywords=[ast.keyword("extra", ast.Dict(keys=keys))]):
                    carried = {key.value for key in keys if isinstance(key, ast.Constant)}
                case ast.Call(func=ast.Attribute(attr="_log_event"), args=[_, message], keywords=details):
                    carried = {"role", *(detail.arg for detail in details)}
                case _:
                    continue
            fields = OF_EVERY_LINE | carried
            constants = (each.value for each in ast.walk(message) if isinstance(each, ast.Constant))
            for text in (constant for constant in constants if isinstance(constant, str)):
                found[text] = found.get(text, fields) & fields
    return found


@EACH
def test_kafka_tools_have_used_options(page: Path):
    for tool, *words in commands(page, r"kafka-[\w-]+\.sh"):
        assert words[:1] == ["--bootstrap-server"], words
        assert words[1] == "$BOOTSTRAP", words
        name = f"{tool} {words[2]}" if tool == "kafka-transactions.sh" else tool
        options = {word for word in words[2:] if word.startswith("--")}
        assert options <= set(KAFKA[name].split()), words
        assert set(NEEDED.get(name, "").split()) <= options, words
        topics = {topic for option, topic in pairwise(words) if option == "--topic"}
        assert topics <= TOPICS, words


@EACH
def test_every_named_kafka_tool_exists(page: Path):
    assert set(re.findall(r"kafka-[\w-]+\.sh", page.read_text("utf-8"))) <= {
        name.split()[0] for name in KAFKA
    }


@EACH
def test_jq_reads_existing_fields(page: Path):
    for line in lines(page):
        for program in re.findall(r"\bjq -\w+ (?:--arg \w+ \S+ )?'([^']+)'", line):
            asked = set(re.findall(r"\.([a-z]\w*)", program))
            assert asked, program
            message = re.match(r'logged "([^"]+)"', line)
            assert asked <= readable_fields(line, message and message[1]), program


def readable_fields(line: str, message: str | None) -> set[str]:
    """The fields of the JSON that a command line reads."""
    if message:
        return logged_fields()[message]
    return set(RESULT["properties"]) if "driftgauge.windows" in line else OF_EVERY_LINE


@EACH
def test_messages_have_fields_named_in_comment(page: Path):
    for message, named in re.findall(
        r'^ *logged "([^"]+)" +# ([^:\n]+)', "\n".join(blocks(page, "sh")), re.MULTILINE
    ):
        assert set(named.split(", ")) <= logged_fields()[message], message


@EACH
def test_kubectl_uses_names_of_manifests(page: Path):
    name, template = STATEFUL_SET["metadata"]["name"], STATEFUL_SET["spec"]["template"]
    text = page.read_text("utf-8")
    for label in re.findall(r" -l (\S+)", text):
        key, value = label.split("=")
        assert template["metadata"]["labels"].get(key) == value, label
    assert set(re.findall(r"\bstatefulset (\S+?)[`\s]", text)) <= {name}
    for words in commands(page, "kubectl"):
        pods = [word for word in words if re.fullmatch(r"[\w-]+-\d", word)]
        assert set(pods) <= {f"{name}-{ordinal}" for ordinal in range(STATEFUL_SET["spec"]["replicas"])}
        assert bool(pods) == ("exec" in words or "--previous" in words), words
