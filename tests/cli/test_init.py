"""`driftgauge init`: a configuration that is proposed loads, and reads the records it was proposed from."""

import base64
import json
import re
import uuid
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import yaml
from confluent_kafka import Producer
from deploy.demo.broker import EmbeddedBroker

from driftgauge.events import schemas
from driftgauge.inspection.values import measure_vector
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.events import build_event, write_events
from tests.cli.command import run
from tests.events.schema_records import AVRO, ID, avro, framed
from tests.harness.registry_server import serve_schemas

TOPIC = "orders"
RECORDS = 24
RANDOM = np.random.default_rng(5)
VECTORS = RANDOM.normal(0, 0.3, (RECORDS, 16)).astype(np.float32)
COUNTRIES = ("de", "fr", "it")


def own_contract(number):
    return {"payload": json.loads(build_event(MONDAY_MS + number, 1, event_id=f"e{number}"))}


def nested(number):
    user = {"id": 17, "country": COUNTRIES[number % 3], "born_at": "1990-01-01T00:00:00Z"}
    request = {"time": (MONDAY_MS - 70_000) / 1_000 + number, "x.model": "e5-2", "user": user}
    query = {"text": "red", "vector": VECTORS[number].tolist(), "place": [52.5, 13.4]}
    return {"payload": {"request": request, "query": query}, "key": f"search-{number}"}


def backfilled(number):
    out = {"features": VECTORS[number].tolist(), "score": 0.5 + number}
    return {"payload": {"occurred": MONDAY_MS - 400_000_000, "out": out}}


def debezium(number):
    after = {"id": number, "model": "clip-4", "embedding": json.dumps(VECTORS[number].tolist())}
    op, before = "c", None
    match number:
        case 5:
            after["embedding"] = "__debezium_unavailable_value"
        case 6:
            op, before, after = "d", after, None
    source = {"connector": "postgresql", "ts_ms": MONDAY_MS + number, "lsn": 24_023_128 + number}
    return {
        "payload": {
            "before": before,
            "after": after,
            "source": source,
            "op": op,
            "ts_us": (MONDAY_MS + 50_000) * 1_000,
        }
    }


def local(number, hours=0):
    """Return a record whose time has no offset from UTC, and is this many hours before the record's."""
    at = datetime.fromtimestamp(MONDAY_MS / 1_000 + 60 - 3_600 * hours, UTC)
    return {
        "payload": {"when_at": f"{at:%Y-%m-%dT%H:%M:%S}", "v": VECTORS[number].tolist()},
        "key": ("cam-1", "cam-2")[number % 2],
    }


def batch(number, items=None, **more):
    """Return a record as a server of embeddings logs it, with one vector for each text."""
    data = [{"index": i, "embedding": VECTORS[i].tolist()} for i in range(items or number % 12 + 1)]
    return {"payload": {"created": MONDAY_MS / 1_000 + number, "data": data, **more}}


def one_of_a_list(number):
    return batch(number, 1)


def openai_like(number):
    """Return a response of an OpenAI-like server as a gateway logs it: 1 to 5 embeddings."""
    data = [
        {"object": "embedding", "index": i, "embedding": VECTORS[(number + i) % RECORDS].tolist()}
        for i in range(number % 5 + 1)
    ]
    usage = {"prompt_tokens": 8 * len(data), "total_tokens": 8 * len(data)}
    response = {"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage}
    return {"payload": {"id": f"embd-{number}", "created": MONDAY_MS // 1_000 + number, **response}}


def query_and_results(number):
    return batch(number, query=VECTORS[number].tolist())


def in_avro(number):
    value = {
        "stream": COUNTRIES[number % 3],
        "at": datetime.fromtimestamp(MONDAY_MS / 1_000, UTC),
        "id": uuid.UUID(int=number),
        "vector": VECTORS[number].tobytes(),
        "numbers": None,
        "segments": {"device": ("phone", "desk")[number % 2]},
    }
    return {"payload_base64": base64.b64encode(framed(avro(value))).decode()}


def write_sample(folder, build):
    lines = [
        json.dumps({"ts": MONDAY_MS + 60_000, "topic": TOPIC, **build(number)}) for number in range(RECORDS)
    ]
    return write_events(folder / "sample.records.jsonl", [line.encode() for line in lines])


CASES: dict[Any, Any] = {
    own_contract: (["images"], None, ()),
    nested: (
        [TOPIC],
        {
            "encoding": "json",
            "stream": {"constant": TOPIC},
            "embedding": "query.vector",
            "timestamp": {"path": "request.time", "unit": "s"},
            "event_id": {"record": "key"},
            "model_version": 'request["x.model"]',
        },
        (
            "stream: one for the whole topic, since no field has a usual name of streams",
            "segments: of few values are request.user.country;",
            "segments: request.user.country may name streams instead: segments share",
            "if each value needs its own, write stream: request.user.country, and an entry",
        ),
    ),
    backfilled: (
        [TOPIC],
        {
            "encoding": "json",
            "stream": {"constant": TOPIC},
            "embedding": "out.features",
            "timestamp": {"record": "timestamp"},
        },
        ("timestamp: occurred may hold times, a day or more from the records'",),
    ),
    debezium: (
        [TOPIC],
        {
            "encoding": "json",
            "where": [
                {"path": "after.embedding", "not_in": ["__debezium_unavailable_value"]},
                {"path": "after.embedding", "exists": True},
            ],
            "stream": {"constant": TOPIC},
            "embedding": "after.embedding",
            "timestamp": "source.ts_ms",
            "event_id": "after.id",
            "model_version": "after.model",
        },
        ("where: 1 of 24 records have no after.embedding", "timestamp: times are also in ts_us"),
    ),
    local: (
        [TOPIC],
        {
            "encoding": "json",
            "stream": {"constant": TOPIC},
            "embedding": "v",
            "timestamp": {"path": "when_at", "assume_utc": True},
        },
        (
            "timestamp: when_at has no offset from UTC; it is assumed to be in UTC",
            "stream: the record's key has 2 values (cam-1, cam-2); if each is a stream of its own, write",
        ),
    ),
    one_of_a_list: (
        [TOPIC],
        {
            "encoding": "json",
            "stream": {"constant": TOPIC},
            "embedding": "data[*].embedding",
            "timestamp": {"path": "created", "unit": "s"},
        },
        ("embedding: every item of the list is an event; one wrong item refuses its record",),
    ),
    openai_like: (
        [TOPIC],
        {
            "encoding": "json",
            "stream": {"constant": TOPIC},
            "embedding": "data[*].embedding",
            "timestamp": {"path": "created", "unit": "s"},
            "model_version": "model",
            "event_id": "id",
        },
        ("embedding: 16 numbers in 70 items of data in 24 records",),
    ),
    query_and_results: (
        [TOPIC],
        {
            "encoding": "json",
            "stream": {"constant": TOPIC},
            "embedding": "query",
            "timestamp": {"path": "created", "unit": "s"},
        },
        ("embedding: vectors are also in data[*].embedding",),
    ),
    in_avro: (
        ["de", "fr", "it"],
        {
            "encoding": "avro",
            "stream": "stream",
            "embedding": "vector",
            "timestamp": "at",
            "event_id": "id",
        },
        ("embedding: 16 numbers, by their bytes f32", "segments.device"),
    ),
}
FILTERED = {debezium: 2}
EVENTS = {openai_like: 70}


@pytest.mark.parametrize("build", CASES, ids=lambda build: build.__name__)
def test_proposal_loads_and_reads_what_it_was_made_from(tmp_path, build):
    streams, mapping, doubts = CASES[build]
    sample, config = write_sample(tmp_path, build), tmp_path / "driftgauge.yaml"
    with serve_schemas({ID: AVRO}) as url:
        registry = ["--registry", url] if build is in_avro else []
        done = run("init", sample, *registry, "--output", config)
        assert (done.returncode, done.stdout) == (0, "")
        checked = run("config", "check", "--config", config, "--sample", sample)
    tree = yaml.safe_load(config.read_text("utf-8"))
    assert [stream["name"] for stream in tree["streams"]] == streams
    files = [f"{quote(name, safe='')}.safetensors" for name in streams]
    assert [stream["baseline"] for stream in tree["streams"]] == files
    assert tree.get("inputs", {}).get(TOPIC) == mapping
    filtered = FILTERED.get(build, 0)
    accepted = RECORDS - filtered
    events = EVENTS.get(build, accepted)
    summary = f"{RECORDS} records: {accepted} accepted ({events} events), {filtered} filtered, 0 refused"
    assert done.stderr.startswith(f"{summary}\n")
    assert checked.stdout.endswith(f"{summary}\n")
    comments = config.read_text("utf-8").partition("\nkafka:")[0]
    assert [doubt for doubt in doubts if doubt not in done.stderr or doubt not in comments] == []


@pytest.mark.parametrize(
    ("copies", "said"),
    [
        (1, "holds 72 items in 24 records, 24 are read"),
        (5, "holds 300 items in 100 of the first 100 records, 100 are read"),
    ],
)
def test_fit_says_which_vectors_of_a_list_a_mapping_leaves_out(tmp_path, copies, said):
    config = tmp_path / "driftgauge.yaml"
    assert run("init", write_sample(tmp_path, one_of_a_list), "--output", config).returncode == 0
    config.write_text(config.read_text("utf-8").replace("data[*]", "data[0]"), "utf-8")

    def build(number):
        data = [{"embedding": VECTORS[number - i].tolist()} for i in range(3)]
        return {"payload": {"created": MONDAY_MS / 1_000 + number, "data": data}}

    sample = write_sample(tmp_path, build)
    sample.write_bytes(sample.read_bytes() * copies)
    source = (sample, "--topic", TOPIC, "--config", config)
    fitted = ("--stream", TOPIC, "--clusters", 2, "--out", tmp_path / "orders.safetensors", "--json")
    done = run("baseline", "fit", *source, *fitted)
    assert done.returncode == 0, done.stderr
    said = f"embedding: data {said}, and the others are left out"
    assert [each for each in json.loads(done.stdout)["warnings"] if each.startswith(said)] != []
    assert f"warning: {said}" in done.stderr


def test_every_vector_of_a_log_of_an_openai_like_server_is_counted(tmp_path):
    """At the first try: what `init` proposes is the configuration."""
    config, sample = tmp_path / "driftgauge.yaml", write_sample(tmp_path, openai_like)
    assert run("init", sample, "--output", config).returncode == 0
    fitted = ("--stream", TOPIC, "--clusters", 2, "--out", tmp_path / "orders.safetensors")
    done = run("baseline", "fit", sample, "--topic", TOPIC, "--config", config, *fitted)
    assert done.returncode == 0, done.stderr
    done = run("replay", sample, "--config", config, "--json")
    assert done.returncode == 0, done.stderr
    counted: Counter[str] = Counter()
    for window in map(json.loads, done.stdout.splitlines()):
        counted[window["window"]] += window["count"]
    assert counted
    assert set(counted.values()) == {70}


@pytest.mark.parametrize(("hours", "way"), [(5, "5h before"), (-1.9997, "2h after"), (0.25, "15m before")])
def test_local_time_is_no_time_unless_records_show_that_it_is_utc(tmp_path, hours, way):
    done = run("init", write_sample(tmp_path, partial(local, hours=hours)))
    assert done.returncode == 1
    assert yaml.safe_load(done.stdout)["inputs"][TOPIC]["timestamp"] == "when_at"
    assert "24 records: 0 accepted (0 events), 0 filtered, 24 refused (24 invalid)" in done.stderr
    first = f"the first refused: {TOPIC}[0]@0, 2025-11-03T00:01:00Z: refused, invalid: timestamp: a date-time"
    assert first in done.stderr
    doubt = (
        f"timestamp: when_at has no offset from UTC, and is refused; as UTC it would be {way} the times of"
    )
    assert doubt in done.stderr
    assert doubt in done.stdout


def test_gap_of_whole_hours_between_events_and_records_is_said(tmp_path):
    def build(number):
        return {"payload": {"time": MONDAY_MS + 60_000 - 5 * HOUR_MS, "v": VECTORS[number].tolist()}}

    sample, config = write_sample(tmp_path, build), tmp_path / "driftgauge.yaml"
    done = run("init", sample, "--output", config)
    said = f"stream {TOPIC}: in 24 of 24 records the event time is 5h before the record's time"
    assert f"timestamp: {said}" in done.stderr
    assert f"# - timestamp: {said}" in config.read_text("utf-8")
    checked = run("config", "check", "--config", config, "--sample", sample)
    assert f"\nwarning: {said}" in checked.stdout
    checked = run("config", "check", "--config", config, "--sample", sample, "--json")
    assert [each.startswith(said) for each in json.loads(checked.stdout)["warnings"]] == [True]


def test_vectors_of_several_lengths_are_said(tmp_path):
    def build(number):
        record = nested(number)
        if number % 3 == 0:
            record["payload"]["query"]["vector"] *= 2
        return record

    done = run("init", write_sample(tmp_path, build))
    assert "in 16 of 24 records" in done.stderr
    assert re.search(r"vectors of other lengths are there as well: \d+ in 8 records", done.stderr)


def test_some_malformed_records_change_no_proposal(tmp_path):
    def build(number):
        record = nested(number)
        match number:
            case 3:
                record["payload"]["request"]["time"] = "yesterday"
            case 4:
                record["payload"]["query"]["vector"] = "none"
            case 5:
                record["payload"] = [record["payload"]]
        return record

    done = run("init", write_sample(tmp_path, build))
    assert yaml.safe_load(done.stdout)["inputs"][TOPIC] == {
        **CASES[nested][1],
        "where": [{"path": "query.vector", "exists": True}],
    }
    assert "24 records: 21 accepted (21 events), 1 filtered, 2 refused (2 invalid)" in done.stderr
    events = write_sample(
        tmp_path, lambda number: own_contract(number) if number else {"payload": {"stream": 5}}
    )
    done = run("init", events)
    assert "inputs" not in yaml.safe_load(done.stdout)
    assert "23 accepted (23 events), 0 filtered, 1 refused" in done.stderr


def test_topic_is_read_from_brokers_and_configuration_is_printed(tmp_path):
    with EmbeddedBroker([TOPIC, "empty"]) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for number in range(RECORDS):
            content = json.dumps(nested(number)["payload"])
            producer.produce(TOPIC, content, f"k{number}", timestamp=MONDAY_MS + 60_000)
        producer.produce(TOPIC, b"{", timestamp=MONDAY_MS + 60_000)
        assert producer.flush(10) == 0
        arguments = ("--bootstrap-servers", broker.bootstrap, "--topic")
        done = run("init", *arguments, TOPIC)
        empty = run("init", *arguments, "empty")
        absent = run("init", *arguments, "absent")
    assert done.returncode == 0
    assert yaml.safe_load(done.stdout)["kafka"]["bootstrap.servers"] == broker.bootstrap
    assert yaml.safe_load(done.stdout)["inputs"][TOPIC] == CASES[nested][1]
    assert (
        "the last 25 of about 25 records: 24 accepted (24 events), 0 filtered, 1 refused (1 undecodable)"
        in done.stderr
    )
    assert (empty.returncode, absent.returncode) == (2, 2)
    assert "empty has no records" in empty.stderr
    assert "topic absent does not exist" in absent.stderr


def test_topic_without_vectors_and_existing_file_are_refused(tmp_path):
    sample = write_sample(tmp_path, lambda number: {"payload": {"name": "x\n", "place": [1, 2], "n": number}})
    done = run("init", sample)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no vector was found in 24 records, read as json (fields: name, place, n)" in done.stderr
    done = run("init", write_sample(tmp_path, in_avro))
    assert done.returncode == 2
    assert "name a --registry that answers if they are in Avro or Protobuf" in done.stderr
    config = tmp_path / "driftgauge.yaml"
    config.write_text("mine", encoding="utf-8")
    done = run("init", write_sample(tmp_path, nested), "--output", config)
    assert (done.returncode, config.read_text("utf-8")) == (1, "mine")
    assert "File exists" in done.stderr


def test_what_does_not_connect_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(schemas, "_PATIENCE_S", 0.1)
    sample = write_sample(tmp_path, in_avro)
    done = run("init", sample, "--registry", "http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"the schema registry has not given schema {ID} within 0.1 s (ConnectError: " in done.stderr
    assert "check that the schema registry runs and that schema_registry.url is its address" in done.stderr
    done = run("init", sample, DRIFTGAUGE_KAFKA__NOPE="1")
    assert done.returncode == 2
    assert done.stderr.startswith("driftgauge: the options and the variables DRIFTGAUGE_… do not connect;")
    assert "nope" in done.stderr
    assert "driftgauge.yaml" not in done.stderr


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "f64"])
@pytest.mark.parametrize("kind", ["normal", "sparse", "round"])
def test_type_of_numbers_in_bytes_is_found(dtype, kind):
    numbers = RANDOM.normal(0, 0.1, 384).astype(np.float32)
    match kind:
        case "sparse":
            numbers = np.maximum(numbers, 0)
        case "round":
            numbers = np.round(numbers * 64)
    raw = {
        "f32": numbers,
        "f16": numbers.astype("<f2"),
        "bf16": (numbers.view(np.uint32) >> 16).astype("<u2"),
        "f64": numbers.astype("<f8"),
    }[dtype].tobytes()
    assert measure_vector(raw) == (384, dtype)
