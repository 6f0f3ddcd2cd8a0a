"""`driftgauge replay`."""

import json
import re

import jsonschema
import pytest
import yaml

from driftgauge.baseline.artifact import ClusterDescription
from tests.builders.baselines import HOSTILE_NAMES, save_baseline
from tests.builders.clocks import MONDAY_MS
from tests.builders.configs import write_config
from tests.builders.events import SCHEMAS, build_event, write_events
from tests.cli.command import run


def test_replay_prints_records_that_match_schema(config, events):
    done = run("replay", events, "--config", config, "--json")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    schema = json.loads((SCHEMAS / "window-result.v1.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    for record in records:
        validator.validate(record)
    assert [(r["window"], r["start"], r["revision"], r["count"]) for r in records] == [
        ("1h", "2025-11-03T00:00:00Z", 0, 20),
        ("1h", "2025-11-03T01:00:00Z", 0, 4),
        ("1d", "2025-11-03T00:00:00Z", 0, 24),
    ]
    assert [cluster["count"] for cluster in records[0]["clusters"]] == [10, 10, 0, 0]
    assert records[0]["js_divergence"] == pytest.approx(
        sum(cluster["js_contribution"] for cluster in records[0]["clusters"])
    )
    assert records[1]["js_divergence"] is None
    assert [record["verdict"] for record in records] == ["ok", "insufficient", "ok"]
    assert [record["p_value"] is None for record in records] == [False, True, False]
    # The end of a file completes its partition, so no window misses a partition or loses events.
    assert {(len(record["incomplete"]), record["events_lost"]) for record in records} == {(0, False)}


def test_replay_without_json_prints_one_line_per_window(config, events):
    done = run("replay", events, "--config", config)
    hour, few, day = done.stdout.splitlines()
    assert hour.startswith("images 1h 2025-11-03T00:00:00Z revision 0: ok; 20 events, JSD 0.")
    assert "(noise floor 0." in hour
    assert re.search(r", mean shift -?0\.\d{4}, p [\d.e-]+$", hour)
    assert few == (
        "images 1h 2025-11-03T01:00:00Z revision 0: insufficient; 4 events, too few events to be scored"
    )
    assert day.startswith("images 1d 2025-11-03T00:00:00Z revision 0: ok; 24 events, JSD 0.")


@pytest.fixture
def shifted(tmp_path):
    """Configuration and events of a day of which all events are of two clusters of a baseline with names."""
    descriptions = (
        *(ClusterDescription(name=name, example_ids=("b-1",)) for name in HOSTILE_NAMES[:3]),
        ClusterDescription(),
    )
    save_baseline(tmp_path, descriptions=descriptions)
    events = [build_event(MONDAY_MS + i, 2 + i % 2, event_id=f"e-{i % 2}") for i in range(200)]
    return write_config(tmp_path), write_events(tmp_path / "events.jsonl", events)


def test_replay_names_movers_of_significant_windows(shifted):
    config, events = shifted
    lines = run("replay", events, "--config", config).stdout.splitlines()
    assert lines[0].endswith(
        f"; cluster 0 ({HOSTILE_NAMES[0]}) 40.0% to 0.0%, cluster 1 ({HOSTILE_NAMES[1]}) 30.0% to 0.0%, "
        f"cluster 3 10.0% to 50.0%"
    )


def test_records_of_replay_describe_baseline(shifted):
    config, events = shifted
    record = json.loads(run("replay", events, "--config", config, "--json").stdout.splitlines()[0])
    assert record["baseline_created"] == "2025-11-02T00:00:00Z"
    assert [each["name"] for each in record["clusters"]] == [*HOSTILE_NAMES[:3], None]
    assert [each["position"] for each in record["clusters"]] == [[0, 0]] * 4
    assert record["examples"] == [
        {"cluster": 0, "event_ids": [], "baseline_event_ids": ["b-1"]},
        {"cluster": 1, "event_ids": [], "baseline_event_ids": ["b-1"]},
        {"cluster": 3, "event_ids": ["e-1"], "baseline_event_ids": []},
    ]


def test_replay_reports_refused_events_on_stderr(config, events):
    done = run("replay", events, "--config", config, "--json")
    undecodable, unknown, total = done.stderr.splitlines()
    assert undecodable.startswith(f"refused: {events}, line 25: undecodable: ")
    assert unknown.startswith(f"refused: {events}, line 26: unknown_stream: ")
    assert total == "refused in total: 2 (1 undecodable, 1 unknown_stream)"


@pytest.mark.parametrize("command", [["replay"], ["backtest"], ["report", "--json"]])
def test_refused_events_of_a_truncated_file_are_reported(config, tmp_path, command):
    lines = [b"{", *(build_event(MONDAY_MS + i, i % 2) for i in range(2_000))]
    events = write_events(tmp_path / "events.jsonl.gz", lines)
    events.write_bytes(events.read_bytes()[:-5])
    done = run(*command, events, "--config", config)
    assert done.returncode == 2
    first, total, error = done.stderr.splitlines()
    assert first.startswith(f"refused: {events}, line 1: undecodable: ")
    assert total == "refused in total: 1 (1 undecodable)"
    assert error.startswith(f"driftgauge: {events} cannot be read (")


def test_replay_of_missing_file_exits_with_2(config, tmp_path):
    done = run("replay", tmp_path / "absent.jsonl", "--config", config)
    assert (done.returncode, done.stdout) == (2, "")
    assert "driftgauge: no such file:" in done.stderr


def test_replay_and_backtest_need_no_kafka(tmp_path, events):
    save_baseline(tmp_path)
    config = write_config(tmp_path)
    tree = yaml.safe_load(config.read_text("utf-8"))
    del tree["kafka"]
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert run("replay", events, "--config", config).returncode == 0
    assert run("backtest", events, "--config", config).returncode == 0
    assert run("report", events, "--config", config, "--json").returncode == 0
    checked = run("config", "check", "--config", config)
    assert checked.returncode == 0
    warning = (
        "warning: the configuration has no section kafka: replay, backtest, health and report on files work"
    )
    assert warning in checked.stdout
    assert checked.stdout.endswith("driftgauge.yaml: 1 warning\n")
    for command in (
        ("serve",),
        ("page",),
        ("publish", events, "--stream", "images"),
        ("events", "peek", "--topic", "embeddings"),
        ("report", "--topic", "--json"),
        ("kafka", "reshard", "--to", "8"),
        ("kafka", "transactions", "list"),
    ):
        done = run(*command, "--config", config)
        assert (done.returncode, done.stdout) == (2, "")
        assert "  - kafka: Field required" in done.stderr
