"""Tests of `deploy.generate.schemas`; `deploy.generate --check` compares the files."""

import json

import pytest
import yaml
from deploy.generate.schemas import json_schemas
from jsonschema import Draft202012Validator, ValidationError

from tests.builders.events import SCHEMAS

ROOT = SCHEMAS.parent


def check_settings(document):
    Draft202012Validator(json.loads(json_schemas()["settings.schema.json"])).validate(document)


@pytest.mark.parametrize(
    "path", [*ROOT.glob("deploy/**/driftgauge.yaml"), *ROOT.glob("deploy/examples/**/*.yaml")]
)
def test_schema_of_settings_accepts_our_files(path):
    check_settings(yaml.safe_load(path.read_text("utf-8")))


STREAM = {"name": "s", "baseline": "b.safetensors", "windows": ["1h"]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"windw": ["1h"]},
        {"windows": "1h"},
        {"windows": [60]},
        {"idle_timeout": "1 hour"},
        {"match": "t*", "most": 2},
    ],
)
def test_schema_of_settings_refuses_mistakes(wrong):
    check_settings({"streams": [STREAM]})
    with pytest.raises(ValidationError):
        check_settings({"streams": [STREAM | wrong]})
    with pytest.raises(ValidationError):
        check_settings({"inputs": {"t": {"stream": "s", "embedding": "v"}}})


@pytest.mark.parametrize("name", ["event.v1", "window-result.v1", "settings"])
def test_every_field_has_description(name):
    document = json.loads(json_schemas()[f"{name}.schema.json"])
    definitions = [document, *document.get("$defs", {}).values()]
    # A source may also be written as a text.
    parts = [part for each in definitions for part in [each, *each.get("anyOf", ())]]
    described = [part for part in parts if "properties" in part]
    fields = [field for part in described for field in part["properties"].values()]
    assert all(field.get("description") for field in [*described, *fields])
