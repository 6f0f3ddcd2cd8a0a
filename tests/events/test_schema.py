"""Tests of `driftgauge.events.schema`."""

import json

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from driftgauge.events import schema
from tests.builders.events import SCHEMAS

ROOT = SCHEMAS.parent


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "schemas").mkdir()
    return tmp_path / "schemas"


def test_schemas_in_repository_match_models():
    on_disk = {path.name: path.read_text("utf-8") for path in SCHEMAS.glob("*.schema.json")}
    assert on_disk == schema.json_schemas()


def check_settings(document):
    schemas = schema.json_schemas()
    Draft202012Validator(json.loads(schemas["settings.schema.json"])).validate(document)


@pytest.mark.parametrize(
    "path", [*ROOT.glob("deploy/**/driftgauge.yaml"), *ROOT.glob("deploy/examples/**/*.yaml")]
)
def test_schema_of_settings_accepts_our_files(path):
    check_settings(yaml.safe_load(path.read_text("utf-8")))


STREAM = {"name": "s", "baseline": "b.safetensors", "windows": ["1h"]}


@pytest.mark.parametrize(
    "wrong", [{"windw": ["1h"]}, {"windows": "1h"}, {"windows": [60]}, {"idle_timeout": "1 hour"}]
)
def test_schema_of_settings_refuses_mistakes(wrong):
    check_settings({"streams": [STREAM]})
    with pytest.raises(ValidationError):
        check_settings({"streams": [STREAM | wrong]})


def test_check_names_outdated_schema_without_writing(folder):
    schema.main([])
    (folder / "event.v1.schema.json").write_text("{}")
    with pytest.raises(
        SystemExit, match=r"event\.v1\.schema\.json does not match the models; run `python -m"
    ):
        schema.main(["--check"])
    assert (folder / "event.v1.schema.json").read_text() == "{}"


def test_missing_folder_is_reported_with_remedy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="run this from the repository's root"):
        schema.main([])


@pytest.mark.parametrize("name", ["event.v1", "window-result.v1"])
def test_every_field_has_description(name):
    document = json.loads(schema.json_schemas()[f"{name}.schema.json"])
    described = [document, *document.get("$defs", {}).values()]
    fields = [field for part in described for field in part["properties"].values()]
    assert all(field.get("description") for field in [*described, *fields])
