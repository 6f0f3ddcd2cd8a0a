"""`driftgauge events peek`, `config check --sample` and `status`."""

import json
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer
from deploy.demo.broker import EmbeddedBroker

from driftgauge.clock import SYSTEM_CLOCK
from driftgauge.events import schemas as waiting
from tests.builders.baselines import save_baseline
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.configs import write_config
from tests.builders.events import build_event, write_events
from tests.builders.page import record_tree
from tests.cli.command import run
from tests.events.schema_records import ID, avro, framed
from tests.harness.registry_server import serve_answers, serve_schemas

MAPPED: dict[str, Any] = {
    "topics": {"events": ["embeddings", "orders"]},
    "inputs": {
        "orders": {"stream": {"constant": "images"}, "timestamp": {"record": "timestamp"}, "embedding": "v"}
    },
}
SCHEMA = {
    "type": "record",
    "name": "Embedded",
    "fields": [{"name": "vector", "type": {"type": "array", "items": "float"}}],
}
AVRO = {
    "embeddings": {
        "encoding": "avro",
        "stream": {"constant": "images"},
        "timestamp": {"record": "timestamp"},
        "embedding": "vector",
    }
}
RECORD = framed(avro({"vector": [1, 2, 3, 4]}, SCHEMA))
ALWAYS = 1_000_000


def check_sample(config, sample, *arguments):
    return run("config", "check", "--config", config, "--sample", sample, *arguments)


def test_sample_is_shown_without_baseline(tmp_path):
    config = write_config(tmp_path)
    lines = [build_event(MONDAY_MS, 1, event_id="e"), b"{"]
    sample = write_events(tmp_path / "sample.jsonl", lines[:1])
    done = check_sample(config, sample)
    assert (done.returncode, done.stderr) == (0, "")
    first, *_, note, summary = done.stdout.splitlines()
    assert first.startswith("embeddings[0]@0, ")
    assert first.endswith(": accepted, 1 event")
    assert note.startswith("stream images: no baseline yet")
    assert summary == "1 record: 1 accepted (1 event), 0 filtered, 0 refused"
    done = check_sample(config, write_events(sample, lines), "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    first, second = document["records"]
    assert (first["outcome"], first["events"], first["reason"]) == ("accepted", 1, None)
    assert {"name": "event id", "text": "e", "source": "event_id"} in first["fields"]
    assert (second["outcome"], second["reason"], second["offset"]) == ("refused", "undecodable", 1)
    assert list(document["streams_without_baseline"]) == ["images"]


def test_refused_sample_exits_with_1(tmp_path):
    save_baseline(tmp_path)
    sample = write_events(tmp_path / "sample.jsonl", [b'{"v": [1, 2, 3, 4]}', b'{"v": [1]}'])
    done = check_sample(write_config(tmp_path, **MAPPED), sample, "--topic", "orders")
    assert (done.returncode, done.stderr) == (1, "")
    assert "orders[0]@1" in done.stdout
    assert "no baseline" not in done.stdout
    counts = "2 records: 1 accepted (1 event), 0 filtered, 1 refused (1 wrong_dimension)"
    assert done.stdout.endswith(f"\n{counts}\n")


def test_each_record_of_a_sample_is_read_as_its_topic_is(tmp_path):
    config = write_config(tmp_path, **MAPPED)
    event = json.loads(build_event(MONDAY_MS, 1, event_id="e"))
    records = [{"topic": "orders", "payload": {"v": [1, 2, 3, 4]}}, {"topic": "embeddings", "payload": event}]
    sample = write_events(tmp_path / "sample.records.jsonl", [json.dumps(each).encode() for each in records])
    done = check_sample(config, sample)
    assert (done.returncode, done.stderr) == (0, "")
    assert "orders[0]@0" in done.stdout
    assert "embeddings[0]@1" in done.stdout
    assert "2 records: 2 accepted (2 events)" in done.stdout
    other = write_events(sample, [json.dumps({**records[0], "topic": "payments"}).encode()])
    assert (
        "payments is not read; add it to topics.events, or choose another topic (--topic): "
        in check_sample(config, other).stderr
    )
    unnamed = write_events(tmp_path / "sample.jsonl", [b"{}"])
    assert (
        "several topics, and none is named; choose the topic (--topic): embeddings, orders"
        in check_sample(config, unnamed).stderr
    )


@pytest.mark.parametrize(
    ("schemas", "failures", "status", "part"),
    [
        ({ID: SCHEMA}, 0, 0, "4 numbers: 1, 2, 3, 4"),
        ({}, 0, 1, f"refused, undecodable: value: schema {ID} is unknown to the schema registry"),
        (
            {},
            ALWAYS,
            1,
            f"the schema registry has not given schema {ID} within 0.3 s (SchemaRegistryError: away",
        ),
    ],
)
def test_sample_in_avro_is_shown(tmp_path, monkeypatch, schemas, failures, status, part):
    if failures:
        monkeypatch.setattr(waiting, "_PATIENCE_S", 0.3)
    (tmp_path / "sample.avro").write_bytes(RECORD)
    with serve_schemas(schemas, failures=failures) as url:
        config = write_config(tmp_path, inputs=AVRO, schema_registry={"url": url})
        done = check_sample(config, tmp_path / "sample.avro")
    assert done.returncode == status
    assert part in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (404, "check the path in schema_registry.url: no schema registry answers there"),
        (401, "check schema_registry's credentials"),
    ],
)
def test_answer_that_is_no_registrys_ends_the_command_at_once(tmp_path, status, remedy):
    (tmp_path / "sample.avro").write_bytes(RECORD)
    with serve_answers(lambda *_: (status, b"<html>no such page</html>")) as url:
        config = write_config(tmp_path, inputs=AVRO, schema_registry={"url": url})
        done = check_sample(config, tmp_path / "sample.avro")
    assert done.returncode == 1
    assert f"the schema registry does not give schema {ID} (SchemaRegistryError: " in done.stderr
    assert remedy in done.stderr


def test_peek_shows_last_records_of_all_partitions(tmp_path, snapshot):
    with EmbeddedBroker(["embeddings", "orders"]) as broker, serve_schemas({ID: SCHEMA}) as url:
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for number in range(9):
            content = json.dumps({"v": [number, 1, 2, 3]})
            producer.produce("orders", content, partition=number % 4, timestamp=MONDAY_MS + number)
        producer.produce("orders", None, partition=3, timestamp=MONDAY_MS + 9)
        producer.produce("embeddings", RECORD)
        assert producer.flush(10) == 0
        kafka = {"bootstrap.servers": broker.bootstrap, "group.id": "driftgauge"}
        mapped = {"topics": MAPPED["topics"], "inputs": MAPPED["inputs"] | AVRO}
        config = write_config(tmp_path, kafka=kafka, schema_registry={"url": url}, **mapped)
        done = run("events", "peek", "--config", config, "--topic", "orders", "--last", "4")
        in_avro = run("events", "peek", "--config", config, "--topic", "embeddings")
        wrong = {"orders": {**MAPPED["inputs"]["orders"], "embedding": "w"}}
        refused = write_config(tmp_path, kafka=kafka, topics={"events": ["orders"]}, inputs=wrong)
        astray = run("events", "peek", "--config", refused, "--topic", "orders")
        last = ("--topic", "orders", "--last", "1")
        unread = run("events", "peek", "--config", config, *last)
        as_json = run("events", "peek", "--config", config, *last, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    records = [line for line in done.stdout.splitlines() if line.startswith("orders[")]
    assert [line.partition(":")[0] for line in records] == [
        f"{where}, 2025-11-03T00" for where in ("orders[2]@1", "orders[3]@1", "orders[0]@2", "orders[3]@2")
    ]
    assert "4 numbers: 8, 1, 2, 3; norm" in done.stdout
    assert done.stdout.endswith(
        "\nthe last 4 of about 10 records: 3 accepted (3 events), 0 filtered, 1 refused (1 undecodable)\n"
    )
    assert done.stdout.replace(f"{tmp_path}/", "") == snapshot
    assert (in_avro.returncode, in_avro.stderr) == (0, "")
    further = "0 filtered, 1 refused (1 undecodable); a larger --last looks further back\n"
    assert unread.stdout.endswith(f"\nthe last 1 of about 10 records: 0 accepted (0 events), {further}")
    assert json.loads(as_json.stdout)["held"] == 10
    assert astray.returncode == 1
    assert astray.stdout.endswith(
        "the last 10 of about 10 records: 0 accepted (0 events), 0 filtered, 10 refused "
        "(1 undecodable, 9 invalid)\n"
    )
    assert "the last 1 of about 1 record: 1 accepted (1 event), 0 filtered, 0 refused" in in_avro.stdout


@pytest.mark.parametrize(
    ("topic", "status", "output", "message"),
    [
        ("orders", 0, "the last 0 of about 0 records: 0 accepted (0 events), 0 filtered, 0 refused\n", ""),
        ("missing", 2, "", "topic missing does not exist; name a topic of the cluster, or check kafka."),
        ("order", 2, "", "topic order does not exist; did you mean orders?"),
    ],
)
def test_peek_at_topic_without_records(tmp_path, topic, status, output, message):
    with EmbeddedBroker(["orders"]) as broker:
        kafka = {"bootstrap.servers": broker.bootstrap, "group.id": "driftgauge"}
        config = write_config(tmp_path, kafka=kafka, topics={"events": [topic]})
        done = run("events", "peek", "--config", config, "--topic", topic)
    assert (done.returncode, done.stdout) == (status, output)
    assert message in done.stderr


def test_streams_of_topic_are_listed_with_alarm_cause_and_age(tmp_path):
    now_ms = SYSTEM_CLOCK.wall_ms()
    with EmbeddedBroker(["embeddings", "driftgauge.windows", "driftgauge.g.heartbeats"]) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        # The last is of another deployment.
        for stream in ("drifting", "elsewhere"):
            for number, verdict in enumerate(["ok", "drift", "insufficient"]):
                value = orjson.dumps(record_tree(number, verdict, stream=stream, segments=[]))
                producer.produce("driftgauge.windows", value, partition=0, timestamp=now_ms - 5 * HOUR_MS)
        assert producer.flush(60) == 0
        kafka = {"bootstrap.servers": broker.bootstrap, "group.id": "g"}
        # From the beginning: the embedded broker finds no offsets by time.
        streams = [{"windows": ["1h"]}, {"name": "drifting", "windows": ["1h"]}]
        config = write_config(tmp_path, *streams, kafka=kafka, page={"history": "25000d"})
        printed = run("status", "--config", config)
        records = run("status", "--config", config, "--json")
        producer.produce("driftgauge.windows", b"{}", partition=0, timestamp=now_ms)
        assert producer.flush(60) == 0
        partial = run("status", "--config", config, "--json")
    assert partial.returncode == 0
    assert (printed.returncode, printed.stderr) == (records.returncode, records.stderr) == (0, "")
    _, fault, _, heading, drifting, waiting = printed.stdout.splitlines()
    assert fault.strip().startswith("no replica is known to serve count, windows  see whether replicas run")
    assert heading.split()[:3] == ["stream", "status", "began"]
    for part in (
        "Drift (old)",
        "before 3 Nov 2025, 02:00 UTC (1h)",
        "Shift: inputs",
        "1h: no new window since",
    ):
        assert part in drifting
    assert waiting.split() == ["images", "No", "window", "yet", "1h:", "no", "window", "yet."]
    assert waiting.index("1h:") == heading.index("why"), "no space before it"
    assert [json.loads(each.stdout)["complete"] for each in (records, partial)] == [True, False]
    assert [each["name"] for each in json.loads(records.stdout)["faults"]] == ["no_heartbeat"]
    streams = json.loads(records.stdout)["streams"]
    assert [(each["stream"], each["state"], each["old"]) for each in streams] == [
        ("drifting", "drift", True),
        ("images", "waiting", True),
    ]


@pytest.mark.parametrize(
    "arguments", [["status"], ["report", "--json"], ["dead-letters", "list"], ["dead-letters", "show"]]
)
def test_command_before_first_serve_says_what_creates_the_topic(tmp_path, arguments):
    with EmbeddedBroker(["embeddings", "driftgauge.marks"]) as broker:
        kafka = {"bootstrap.servers": broker.bootstrap, "group.id": "g"}
        done = run(*arguments, "--config", write_config(tmp_path, kafka=kafka))
    assert (done.returncode, done.stdout) == (2, "")
    assert "does not exist; start `driftgauge serve`, which creates it" in done.stderr
    assert "did you mean" not in done.stderr

    with EmbeddedBroker(["embedding"]) as broker:
        kafka = {"bootstrap.servers": broker.bootstrap, "group.id": "g"}
        done = run(*arguments, "--config", write_config(tmp_path, kafka=kafka))
    assert (
        "topic embeddings does not exist; did you mean embedding? (`driftgauge serve` creates " in done.stderr
    )
