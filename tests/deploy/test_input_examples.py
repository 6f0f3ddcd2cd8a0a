"""The examples of mapped topics in deploy/examples/inputs/: samples are read as the document says."""

import re

import pytest
import yaml

from tests.builders.input_examples import DOCUMENT, FOLDER, SCHEMAS, read_table, sample_of, summary_of
from tests.cli.command import run
from tests.harness.registry_server import serve_schemas

OUTCOMES = read_table()


def test_document_has_every_example():
    files = {f"{name}{ending}" for name in OUTCOMES for ending in (".yaml", ".records.jsonl")}
    assert files == {path.name for path in FOLDER.iterdir()}


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
    assert "warning" not in checked.stdout
    accepted = re.match(r"\d+ records: (\d+) accepted", proposed.stderr)
    assert accepted is not None
    assert int(accepted[1]) >= OUTCOMES[name][0]
    assert yaml.safe_load(proposed.stdout)["inputs"] == snapshot


def test_record_is_refused_as_document_shows():
    (shown,) = re.findall(r"^```text\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    checked = run("config", "check", "--config", FOLDER / "bytes.yaml", "--sample", sample_of("bytes"))
    assert set(shown.splitlines()) <= set(checked.stdout.splitlines())
