"""The examples of mapped topics in deploy/examples/inputs/: their commands print what their README shows."""

import re
from pathlib import Path

import orjson
import pytest
import yaml

from driftgauge.config import load_settings
from tests.cli.command import run

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "examples" / "inputs"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))
BLOCK = re.compile(r"^```console\n\$ driftgauge (.*?[^\\])\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(path):
    return path.stem


def shown():
    """Return the arguments and the output of each command in the README."""
    text = (FOLDER / "README.md").read_text("utf-8")
    return [(command.replace("\\\n", " ").split(), output) for command, output in BLOCK.findall(text)]


def test_readme_shows_every_example():
    samples = [Path(arguments[arguments.index("--sample") + 1]).name for arguments, _ in shown()]
    assert sorted(samples) == [f"{path.stem}.records.jsonl" for path in EXAMPLES]


@pytest.mark.parametrize(("arguments", "output"), shown(), ids=lambda part: str(part)[-30:])
def test_command_prints_what_readme_shows(monkeypatch, arguments, output):
    monkeypatch.chdir(ROOT)
    done = run(*arguments)
    assert (done.stderr, done.stdout) == ("", output)
    # Each example shows a refused record, too.
    assert done.returncode == 1


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_example_shows_all_outcomes(path):
    output = next(output for arguments, output in shown() if path.name in " ".join(arguments))
    assert re.search(r": [1-9]\d* accepted \([1-9]\d* events\), [1-9]\d* filtered, [1-9]\d* refused", output)


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_example_is_a_complete_configuration(path):
    settings = load_settings(path, {})
    assert list(settings.inputs) == list(settings.topics.events)
    assert yaml.safe_load(path.read_text("utf-8"))["kafka"]["bootstrap.servers"] == "kafka.example.com:9092"


def test_kserve_records_are_binary_cloudevents_of_the_logger():
    lines = (FOLDER / "kserve.records.jsonl").read_bytes().splitlines()
    for headers in (orjson.loads(line)["headers"] for line in lines):
        # The attributes that CloudEvents 1.0 requires, and those that KServe's logger adds.
        required = {"ce_specversion", "ce_id", "ce_source", "ce_type"}
        added = {"ce_inferenceservicename", "ce_namespace", "ce_component", "ce_endpoint", "ce_metadata"}
        assert required | added | {"ce_time", "content-type"} == set(headers)
        assert headers["ce_specversion"] == "1.0"


def test_debezium_records_have_its_envelope():
    lines = (FOLDER / "debezium.records.jsonl").read_bytes().splitlines()
    payloads = [orjson.loads(line)["payload"] for line in lines]
    assert [payload and payload["op"] for payload in payloads] == ["r", "c", "u", "d", None]
    for payload in filter(None, payloads):
        assert {"before", "after", "source", "op", "ts_ms", "transaction"} <= set(payload)
        assert (payload["op"] == "d") == (payload["after"] is None)
        assert payload["source"]["connector"] == "postgresql"
