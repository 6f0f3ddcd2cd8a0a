"""`baseline fit` and `replay` of a range of a topic, on a real broker."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from driftgauge.baseline.artifact import load
from driftgauge.events.timestamps import LAST_MS, format_timestamp
from driftgauge.topics.topic_range import TopicRange
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS
from tests.cli.command import run
from tests.harness.topics import TopicOwner
from tests.processes import Completed

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


OTHERS = (
    {"kind": "request"},
    {"kind": "response", "model": "texts", "meta": {"at": 1}},
    {"kind": "response"},
)
"""Some that are no events of the stream."""


@dataclass
class EventsTopic(TopicOwner):
    """A topic with the events, which have record times of their own, and a configuration in a folder."""

    folder: Path
    bootstrap: str
    name: str
    others: Sequence[dict[str, Any]] = ()

    def __post_init__(self) -> None:
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap})
        # The events are of last year, and retention would delete them by their record times.
        self.create(self.name, 4, retention_ms="-1")
        # Without idempotence a retry changes the order of records.
        producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True})
        for number, (time_ms, value) in enumerate(events()):
            producer.produce(self.name, orjson.dumps(value), timestamp=time_ms, partition=number % 3)
            for other in self.others if number % 100 == 0 else ():
                producer.produce(self.name, orjson.dumps(other), timestamp=time_ms, partition=0)
                # Records of today, long after the range, must not end it.
                producer.produce(self.name, orjson.dumps(OTHERS[0]), partition=0)
        assert producer.flush(30) == 0
        self.kafka = {"bootstrap.servers": self.bootstrap, "group.id": f"group-{self.name}"}
        self.config, self.baseline = self.folder / "driftgauge.yaml", self.folder / "images.safetensors"

    def write_config(self, **settings: Any) -> None:
        """Write the configuration, with these settings of the stream."""
        stream = {"name": "images", "baseline": self.baseline.name, "windows": ["1h"], **settings}
        sections = {"topics": {"events": [self.name]}, "inputs": {self.name: INPUT}, "streams": [stream]}
        self.config.write_text(yaml.safe_dump({"kafka": self.kafka, **sections}))

    def run(self, *command: Any) -> Completed:
        """Run a command on the topic; it must succeed."""
        done = run(*command, "--topic", self.name, "--config", self.config)
        assert done.returncode == 0, done.stderr
        return done


def test_baseline_is_fitted_on_range_of_topic(tmp_path: Path, bootstrap: str) -> None:
    topic = EventsTopic(tmp_path, bootstrap, "fit", OTHERS)
    topic.write_config()
    arguments = ("--stream", "images", "--clusters", 4)
    fit = topic.run("baseline", "fit", *RANGE, *arguments, "--label", "class", "--out", topic.baseline)
    for said in (
        "2,880 events of stream images",
        "outside: 60 before, 60 after",
        "30 filtered, 60 refused",
        "segments with 640 vectors or more: country=de,fr; --segment chooses others",
        "windows of 1h held out: counts vary",
    ):
        assert said in fit.stderr
    groups = topic.admin.list_consumer_groups().result(30).valid
    assert topic.kafka["group.id"] not in {group.group_id for group in groups}

    # The range of the topic is replayed with that baseline, hour by hour.
    replayed = topic.run("replay", *RANGE, "--json")
    results = [json.loads(line) for line in replayed.stdout.splitlines()]
    assert [result["count"] for result in results] == [AN_HOUR] * HOURS
    assert sum(cluster["count"] for result in results for cluster in result["clusters"]) == HOURS * AN_HOUR
    assert "refused in total: 60 (" in replayed.stderr
    report = topic.run("report", *RANGE, "--json")
    assert [window["count"] for window in json.loads(report.stdout)["windows"]] == [AN_HOUR] * HOURS
    # The topic goes on for long after the range.
    first_hour = (RANGE[0], RANGE[1], "--until", format_timestamp(MONDAY_MS + HOUR_MS), "--slack", "1s")
    replayed = topic.run("replay", *first_hour, "--json")
    assert json.loads(replayed.stdout)["count"] == AN_HOUR

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
    baseline = load(topic.baseline)
    assert baseline.identity == load(same).identity
    assert sorted(map(str, baseline.names)) == [f"class {number}" for number in range(4)]
    assert all(each.startswith("fit-") for own in baseline.examples for each in own.example_ids)


def test_what_retention_has_deleted_is_said_with_both_times(tmp_path: Path, bootstrap: str) -> None:
    topic = EventsTopic(tmp_path, bootstrap, "fit-cut")
    with TopicRange(topic.kafka, topic.name, MONDAY_MS + DAY_MS, LAST_MS) as tuesday:
        for each in tuesday.ranges:
            topic.delete_records(topic.name, each.index, each.start)
    topic.write_config(warm_up={"from": RANGE[1], "until": format_timestamp(MONDAY_MS + DAY_MS)})
    out = ("--stream", "images", "--clusters", 4, "--out", topic.baseline)
    fit, backtest = topic.run("baseline", "fit", *RANGE, *out), topic.run("backtest", *RANGE, "--json")
    for done in (fit, backtest):
        said = f"warning: topic fit-cut begins at 2025-11-04T00:00:02Z, and the range at {RANGE[1]}: older"
        assert said in done.stderr
    said = f"warning: topic fit-cut holds no record from the warm_up of stream images, {RANGE[1]} to"
    assert said in fit.stderr
    (timeline,) = json.loads(backtest.stdout)["timelines"]
    assert "holds 0 scored windows of 1h, and it takes 20" in " ".join(timeline["warnings"])
    # From the first record that is left, nothing of the range is deleted.
    whole = topic.run("backtest", "--from", format_timestamp(MONDAY_MS + DAY_MS + HOUR_MS), *RANGE[2:])
    assert "begins at" not in whole.stderr
