"""`driftgauge publish`."""

import json

from confluent_kafka import TopicPartition

from driftgauge.kafka import client
from tests.builders.clocks import MONDAY_MS
from tests.cli.command import run
from tests.harness.demo import EmbeddedBroker


def test_publish_for_unknown_stream_exits_with_2(config, events):
    done = run("publish", events, "--config", config, "--stream", "nobody")
    assert (done.returncode, done.stdout) == (2, "")
    assert "has no stream nobody; the service would reject all events" in done.stderr


def test_recorded_events_keep_times_and_model_version(tmp_path):
    rows = [
        {"stream": "images", "timestamp": MONDAY_MS + 777 * n, "embedding": [n, 1.0], "model_version": "m1"}
        for n in range(5)
    ]
    events = tmp_path / "recorded.jsonl"
    events.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with EmbeddedBroker(["recorded"]) as broker:
        config = tmp_path / "driftgauge.yaml"
        config.write_text(
            f'kafka: {{bootstrap.servers: "{broker.bootstrap}", group.id: g}}\n'
            "topics: {events: [recorded]}\n"
            "streams: [{name: images, baseline: b.safetensors, windows: [1h]}]\n",
            encoding="utf-8",
        )
        done = run("publish", events, "--config", config, "--stream", "images")
        assert done.returncode == 0, done.stderr
        consumer = client.consumer(
            {"bootstrap.servers": broker.bootstrap, "session.timeout.ms": 6_000}, "reader"
        )
        consumer.assign([TopicPartition("recorded", partition, 0) for partition in range(4)])
        sent = []
        for _ in range(100):
            sent += [json.loads(m.value()) for m in consumer.consume(20, 0.1) if m.error() is None]
            if len(sent) == len(rows):
                break
        consumer.close()
    assert sorted(sent, key=lambda event: event["timestamp"]) == rows
