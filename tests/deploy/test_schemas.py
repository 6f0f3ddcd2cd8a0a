"""Tests of `deploy.generate.schemas`; `deploy.generate --check` compares the files."""

import json

import pytest
from deploy.generate.schemas import json_schemas


@pytest.mark.parametrize("text", json_schemas().values())
def test_every_field_has_description(text):
    document = json.loads(text)
    described = [document, *document.get("$defs", {}).values()]
    fields = [field for part in described for field in part["properties"].values()]
    assert all(field.get("description") for field in [*described, *fields])
