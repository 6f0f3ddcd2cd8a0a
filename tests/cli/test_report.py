"""`driftgauge report`."""

import json

from tests.builders.configs import write_config
from tests.builders.reports import write_results
from tests.cli.command import run


def test_report_of_results_is_written_drawn_and_printed(config, tmp_path):
    results = write_results(tmp_path / "results.jsonl", "ok", "drift", "drift", stream="images")
    out, png = tmp_path / "report.html", tmp_path / "report.png"
    done = run("report", results, "--config", config, "--out", out, "--png", png, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["stream"], record["verdict"], record["chosen"]["start"]) == (
        "images",
        "drift",
        "2025-11-03T01:00:00Z",
    )
    html = out.read_text(encoding="utf-8")
    assert all(sentence in html for sentence in record["story"])
    assert png.read_bytes().startswith(b"\x89PNG")
    assert done.stderr.splitlines() == [
        f"wrote {out}, {len(html.encode()) / 1e6:.2f} MB",
        f"drew {png}",
    ]


def test_report_of_events_agrees_with_replay(config, events):
    done = run("report", events, "--config", config, "--json", "--window", "1h")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    lines = run("replay", events, "--config", config, "--json").stdout.splitlines()
    replayed = [json.loads(line) for line in lines if '"window":"1h"' in line]
    assert record["chosen"] in replayed
    assert [(each["start"], each["count"]) for each in record["windows"]] == [
        (each["start"], each["count"]) for each in replayed
    ]
    refused = run("replay", events, "--config", config).stderr.splitlines()
    assert record["notes"] == done.stderr.splitlines() == refused
    assert record["notes"][0].startswith(f"refused: {events}, line 25: undecodable: ")


def test_report_of_results_needs_no_baseline_and_is_of_chosen_window(tmp_path):
    results = write_results(tmp_path / "results.jsonl", "ok", "drift", "ok")
    choice = ("--stream", "resnet18-fc1", "--window", "1h", "--at", "2025-11-03T02:30:00Z")
    done = run("report", results, "--config", write_config(tmp_path), "--json", *choice)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["chosen"]["start"] == "2025-11-03T02:00:00Z"
