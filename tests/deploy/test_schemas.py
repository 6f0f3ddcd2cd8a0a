"""Generated files: the schema of settings, the examples of mapped topics, licences and bill of materials."""

import json
import re
from importlib.metadata import files

import pytest
import yaml
from deploy.generate.licences import document, licence_of
from deploy.generate.schemas import json_schemas
from jsonschema import Draft202012Validator, ValidationError

from tests.builders.events import SCHEMAS
from tests.cli.command import run
from tests.deploy.dockerfile import DOCKER, ROOT
from tests.deploy.manifests import EXAMPLES
from tests.deploy.servers import load
from tests.events.golden_encodings import embedded_file, schema_text
from tests.events.schema_records import serialized
from tests.harness.registry_server import serve_schemas
from tests.processes import run_command
from tests.tools.lock import pins


def check_settings(document):
    Draft202012Validator(json.loads(json_schemas()["settings.schema.json"])).validate(document)


STREAM = {"name": "s", "baseline": "b.safetensors", "windows": ["1h"]}
OURS = [
    {"streams": [STREAM]},
    *(load(path) for path in (DOCKER / "driftgauge.yaml", *ROOT.glob("deploy/examples/**/*.yaml"))),
    *(
        yaml.safe_load(load(EXAMPLES / f"{values}.yaml")["config"])
        for values in ("digits", "production", "strimzi-values")
    ),
]


@pytest.mark.parametrize("document", OURS)
def test_schema_of_settings_accepts_our_files(document):
    check_settings(document)


@pytest.mark.parametrize(
    "wrong",
    [
        {"streams": [{**STREAM, "windw": ["1h"]}]},
        {"streams": [{**STREAM, "windows": "1h"}]},
        {"streams": [{**STREAM, "windows": [60]}]},
        {"streams": [{**STREAM, "idle_timeout": "1 hour"}]},
        {"streams": [{**STREAM, "match": "t*", "most": 2}]},
        {"inputs": {"t": {"stream": "s", "embedding": "v"}}},
    ],
)
def test_schema_of_settings_refuses_mistakes(wrong):
    with pytest.raises(ValidationError):
        check_settings(wrong)


@pytest.mark.parametrize("name", ["event.v1", "window-result.v1", "settings"])
def test_every_field_has_description(name):
    document = load(SCHEMAS / f"{name}.schema.json")
    definitions = [document, *document.get("$defs", {}).values()]
    # A source may also be written as a text.
    parts = [part for each in definitions for part in [each, *each.get("anyOf", ())]]
    described = [part for part in parts if "properties" in part]
    fields = [field for part in described for field in part["properties"].values()]
    assert all(field.get("description") for field in [*described, *fields])


FOLDER = ROOT / "deploy/examples/inputs"
DOCUMENT = (ROOT / "service/docs/how-to/own-topic.md").read_text("utf-8")
ROW = r"^\| \[`(\w+)`\].* \| (\d+) \((\d+)\) \| (\d+) \| (\d+) \|$"
OUTCOMES = {name: tuple(map(int, numbers)) for name, *numbers in re.findall(ROW, DOCUMENT, re.MULTILINE)}
"""How many records of each example are accepted, with how many events, filtered and refused."""


def sample_of(name):
    return FOLDER / f"{name}.records.jsonl"


def test_document_has_every_example():
    files = {f"{name}{ending}" for name in OUTCOMES for ending in (".yaml", ".records.jsonl")}
    assert files == {path.name for path in FOLDER.iterdir()}


@pytest.mark.parametrize("name", OUTCOMES)
def test_sample_is_read_by_its_example_and_by_what_init_proposes(name, snapshot):
    # By id, as the samples name them.
    with serve_schemas({1: json.loads(schema_text()), 2: serialized(embedded_file())}) as url:
        proposed = run("init", sample_of(name), "--registry", url)
        checked = run(
            *("config", "check", "--config", FOLDER / f"{name}.yaml", "--sample", sample_of(name)),
            DRIFTGAUGE_SCHEMA_REGISTRY__URL=url,
        )
    # Each sample has a refused record, too.
    assert (checked.returncode, proposed.returncode) == (1, 0)
    number, events, filtered, refused = OUTCOMES[name]
    summary = f"{number} accepted ({events} events), {filtered} filtered, {refused} refused ("
    assert f"{number + filtered + refused} records: {summary}" in checked.stdout
    assert "warning" not in checked.stdout
    accepted = re.match(r"\d+ records: (\d+) accepted", proposed.stderr)
    assert accepted is not None
    assert int(accepted[1]) >= number
    assert yaml.safe_load(proposed.stdout)["inputs"] == snapshot


def test_record_is_refused_as_document_shows():
    (shown,) = re.findall(r"^```text\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
    checked = run("config", "check", "--config", FOLDER / "bytes.yaml", "--sample", sample_of("bytes"))
    assert set(shown.splitlines()) <= set(checked.stdout.splitlines())


PERMISSIVE = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "PSF-2.0",
    "Zlib",
}
# A copyleft by file, and one whose licence file holds the grant of MIT.
ACCEPTED = {"certifi": {"MPL-2.0"}, "orjson": {"MPL-2.0"}, "pysimdjson": {"none", "named"}}
IMAGE = pins((DOCKER / "requirements.lock").read_text())
GRANT = "Permission is hereby granted, free of charge, to any person obtaining a copy"


def identifiers(licence):
    return set(re.findall(r"[A-Za-z0-9.+-]+", licence)) - {"AND", "OR", "WITH"}


def test_every_distribution_has_permissive_licence():
    rows = dict(re.findall(r"^\| ([a-z0-9-]+) \| (.+) \|$", document(), re.MULTILINE)[1:])
    # The one is for browsers alone.
    assert rows.keys() == {name for name, _ in IMAGE} - {"httpx2-jsfetch"}
    odd = {name: identifiers(licence) - PERMISSIVE for name, licence in rows.items()}
    assert {name: found for name, found in odd.items() if found} == ACCEPTED
    texts = [path.read_text() for path in files("pysimdjson") if "licenses/LICENSE" in str(path)]
    assert [GRANT in text for text in texts] == [True]


@pytest.mark.parametrize(
    ("expression", "classifiers"),
    [
        ("MIT AND GPL-3.0-or-later", []),
        ("AGPL-3.0-only", []),
        ("BUSL-1.1", []),
        (None, ["License :: OSI Approved :: GNU General Public License v3 (GPLv3)"]),
        (None, ["License :: OSI Approved"]),
        (None, ["Programming Language :: Python"]),
    ],
)
def test_unknown_or_copyleft_licence_is_rejected(expression, classifiers):
    assert not identifiers(licence_of(expression, None, classifiers)) <= PERMISSIVE


def test_bill_of_materials_has_what_the_image_has(tmp_path):
    target = tmp_path / "sbom.json"
    # The environment counts as up to date; a test sets none up.
    run_command("make", "-o", ".venv/.installed", "sbom", f"SBOM={target}", cwd=ROOT, check=True)
    bill = json.loads(target.read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "driftgauge")
    found = {(each["name"], each["version"]) for each in bill["components"]}
    assert found == IMAGE
    assert all(each["externalReferences"][0]["hashes"] for each in bill["components"])
