"""`driftgauge report`."""

import json

import pytest

from tests.builders.configs import write_config
from tests.builders.reports import write_results
from tests.cli.command import run


def test_report_of_results_is_written_and_printed(config, tmp_path):
    results = write_results(tmp_path / "results.jsonl", "ok", "drift", "drift", stream="images", segments=[])
    out = tmp_path / "report.html"
    done = run("report", results, "--config", config, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    status, alarm = record["status"], record["status"]["alarms"][0]
    assert (status["stream"], status["state"], alarm["since"]) == ("images", "drift", "2025-11-03T01:00:00Z")
    assert record["window"]["start"] == "2025-11-03T02:00:00Z"
    html = out.read_text(encoding="utf-8")
    assert status["cause"] in html
    assert done.stderr.splitlines() == [f"wrote {out}, {len(html.encode()) / 1e6:.2f} MB"]


@pytest.mark.parametrize(("verdict", "state", "alarms"), [("ok", "waiting", 0), ("drift", "drift", 1)])
def test_report_of_a_size_that_was_removed_has_no_conclusion_but_its_alarm(tmp_path, verdict, state, alarms):
    results = write_results(tmp_path / "results.jsonl", "ok", verdict, stream="images", segments=[])
    config = write_config(tmp_path, {"windows": ["5m"]})
    done = run("report", results, "--config", config, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["status"]["state"], len(record["status"]["alarms"])) == (state, alarms)
    assert record["window"]["start"] == "2025-11-03T01:00:00Z"


def test_report_of_events_agrees_with_replay(config, events):
    done = run("report", events, "--config", config, "--json", "--window", "1h")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    lines = run("replay", events, "--config", config, "--json").stdout.splitlines()
    replayed = [json.loads(line) for line in lines if '"window":"1h"' in line]
    assert record["window"] in replayed
    assert [(each["start"], each["count"]) for each in record["windows"]] == [
        (each["start"], each["count"]) for each in replayed
    ]
    refused = run("replay", events, "--config", config).stderr.splitlines()
    assert record["notes"] == done.stderr.splitlines() == refused
    assert record["notes"][0].startswith(f"refused: {events}, line 25: undecodable: ")


def test_report_of_results_needs_no_baseline_and_is_of_chosen_window(tmp_path):
    results = write_results(tmp_path / "results.jsonl", "ok", "drift", "ok")
    choice = ("--stream", "resnet18-fc1", "--window", "1h", "--at", "2025-11-03T02:30:00Z")
    config = write_config(tmp_path, {"name": "resnet18-fc1"})
    done = run("report", results, "--config", config, "--json", *choice)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["window"]["start"] == "2025-11-03T02:00:00Z"
    choice = ("--stream", "resnet18-fc", "--json")
    assert "did you mean resnet18-fc1?" in run("report", results, "--config", config, *choice).stderr
    # Of another deployment.
    done = run("report", results, "--config", write_config(tmp_path), "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no window in the window results in results.jsonl; check" in done.stderr
