"""`--json`: every command with a result prints it as JSON, and `publish` what it sent."""

import json

import click
import numpy as np
import pytest
from confluent_kafka import TopicPartition
from deploy.demo.broker import EmbeddedBroker

from driftgauge.cli import cli
from driftgauge.kafka import client
from tests.builders.baselines import save_baseline
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS
from tests.builders.configs import write_config
from tests.builders.events import write_events
from tests.cli.command import run
from tests.cli.test_commands import command_paths

# Two serve until they are stopped, and have no result; that of init is a configuration.
WITHOUT_RESULT = {("serve",), ("page",), ("init",), ("marks", "add"), ("accept-loss",)}


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


def result(*arguments):
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_fit_prints_what_show_prints(tmp_path):
    lines = [
        json.dumps({"stream": "s", "timestamp": MONDAY_MS, "embedding": vector}).encode()
        for vector in np.random.default_rng(0).normal(size=(400, 4)).round(3).tolist()
    ]
    events = write_events(tmp_path / "events.jsonl", [b"[", *lines, b"{}"])
    out = tmp_path / "s.safetensors"
    fitted = result("baseline", "fit", events, "--stream", "s", "--clusters", 4, "--out", out)
    assert fitted.pop("refused") == {"invalid": 1, "undecodable": 1}
    assert [each.split(":")[0] for each in fitted.pop("warnings")] == [
        "windows of 1h hold 400 events (the median), and the reference counts 0.5 times as many",
        "the overdispersion is not known, and p-values will not be calibrated for bursts",
    ]
    shown = result("baseline", "show", out)
    assert shown.pop("refused") is shown.pop("warnings") is None
    assert fitted == shown
    assert (fitted["file"], len(fitted["clusters"])) == (str(out), 4)


def test_backtest_prints_timelines_and_refused_events(config, events):
    document = result("backtest", events, "--config", config, "--drift-from", "2025-11-03T01:00:00Z")
    assert document["refused"] == {"undecodable": 1, "unknown_stream": 1}
    assert [(each["size_ms"], each["windows"]) for each in document["timelines"]] == [
        (HOUR_MS, 2),
        (DAY_MS, 1),
    ]


def test_published_events_keep_times_and_model_version(tmp_path):
    save_baseline(tmp_path)
    rows = [
        {"stream": "images", "timestamp": MONDAY_MS + n, "embedding": [n, 1.0, 0, 0], "model_version": "m1"}
        for n in range(5)
    ]
    lines = [json.dumps(row).encode() for row in rows]
    events = write_events(tmp_path / "events.jsonl", [*lines, b"{"])
    with EmbeddedBroker(["embeddings"]) as broker:
        servers = {"bootstrap.servers": broker.bootstrap}
        config = write_config(tmp_path, kafka={**servers, "group.id": "g"})
        sent = result("publish", events, "--config", config, "--stream", "images")
        peeked = result("events", "peek", "--config", config, "--topic", "embeddings")
        consumer = client.consumer({**servers, "session.timeout.ms": 6_000}, "reader")
        consumer.assign([TopicPartition("embeddings", partition, 0) for partition in range(4)])
        found = []
        for _ in range(100):
            found += [record for record in consumer.consume(20, 0.1) if record.error() is None]
            if len(found) == len(rows):
                break
        consumer.close()
    sent_rows = [json.loads(record.value()) for record in found]
    assert sorted(sent_rows, key=lambda event: event["timestamp"]) == rows
    assert min(record.timestamp()[1] for record in found) > MONDAY_MS + DAY_MS, "that of their publication"
    assert [record["outcome"] for record in peeked["records"]] == ["accepted"] * 5
    assert sent == {
        "topic": "embeddings",
        "stream": "images",
        "model_version": "m1",
        "published": 5,
        "first": "2025-11-03T00:00:00Z",
        "last": "2025-11-03T00:00:00.004Z",
        "refused": {"undecodable": 1},
    }
