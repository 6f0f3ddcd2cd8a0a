"""`--json`: every command with a result prints it as JSON."""

import json

import click
import numpy as np
import pytest

from driftgauge.cli import cli
from tests.builders.baselines import save_baseline
from tests.builders.clocks import MONDAY_MS
from tests.builders.configs import SECRET, write_config
from tests.builders.events import build_event, write_events
from tests.cli.command import run
from tests.cli.test_commands import command_paths
from tests.harness.demo import EmbeddedBroker

# They serve until they are stopped, and have no result.
WITHOUT_RESULT = {("serve",), ("page",)}


def find(path):
    command, context = cli, click.Context(cli)
    for name in path:
        command = command.get_command(context, name)
    return command


LEAVES = [path for path in command_paths(cli) if not isinstance(find(path), click.Group)]


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_with_a_result_has_json(path):
    options = {option for parameter in find(path).params for option in parameter.opts}
    assert ("--json" in options) is (path not in WITHOUT_RESULT)


def result(*arguments, status=0, **environ):
    done = run(*arguments, "--json", **environ)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def test_fit_prints_what_show_prints(tmp_path):
    random = np.random.default_rng(0)
    lines = [
        json.dumps({"stream": "s", "timestamp": MONDAY_MS, "embedding": vector}).encode()
        for vector in random.normal(size=(400, 4)).round(3).tolist()
    ]
    events = write_events(tmp_path / "events.jsonl", [b"[", *lines, b"{}"])
    out = tmp_path / "s.safetensors"
    fitted = result("baseline", "fit", events, "--stream", "s", "--clusters", 4, "--out", out)
    assert fitted.pop("refused") == {"invalid": 1, "undecodable": 1}
    assert fitted == result("baseline", "show", out)
    assert (fitted["file"], len(fitted["clusters"])) == (str(out), 4)


def test_backtest_prints_timelines_and_refused_events(config, events):
    document = result("backtest", events, "--config", config, "--drift-from", "2025-11-03T01:00:00Z")
    assert document["refused"] == {"undecodable": 1, "unknown_stream": 1}
    assert [(each["window"], each["windows"]) for each in document["timelines"]] == [("1h", 2), ("1d", 1)]


def test_config_check_prints_settings_baselines_and_warnings(tmp_path):
    save_baseline(tmp_path)
    listed = [
        {"file": "images.safetensors"},
        {"file": "images.safetensors", "from": "2025-11-03T00:00:00Z"},
    ]
    config = write_config(tmp_path, {"baselines": listed})
    document = result("config", "check", "--config", config, DRIFTGAUGE_KAFKA__SASL_PASSWORD=SECRET)
    assert document["settings"]["kafka"]["sasl.password"] == "***"
    ((first, second),) = [stream["baselines"] for stream in document["streams"]]
    assert first["identity"] == second["identity"]
    assert (first["from"], first["until"], first["in_force"]) == (None, second["from"], False)
    assert (second["until"], second["in_force"]) == (None, True)
    assert len(document["warnings"]) == 2


def test_config_check_prints_sample(tmp_path):
    config = write_config(tmp_path)
    sample = write_events(tmp_path / "sample.jsonl", [build_event(MONDAY_MS, 1, event_id="e"), b"{"])
    document = result("config", "check", "--config", config, "--sample", sample, status=1)
    first, second = document["records"]
    assert (first["outcome"], first["events"], first["reason"]) == ("accepted", 1, None)
    assert {"name": "event id", "text": "e", "source": "event_id"} in first["fields"]
    assert (second["outcome"], second["reason"], second["offset"]) == ("refused", "undecodable", 1)
    assert list(document["streams_without_baseline"]) == ["images"]


def test_health_prints_answer():
    url = "http://127.0.0.1:1"
    document = result("health", "--url", url, status=1)
    assert document["healthy"] is False
    assert document["answer"].startswith(f"{url}/livez does not answer")


def test_publish_and_peek_print_what_was_sent(tmp_path):
    save_baseline(tmp_path)
    with EmbeddedBroker(["embeddings"]) as broker:
        config = write_config(tmp_path, kafka={"bootstrap.servers": broker.bootstrap, "group.id": "g"})
        events = write_events(
            tmp_path / "events.jsonl", [build_event(MONDAY_MS + i) for i in range(3)] + [b"{"]
        )
        sent = result("publish", events, "--config", config, "--stream", "images")
        peeked = result("events", "peek", "--config", config, "--topic", "embeddings")
    assert sent == {
        "topic": "embeddings",
        "stream": "images",
        "model_version": None,
        "published": 3,
        "first": "2025-11-03T00:00:00Z",
        "last": "2025-11-03T00:00:00.002Z",
        "refused": {"undecodable": 1},
    }
    assert [record["outcome"] for record in peeked["records"]] == ["accepted"] * 3
