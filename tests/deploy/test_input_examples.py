"""The examples of mapped topics in deploy/examples/inputs/: their commands print what their README shows."""

import re
from pathlib import Path

import pytest
import yaml

from driftgauge.config import load_settings
from tests.cli.command import run

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "examples" / "inputs"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))
BLOCK = re.compile(r"^```console\n\$ driftgauge (.*?[^\\])\n(.*?)^```$", re.MULTILINE | re.DOTALL)


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
    assert re.search(r": [1-9]\d* accepted \([1-9]\d* events\), [1-9]\d* filtered, [1-9]\d* refused", output)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_a_complete_configuration(path):
    settings = load_settings(path, {})
    assert list(settings.inputs) == list(settings.topics.events)
    assert yaml.safe_load(path.read_text("utf-8"))["kafka"]["bootstrap.servers"] == "kafka.example.com:9092"
