"""`driftgauge report`."""

import json

import pytest

from tests.builders.baselines import save_baseline
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
    replayed = [
        json.loads(line)
        for line in run("replay", events, "--config", config, "--json").stdout.splitlines()
        if '"window":"1h"' in line
    ]
    assert record["chosen"] in replayed
    assert [(each["start"], each["count"]) for each in record["windows"]] == [
        (each["start"], each["count"]) for each in replayed
    ]
    assert done.stderr.splitlines() == record["notes"]
    assert record["notes"] == run("replay", events, "--config", config).stderr.splitlines()
    assert record["notes"][0].startswith(f"refused: {events}, line 25: undecodable: ")


def test_report_of_results_needs_no_baseline(tmp_path):
    results = write_results(tmp_path / "results.jsonl", "ok")
    done = run("report", results, "--config", write_config(tmp_path), "--json")
    assert (done.returncode, done.stderr) == (0, "")


def test_stream_size_and_time_are_chosen(config, tmp_path):
    results = write_results(tmp_path / "results.jsonl", "ok", "drift", "ok")
    choice = ("--stream", "resnet18-fc1", "--window", "1h", "--at", "2025-11-03T02:30:00Z")
    done = run("report", results, "--config", config, "--json", *choice)
    assert json.loads(done.stdout)["chosen"]["start"] == "2025-11-03T02:00:00Z"


def test_empty_file_is_an_error_with_words(tmp_path):
    save_baseline(tmp_path)
    (tmp_path / "empty.jsonl").touch()
    done = run("report", tmp_path / "empty.jsonl", "--config", write_config(tmp_path), "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "driftgauge: there is no window in the replay of empty.jsonl, which was taken for "
        "recorded events; check"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--json"], "name FILES of window results or events, or --topic"),
        (["a.jsonl", "--topic", "--json"], "name FILES of window results or events, or --topic"),
        (["a.jsonl"], "nothing to write; name a file with --out or --png, or print --json"),
        (["a.jsonl", "--json", "--window", "0s"], "is not a window length"),
        (["absent.jsonl", "--json"], "absent.jsonl cannot be read"),
    ],
)
def test_wrong_use_exits_with_2(config, arguments, message):
    done = run("report", *arguments, "--config", config)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_unwritable_report_is_told_with_remedy(config, tmp_path):
    results = write_results(tmp_path / "results.jsonl", "ok")
    done = run("report", results, "--config", config, "--out", tmp_path / "absent" / "a.html")
    assert done.returncode == 2
    assert "cannot write the report: No such file or directory; check the folder" in done.stderr


def test_topic_without_brokers_exits_with_1(tmp_path):
    kafka = {"bootstrap.servers": "127.0.0.1:1", "group.id": "driftgauge"}
    done = run("report", "--topic", "--config", write_config(tmp_path, kafka=kafka), "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the Kafka cluster does not answer" in done.stderr
