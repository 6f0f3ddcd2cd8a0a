import json

import pytest

from driftgauge.events import schema
from tests.events.golden import SCHEMAS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "schemas").mkdir()
    return tmp_path / "schemas"


def test_the_schemas_in_the_repository_match_the_models():
    on_disk = {path.name: path.read_text("utf-8") for path in SCHEMAS.glob("*.schema.json")}
    assert on_disk == schema.json_schemas()


def test_what_is_written_passes_the_check(folder):
    schema.main([])
    schema.main(["--check"])
    assert sorted(path.name for path in folder.iterdir()) == sorted(schema.json_schemas())


def test_the_check_names_the_schema_that_is_out_of_date_and_leaves_it_alone(folder):
    schema.main([])
    (folder / "event.v1.schema.json").write_text("{}")
    with pytest.raises(
        SystemExit, match=r"event\.v1\.schema\.json does not match the models: run `python -m"
    ):
        schema.main(["--check"])
    assert (folder / "event.v1.schema.json").read_text() == "{}"


def test_without_the_folder_it_says_where_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="run from the repository's root"):
        schema.main([])


def test_the_fields_of_a_window_result_stand_in_the_contract_s_order():
    document = json.loads(schema.json_schemas()["window-result.v1.schema.json"])
    assert list(document["properties"]) == [
        "stream", "window", "start", "end", "revision", "count", "verdict",
        "js_divergence", "js_distance", "noise_floor", "js_excess", "js_p_value", "mean_shift", "p_value",
        "calibrated", "novelty", "slow_drift", "baseline", "incomplete", "incomplete_reason",
        "events_lost", "counted_twice", "clusters", "movers", "examples", "segments",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["event.v1", "window-result.v1"])
def test_every_field_is_described(name):
    document = json.loads(schema.json_schemas()[f"{name}.schema.json"])
    described = [document, *document.get("$defs", {}).values()]
    fields = [field for part in described for field in part["properties"].values()]
    assert all(field.get("description") for field in [*described, *fields])
