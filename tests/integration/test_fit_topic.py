"""`baseline fit` and `replay` of a range of a topic, on a real broker."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import yaml
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from driftgauge.baseline.artifact import load
from driftgauge.events.timestamps import LAST_MS, format_timestamp
from driftgauge.topics.topic_range import TopicRange
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS
from tests.cli.command import run

pytestmark = pytest.mark.broker

HOURS = 48
AN_HOUR = 60
RANGE = ("--from", format_timestamp(MONDAY_MS), "--until", format_timestamp(MONDAY_MS + 2 * DAY_MS))
INPUT: dict[str, Any] = {
    "timestamp": {"path": "meta.at"},
    "segments": {"country": "meta.country"},
    "where": [{"path": "kind", "in": ["response"]}],
    "stream": {"path": "model"},
    "embedding": "outputs[0].data",
}


def events() -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield times and mapped events of two days, and of an hour before and after them."""
    random = np.random.default_rng(0)
    for hour in range(-1, HOURS + 1):
        for i in range(AN_HOUR):
            time_ms = MONDAY_MS + hour * HOUR_MS + i * 1_000
            vector = np.eye(4)[random.integers(4)] + random.normal(scale=0.1, size=4)
            meta = {"at": time_ms, "country": ["de", "fr"][i % 2]}
            value = {
                "kind": "response",
                "model": "images",
                "meta": meta,
                "outputs": [{"data": vector.tolist()}],
                "class": f"class {vector.argmax()}",
            }
            yield time_ms, value


def produce(bootstrap: str, topic: str) -> None:
    """Send the events with record times of their own, and some that are no events of the stream."""
    # Without idempotence a retry changes the order of records.
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    others = [
        {"kind": "request"},
        {"kind": "response", "model": "texts", "meta": {"at": 1}},
        {"kind": "response"},
    ]
    for number, (time_ms, value) in enumerate(events()):
        producer.produce(topic, orjson.dumps(value), timestamp=time_ms, partition=number % 3)
        if number % 100 == 0:
            for other in others:
                producer.produce(topic, orjson.dumps(other), timestamp=time_ms, partition=0)
            # Records of today, long after the range, must not end it.
            producer.produce(topic, orjson.dumps(others[0]), partition=0)
    assert producer.flush(30) == 0


def test_baseline_is_fitted_on_range_of_topic(tmp_path: Path, bootstrap: str) -> None:
    topic = "fit"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    # The events are of last year, and retention would delete them by their record times.
    admin.create_topics([NewTopic(topic, 4, config={"retention.ms": "-1"})])[topic].result(30)
    produce(bootstrap, topic)
    config = tmp_path / "driftgauge.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "kafka": {"bootstrap.servers": bootstrap, "group.id": f"group-{topic}"},
                "topics": {"events": [topic]},
                "inputs": {topic: INPUT},
                "streams": [{"name": "images", "baseline": "missing.safetensors", "windows": ["1h"]}],
            }
        )
    )
    arguments = ("--stream", "images", "--clusters", 4)
    out = tmp_path / "topic.safetensors"
    fit = run(
        *("baseline", "fit", "--topic", topic, "--config", config, *RANGE, *arguments),
        *("--label", "class", "--out", out),
    )
    assert fit.returncode == 0, fit.stderr
    assert "2,880 events of stream images" in fit.stderr
    assert "outside: 60 before, 60 after" in fit.stderr
    assert "30 filtered, 60 refused" in fit.stderr
    assert "segments with 640 vectors or more: country=de,fr; --segment chooses others" in fit.stderr
    assert "windows of 1h held out: counts vary" in fit.stderr
    assert f"group-{topic}" not in {group.group_id for group in admin.list_consumer_groups().result(30).valid}

    # The range of the topic is replayed with that baseline, hour by hour.
    out.rename(tmp_path / "missing.safetensors")
    replayed = run("replay", "--topic", topic, "--config", config, *RANGE, "--json")
    assert replayed.returncode == 0, replayed.stderr
    results = [json.loads(line) for line in replayed.stdout.splitlines()]
    assert [result["count"] for result in results] == [AN_HOUR] * HOURS
    assert sum(cluster["count"] for result in results for cluster in result["clusters"]) == HOURS * AN_HOUR
    assert "refused in total: 60 (" in replayed.stderr
    report = run("report", "--topic", topic, "--config", config, *RANGE, "--json")
    assert report.returncode == 0, report.stderr
    assert [window["count"] for window in json.loads(report.stdout)["windows"]] == [AN_HOUR] * HOURS
    # The topic goes on for long after the range.
    first_hour = (RANGE[0], RANGE[1], "--until", format_timestamp(MONDAY_MS + HOUR_MS), "--slack", "1s")
    replayed = run("replay", "--topic", topic, "--config", config, *first_hour, "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["count"] == AN_HOUR
    (tmp_path / "missing.safetensors").rename(out)

    # The same events in the order of partitions and offsets give the same baseline from a file.
    chosen = [
        (number % 3, value["meta"], value["outputs"][0]["data"])
        for number, (time_ms, value) in enumerate(events())
        if MONDAY_MS <= time_ms < MONDAY_MS + 2 * DAY_MS
    ]
    lines = [
        json.dumps(
            {
                "stream": "images",
                "timestamp": meta["at"],
                "embedding": vector,
                "segments": {"country": meta["country"]},
            }
        )
        for _, meta, vector in sorted(chosen, key=lambda each: each[0])
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(lines))
    same = tmp_path / "file.safetensors"
    arguments += ("--segment", "country=de,fr")
    assert run("baseline", "fit", tmp_path / "events.jsonl", *arguments, "--out", same).returncode == 0
    assert load(out).identity == load(same).identity
    assert sorted(map(str, load(out).names)) == [f"class {number}" for number in range(4)]
    assert all(each.startswith(f"{topic}-") for own in load(out).examples for each in own.example_ids)

    empty = run(
        *("baseline", "fit", "--topic", topic, "--config", config, "--from", "2020-01-01T00:00:00Z"),
        *("--until", "2020-01-02T00:00:00Z", *arguments, "--out", out),
    )
    assert empty.returncode == 2
    assert f"topic {topic}: no event of stream 'images'; streams that were read: none" in empty.stderr


def test_what_retention_has_deleted_is_said_with_both_times(tmp_path: Path, bootstrap: str) -> None:
    topic = "fit-cut"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 3, config={"retention.ms": "-1"})])[topic].result(30)
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for number, (time_ms, value) in enumerate(events()):
        producer.produce(topic, orjson.dumps(value), timestamp=time_ms, partition=number % 3)
    assert producer.flush(30) == 0
    kafka = {"bootstrap.servers": bootstrap, "group.id": topic}
    with TopicRange(kafka, topic, MONDAY_MS + DAY_MS, LAST_MS) as tuesday:
        cut = [TopicPartition(topic, each.index, each.start) for each in tuesday.ranges]
    for future in admin.delete_records(cut).values():
        future.result(30)
    config, out = tmp_path / "driftgauge.yaml", tmp_path / "images.safetensors"
    warm_up = {"from": format_timestamp(MONDAY_MS), "until": format_timestamp(MONDAY_MS + DAY_MS)}
    stream = {"name": "images", "baseline": out.name, "windows": ["1h"], "warm_up": warm_up}
    sections: dict[str, Any] = {"topics": {"events": [topic]}, "inputs": {topic: INPUT}, "streams": [stream]}
    config.write_text(yaml.safe_dump({"kafka": kafka, **sections}))
    source = ("--topic", topic, "--config", config, *RANGE)
    fit = run("baseline", "fit", *source, "--stream", "images", "--clusters", 4, "--out", out)
    backtest = run("backtest", *source, "--json")
    for done in (fit, backtest):
        assert done.returncode == 0, done.stderr
        said = f"warning: topic {topic} begins at 2025-11-04T00:00:02Z, and the range at {RANGE[1]}: older"
        assert said in done.stderr
    assert (
        f"warning: topic {topic} holds no record from the warm_up of stream images, {RANGE[1]} to"
        in fit.stderr
    )
    (timeline,) = json.loads(backtest.stdout)["timelines"]
    assert "holds 0 scored windows of 1h, and it takes 20" in " ".join(timeline["warnings"])
    # From the first record that is left, nothing of the range is deleted.
    later = ("--from", format_timestamp(MONDAY_MS + DAY_MS + HOUR_MS), *RANGE[2:])
    whole = run("backtest", *source[:4], *later)
    assert (whole.returncode, "begins at" in whole.stderr) == (0, False)
