"""The examples of mapped topics in deploy/examples/inputs/: samples are read as the README says."""

import re

import pytest
import yaml

from tests.builders.input_examples import FOLDER, SCHEMAS, read_table, sample_of, summary_of
from tests.cli.command import run
from tests.harness.registry_server import serve_schemas

ROOT = FOLDER.parents[2]
OUTCOMES = read_table()
BLOCK = re.compile(r"^```console\n\$ driftgauge (.*?[^\\])\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_readme_has_every_example():
    files = {f"{name}{ending}" for name in OUTCOMES for ending in (".yaml", ".records.jsonl")}
    assert files | {"README.md"} == {path.name for path in FOLDER.iterdir()}


@pytest.mark.parametrize("name", OUTCOMES)
def test_sample_is_read_by_its_example_and_by_what_init_proposes(name, snapshot):
    with serve_schemas(SCHEMAS) as url:
        proposed = run("init", sample_of(name), "--registry", url)
        checked = run(
            *("config", "check", "--config", FOLDER / f"{name}.yaml", "--sample", sample_of(name)),
            DRIFTGAUGE_SCHEMA_REGISTRY__URL=url,
        )
    # Each sample has a refused record, too.
    assert (checked.returncode, proposed.returncode) == (1, 0)
    assert summary_of(OUTCOMES[name]) in checked.stdout
    accepted = re.match(r"\d+ records: (\d+) accepted", proposed.stderr)
    assert accepted is not None
    assert int(accepted[1]) >= OUTCOMES[name][0]
    assert yaml.safe_load(proposed.stdout)["inputs"] == snapshot


def test_command_prints_what_readme_shows(monkeypatch):
    monkeypatch.chdir(ROOT)
    ((command, output),) = BLOCK.findall((FOLDER / "README.md").read_text("utf-8"))
    assert run(*command.replace("\\\n", " ").split()).stdout == output
