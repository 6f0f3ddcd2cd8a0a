"""`driftgauge replay`, `report` and `plan`: what they print, and the blocks that promtool makes of gauges."""

import gzip
import json
import re

import jsonschema
import pytest
import yaml

from tests.builders.baselines import HOSTILE_NAMES, save_baseline
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.configs import write_config
from tests.builders.events import SCHEMAS, build_event, write_events
from tests.builders.reports import write_results
from tests.cli.command import fail, run, run_json, succeed
from tests.processes import run_required


@pytest.mark.parametrize("command", [["replay"], ["backtest"], ["report", "--json"]])
def test_refused_events_of_a_truncated_file_are_reported(config, tmp_path, command):
    lines = [b"{", *(build_event(MONDAY_MS + i, i % 2) for i in range(2_000))]
    events = write_events(tmp_path / "events.jsonl.gz", lines)
    events.write_bytes(events.read_bytes()[:-5])
    first, total, error = fail(*command, events, "--config", config).splitlines()
    assert first.startswith(f"refused: {events}, line 1: undecodable: ")
    assert total == "refused in total: 1 (1 undecodable)"
    assert error.startswith(f"driftgauge: {events} cannot be read (")


def replay(events, config):
    """Return the records of a replay."""
    return [*map(json.loads, succeed("replay", events, "--config", config, "--json").stdout.splitlines())]


def test_standard_input_is_replayed_and_reported(config, events):
    lines = gzip.decompress(events.read_bytes())
    replayed = run("replay", "-", "--config", config, "--json", stdin=lines).stdout
    assert [*map(json.loads, replayed.splitlines())] == replay(events, config)
    succeed("report", "-", "--config", config, "--json", stdin=replayed.encode())


def test_streams_that_match_are_checked_and_replayed(config, tmp_path):
    write_config(tmp_path, {"name": None, "match": "im*", "most": 2, "windows": ["1h"]})
    assert "stream im* (2 at most): windows 1h, scored" in run("config", "check", "--config", config).stdout
    lines = [build_event(MONDAY_MS, 0, stream=stream) for stream in ("images", "im-2", "im-3", "images")]
    events, history = write_events(tmp_path / "events.jsonl", lines), tmp_path / "history.txt"
    done = run("replay", events, "--config", config, "--json", "--openmetrics", history)
    assert [json.loads(line)["stream"] for line in done.stdout.splitlines()] == ["im-2", "images"]
    assert done.stderr.startswith("surplus: 1 events of streams that match im* are in no window; raise most")
    assert 'driftgauge_window_events{job="driftgauge",stream="im-2"' in history.read_text()


@pytest.mark.parametrize(("gap_ms", "times"), [(5 * HOUR_MS, 1), (1_000, 0)])
@pytest.mark.parametrize("command", [["backtest"], ["report", "--json"]])
def test_events_that_are_whole_hours_before_their_records_are_told_once(
    config, tmp_path, command, gap_ms, times
):
    lines = [
        b'{"payload": %b, "ts": %d}' % (build_event(MONDAY_MS + number, number % 4), MONDAY_MS + gap_ms)
        for number in range(40)
    ]
    path = write_events(tmp_path / "day.records.jsonl", lines)
    assert succeed(*command, path, "--config", config).stderr.count("5h before the") == times


def test_replay_of_an_empty_file_says_so(config, tmp_path):
    done = succeed("replay", write_events(tmp_path / "empty.jsonl", []), "--config", config)
    assert (done.stdout, done.stderr) == ("", "no event was counted; 0 records were read\n")


def test_replay_prints_records_that_match_schema(config, events):
    first, few, day = records = replay(events, config)
    schema = json.loads((SCHEMAS / "window-result.v1.schema.json").read_text(encoding="utf-8"))
    for record in records:
        jsonschema.Draft202012Validator(schema).validate(record)
    contributions = sum(cluster["js_contribution"] for cluster in first["clusters"])
    assert first["js_divergence"] == pytest.approx(contributions)
    assert (few["js_divergence"], few["p_value"]) == (None, None)
    assert [cluster["count"] for cluster in day["clusters"]] == [10, 10, 0, 4]
    # The end of a file completes its partition, so no window misses a partition or loses events.
    assert {(len(record["incomplete"]), record["events_lost"]) for record in records} == {(0, False)}


def test_replay_prints_one_line_per_window_and_refused_events(config, events, snapshot):
    done = run("replay", events, "--config", config)
    assert done.stdout == snapshot
    undecodable, unknown, total = done.stderr.splitlines()
    assert undecodable.startswith(f"refused: {events}, line 25: undecodable: ")
    assert unknown.startswith(f"refused: {events}, line 26: unknown_stream: ")
    assert total == "refused in total: 2 (1 undecodable, 1 unknown_stream)"


def test_replay_names_movers_and_describes_baseline(config, tmp_path, snapshot):
    # A day of which all events are of two clusters.
    lines = [build_event(MONDAY_MS + i, 2 + i % 2, event_id=f"e-{i % 2}") for i in range(200)]
    events = write_events(tmp_path / "events.jsonl", lines)
    shown, _ = succeed("replay", events, "--config", config).stdout.splitlines()
    assert shown.endswith(
        f"; cluster 0 ({HOSTILE_NAMES[0]}) 40.0% to 0.0%, cluster 1 ({HOSTILE_NAMES[1]}) 30.0% to 0.0%, "
        f"cluster 3 10.0% to 50.0%"
    )
    record, _ = replay(events, config)
    assert record["baseline_created"] == "2025-11-02T00:00:00Z"
    assert [(each["name"], each["position"]) for each in record["clusters"]] == [
        (name, [0, 0]) for name in (*HOSTILE_NAMES[:3], None)
    ]
    assert record["examples"] == snapshot


def test_commands_on_files_need_no_kafka(tmp_path, config, events):
    tree = yaml.safe_load(config.read_text("utf-8"))
    del tree["kafka"]
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    for command in (("replay", events), ("backtest", events), ("report", events, "--json")):
        succeed(*command, "--config", config)
    checked = succeed("config", "check", "--config", config).stdout
    assert "has no section kafka: replay, backtest, health and report on files work" in checked
    assert checked.endswith("driftgauge.yaml: 1 warning\n")


def test_replay_writes_gauges_of_windows(config, events, tmp_path):
    out = tmp_path / "history.txt"
    done = succeed("replay", events, "--config", config, "--openmetrics", out, "--label", "job=old")
    assert re.search(r"wrote [\d,]+ samples of 3 results to ", done.stderr)
    sample = 'driftgauge_window_events{job="old",stream="images",window="1h"} 20.0 1762131600.0'
    assert sample in out.read_text()
    absent = tmp_path / "absent" / "h"
    assert "cannot write the gauges" in fail("replay", events, "--config", config, "--openmetrics", absent)


@pytest.mark.stack
def test_promtool_makes_blocks_that_hold_every_window(config, tmp_path):
    lines = [
        build_event(MONDAY_MS + hour * HOUR_MS + number, number % 4)
        for hour in range(30)
        for number in range(20 + hour)
    ]
    path, out, blocks = (
        write_events(tmp_path / "month.jsonl", lines),
        tmp_path / "history.txt",
        tmp_path / "data",
    )
    assert run("replay", path, "--config", config, "--openmetrics", out).returncode == 0
    made = run_required(
        "promtool", "prometheus", "tsdb", "create-blocks-from", "openmetrics", out, blocks, timeout=60
    )
    assert made.returncode == 0, made.stderr
    # A server's data folder has one.
    (blocks / "wal").mkdir()
    match = '{__name__="driftgauge_window_events",window="1h"}'
    dumped = run_required("promtool", "prometheus", "tsdb", "dump", f"--match={match}", blocks, timeout=60)
    values = {
        int(time) - MONDAY_MS: float(value)
        for value, time in re.findall(r"\} (\S+) (\d+)$", dumped.stdout, re.MULTILINE)
    }
    assert [values[(hour + 1) * HOUR_MS] for hour in range(30)] == [20 + hour for hour in range(30)]


def test_report_of_results_is_written_and_printed(config, tmp_path):
    results = write_results(tmp_path / "results.jsonl", "ok", "drift", "drift", stream="images", segments=[])
    out = tmp_path / "report.html"
    done = succeed("report", results, "--config", config, "--out", out, "--json")
    record = json.loads(done.stdout)
    assert record["status"]["alarms"][0]["since"] == "2025-11-03T01:00:00Z"
    assert record["window"]["start"] == "2025-11-03T02:00:00Z"
    html = out.read_text(encoding="utf-8")
    assert record["status"]["cause"].partition(" (")[0] in html
    assert done.stderr.splitlines() == [f"wrote {out}, {len(html.encode()) / 1e6:.2f} MB"]


@pytest.mark.parametrize(("verdict", "state", "alarms"), [("ok", "waiting", 0), ("drift", "drift", 1)])
def test_report_of_a_size_that_was_removed_has_no_conclusion_but_its_alarm(tmp_path, verdict, state, alarms):
    results = write_results(tmp_path / "results.jsonl", "ok", verdict, stream="images", segments=[])
    record = run_json("report", results, "--config", write_config(tmp_path, {"windows": ["5m"]}))
    assert (record["status"]["state"], len(record["status"]["alarms"])) == (state, alarms)
    assert record["window"]["start"] == "2025-11-03T01:00:00Z"


def test_report_of_events_agrees_with_replay(config, events):
    done = succeed("report", events, "--config", config, "--json", "--window", "1h")
    record = json.loads(done.stdout)
    hours = replay(events, config)[:2]
    assert record["window"] in hours
    assert [(each["start"], each["count"]) for each in record["windows"]] == [
        (each["start"], each["count"]) for each in hours
    ]
    refused = succeed("replay", events, "--config", config).stderr.splitlines()
    assert record["notes"] == done.stderr.splitlines() == refused


def test_report_of_results_needs_no_baseline_and_is_of_chosen_window(tmp_path):
    results = write_results(tmp_path / "results.jsonl", "ok", "drift", "ok")
    report = ("report", results, "--config", write_config(tmp_path, {"name": "resnet18-fc1"}))
    choice = ("--stream", "resnet18-fc1", "--window", "1h", "--at", "2025-11-03T02:30:00Z")
    assert run_json(*report, *choice)["window"]["start"] == "2025-11-03T02:00:00Z"
    assert "did you mean resnet18-fc1?" in fail(*report, "--stream", "resnet18-fc", "--json")
    # Of another deployment.
    write_config(tmp_path)
    assert "there is no window in the window results in results.jsonl; check" in fail(*report, "--json")


PLAN = ("plan", "--events-per-hour", "1000")


def test_plan_recommends_windows_for_traffic(snapshot):
    done = succeed(*PLAN)
    assert "Recommended: windows of 6h" in done.stdout
    assert (done.stdout, done.stderr) == (snapshot, "")


def test_options_and_baseline_reach_plan(tmp_path):
    options = ("--clusters", 60, "--components", 9, "--baseline-count", 100_000, "--overdispersion", 1.5)
    drift = ("--smallest-js-divergence", 0.02, "--smallest-mean-shift", 0.1, "--smallest-spread", 0.3)
    budget = ("--streams", 2, "--false-pages-per-year", 12)
    record = run_json(*PLAN, *options, *drift, *budget, "--daily-cycle")
    assert record["request"] == {
        "events_per_hour": 1_000,
        "smallest": {
            "js_divergence": 0.02,
            "mean_shift": 0.1,
            "novelty": 0.02,
            "spread": 0.3,
            "duplicates": 0.05,
            "relations": 0.2,
            "minor_shift": 0.1,
        },
        "false_pages_per_year": 12,
        "streams": 2,
        "daily_cycle": True,
    }
    assert (record["clusters"], record["components"]) == (60, 9)
    assert record["recommended"] == record["windows"][4]
    # By 60 clusters, 100,000 events of the baseline, and the overdispersion.
    assert record["windows"][5]["least"]["js_divergence"] == pytest.approx(0.000235, abs=1e-6)
    save_baseline(tmp_path)
    record = run_json(*PLAN, "--baseline", tmp_path / "images.safetensors")
    assert (record["clusters"], record["components"]) == (4, 2)
    # Its spreads and relations do not vary, so that windows are not tested for them.
    assert record["windows"][0]["least"].keys() == {"js_divergence", "mean_shift", "novelty", "duplicates"}
