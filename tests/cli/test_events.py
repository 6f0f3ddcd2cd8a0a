"""`driftgauge events peek`, `config check --sample` and `status`."""

import json
from functools import partial
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
from tests.cli.command import fail, run, run_json, succeed
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


def printed(done, folder):
    """Return what a command has printed, without the folder's name."""
    return (done.stdout + done.stderr).replace(f"{folder}/", "")


EVENT = {"payload": json.loads(build_event(MONDAY_MS, 1, event_id="e"))}
NO_TOPIC, SHORT = {"payload": {"v": [1, 2, 3, 4]}}, {"payload": {"v": [1]}}
ORDER = NO_TOPIC | {"topic": "orders"}


@pytest.mark.parametrize(
    ("sections", "records", "arguments", "status"),
    [
        pytest.param({}, [EVENT], (), 0, id="accepted"),
        pytest.param({}, [EVENT, {"payload": "{"}], ("--json",), 1, id="as JSON"),
        pytest.param(MAPPED, [NO_TOPIC, SHORT], ("--topic", "orders"), 1, id="refused"),
        pytest.param(MAPPED, [ORDER, EVENT | {"topic": "embeddings"}], (), 0, id="each as its topic"),
        pytest.param(MAPPED, [ORDER | {"topic": "payments"}], (), 2, id="of another topic"),
        pytest.param(MAPPED, [NO_TOPIC], (), 2, id="of no topic"),
    ],
)
def test_sample_is_shown(tmp_path, snapshot, sections, records, arguments, status):
    if SHORT in records:
        save_baseline(tmp_path)
    config = write_config(tmp_path, **sections)
    lines = [json.dumps({"ts": MONDAY_MS, **each}).encode() for each in records]
    sample = write_events(tmp_path / "sample.records.jsonl", lines)
    done = run("config", "check", "--config", config, "--sample", sample, *arguments)
    assert done.returncode == status
    assert printed(done, tmp_path) == snapshot


def answer(status):
    return partial(serve_answers, lambda *_: (status, b"<html>no such page</html>"))


@pytest.mark.parametrize(
    ("registry", "patience_s", "status", "part"),
    [
        (partial(serve_schemas, {ID: SCHEMA}), 9, 0, "4 numbers: 1, 2, 3, 4"),
        (
            partial(serve_schemas, {}),
            9,
            1,
            f"refused, undecodable: value: schema {ID} is unknown to the schema registry",
        ),
        (
            partial(serve_schemas, {}, failures=1_000_000),
            0.3,
            1,
            f"the schema registry has not given schema {ID} within 0.3 s (SchemaRegistryError: away",
        ),
        (answer(404), 9, 1, "check the path in schema_registry.url: no schema registry answers there"),
        (answer(401), 9, 1, f"the schema registry does not give schema {ID} (SchemaRegistryError: "),
        (answer(401), 9, 1, "check schema_registry's credentials"),
    ],
)
def test_sample_in_avro_is_shown_if_the_registry_gives_its_schema(
    tmp_path, monkeypatch, registry, patience_s, status, part
):
    monkeypatch.setattr(waiting, "_PATIENCE_S", patience_s)
    (tmp_path / "sample.avro").write_bytes(RECORD)
    with registry() as url:
        config = write_config(tmp_path, inputs=AVRO, schema_registry={"url": url})
        done = run("config", "check", "--config", config, "--sample", tmp_path / "sample.avro")
    assert done.returncode == status
    assert part in printed(done, tmp_path)


def test_peek_shows_last_records_of_all_partitions(tmp_path, snapshot):
    wrong = {"orders": {**MAPPED["inputs"]["orders"], "embedding": "w"}}
    topics = ["embeddings", "orders", "empty"]
    with EmbeddedBroker(topics) as broker, serve_schemas({ID: SCHEMA}) as url:
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for number in range(9):
            content = json.dumps({"v": [number, 1, 2, 3]})
            producer.produce("orders", content, partition=number % 4, timestamp=MONDAY_MS + number)
        producer.produce("orders", None, partition=3, timestamp=MONDAY_MS + 9)
        producer.produce("embeddings", RECORD, partition=0, timestamp=MONDAY_MS)
        assert producer.flush(10) == 0
        kafka = {"bootstrap.servers": broker.bootstrap, "group.id": "driftgauge"}
        sections = {"kafka": kafka, "topics": {"events": topics}, "schema_registry": {"url": url}}
        shown = []
        for status, inputs, *arguments in (
            (0, MAPPED["inputs"] | AVRO, "orders", "--last", "4"),
            (0, MAPPED["inputs"] | AVRO, "embeddings"),
            (1, MAPPED["inputs"] | AVRO, "orders", "--last", "1"),
            (1, MAPPED["inputs"] | AVRO, "orders", "--last", "1", "--json"),
            (1, wrong, "orders", "--last", "2"),
            (0, wrong, "empty"),
        ):
            config = write_config(tmp_path, **sections, inputs=inputs)
            done = run("events", "peek", "--config", config, "--topic", *arguments)
            assert (done.returncode, done.stderr) == (status, "")
            shown.append(printed(done, tmp_path))
    assert "\n".join(shown) == snapshot


def test_streams_of_topic_are_listed_with_alarm_cause_and_age(tmp_path, snapshot):
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
        assert printed(succeed("status", "--config", config), tmp_path) == snapshot
        whole = run_json("status", "--config", config)
        producer.produce("driftgauge.windows", b"{}", partition=0, timestamp=now_ms)
        assert producer.flush(60) == 0
        partial = run_json("status", "--config", config)
    assert [each["complete"] for each in (whole, partial)] == [True, False]
    assert [each["name"] for each in whole["faults"]] == ["no_heartbeat"]
    assert [(each["stream"], each["state"], each["old"]) for each in whole["streams"]] == [
        ("drifting", "drift", True),
        ("images", "waiting", True),
    ]


UNSERVED = ["status"], ["report", "--json"], ["dead-letters", "list"], ["dead-letters", "show"]
PEEK = ["events", "peek", "--topic"]


@pytest.mark.parametrize(
    ("held", "topic", "arguments", "says"),
    [
        *(
            (held, "embeddings", arguments, says)
            for held, says in (
                (["embeddings", "driftgauge.marks"], "start `driftgauge serve`, which creates it"),
                (["embedding"], "did you mean embedding? (`driftgauge serve` creates "),
            )
            for arguments in UNSERVED
        ),
        (["orders"], "missing", [*PEEK, "missing"], "name a topic of the cluster, or check kafka."),
        (["orders"], "order", [*PEEK, "order"], "did you mean orders?"),
    ],
)
def test_missing_topic_is_named_with_what_creates_it(tmp_path, held, topic, arguments, says):
    with EmbeddedBroker(held) as broker:
        kafka = {"bootstrap.servers": broker.bootstrap, "group.id": "g"}
        config = write_config(tmp_path, kafka=kafka, topics={"events": [topic]})
        message = fail(*arguments, "--config", config)
    assert f"does not exist; {says}" in message
    assert ("did you mean" in message) is ("did you mean" in says)
