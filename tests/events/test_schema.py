"""Tests of `driftgauge.events.schema`."""

import json

import pytest

from driftgauge.events import schema
from tests.builders.events import SCHEMAS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "schemas").mkdir()
    return tmp_path / "schemas"


def test_schemas_in_repository_match_models():
    on_disk = {path.name: path.read_text("utf-8") for path in SCHEMAS.glob("*.schema.json")}
    assert on_disk == schema.json_schemas()


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
