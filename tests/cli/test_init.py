"""`driftgauge init`: a configuration that is proposed loads, and reads the records it was proposed from."""

import base64
import json
import uuid
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pytest
import yaml
from confluent_kafka import Producer
from deploy.demo.broker import EmbeddedBroker

from driftgauge.events import schemas
from driftgauge.inspection.values import measure_vector
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.configs import write_config
from tests.builders.events import build_event, write_events
from tests.cli.command import fail, run, run_json, succeed
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


def near_records(number, hours):
    """Return a record whose event is this many hours before."""
    return {"payload": {"time": MONDAY_MS + 60_000 - hours * HOUR_MS, "v": VECTORS[number].tolist()}}


def local(number, hours=0):
    """Return a record whose time has no offset from UTC, and is this many hours before the record's."""
    at = datetime.fromtimestamp(MONDAY_MS / 1_000 + 60 - 3_600 * hours, UTC)
    return {
        "payload": {"when_at": f"{at:%Y-%m-%dT%H:%M:%S}", "v": VECTORS[number].tolist()},
        "key": ("cam-1", "cam-2")[number % 2],
    }


def batch(number, items=None, **more):
    """Return a record as a server of embeddings logs it, with one vector for each text."""
    data = [
        {"index": i, "embedding": VECTORS[(number + i) % RECORDS].tolist()}
        for i in range(items or number % 5 + 1)
    ]
    return {"payload": {"created": MONDAY_MS / 1_000 + number, "data": data, **more}}


def query_and_results(number):
    return batch(number, query=VECTORS[number].tolist(), sent_at=MONDAY_MS)


def openai_like(number):
    """Return a response of an OpenAI-like server as a gateway logs it: 1 to 5 embeddings."""
    return batch(number, id=f"embd-{number}", object="list", model="text-embedding-3-small")


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


def longer(number):
    record = nested(number)
    record["payload"]["query"]["vector"] *= 1 + (number % 3 == 0)
    return record


def malformed(number):
    record = nested(number)
    payload = record["payload"]
    odd = {
        3: payload | {"request": payload["request"] | {"time": "yesterday"}},
        4: payload | {"query": payload["query"] | {"vector": "none"}},
        5: [payload],
    }
    return record | {"payload": odd.get(number, payload)}


def nearly_own(number):
    return own_contract(number) if number else {"payload": {"stream": 5}}


@pytest.mark.parametrize(
    "build",
    [
        own_contract,
        nested,
        backfilled,
        local,
        pytest.param(partial(batch, items=1), id="one of a list"),
        openai_like,
        query_and_results,
        in_avro,
        pytest.param(partial(near_records, hours=5), id="hours before its record"),
        longer,
        malformed,
        nearly_own,
    ],
)
def test_proposal_loads_and_reads_what_it_was_made_from(tmp_path, snapshot, build):
    sample, config = write_sample(tmp_path, build), tmp_path / "driftgauge.yaml"
    with serve_schemas({ID: AVRO}) as url:
        registry = ["--registry", url] if build is in_avro else []
        done = succeed("init", sample, *registry, "--output", config)
        checked = run("config", "check", "--config", config, "--sample", sample).stdout.splitlines()
    text = config.read_text("utf-8").replace(url, "URL")
    assert text == snapshot
    said = done.stderr.splitlines()
    assert [line for line in said if f"# - {line}\n" not in text] == []
    # The check sums up the same, and repeats what it would warn of.
    warnings = [line.replace("timestamp: ", "warning: ") for line in said if "before the record" in line]
    assert [line for line in checked if line.startswith(("warning: ", "24 records"))] == [*warnings, said[0]]


@pytest.mark.parametrize(
    ("copies", "said"),
    [
        (1, "holds 72 items in 24 records, 24 are read"),
        (5, "holds 300 items in 100 of the first 100 records, 100 are read"),
    ],
)
def test_fit_says_which_vectors_of_a_list_a_mapping_leaves_out(tmp_path, copies, said):
    source = {"stream": {"constant": TOPIC}, "timestamp": {"path": "created", "unit": "s"}}
    inputs = {TOPIC: source | {"embedding": "data[0].embedding"}}
    config = write_config(tmp_path, {"name": TOPIC}, topics={"events": [TOPIC]}, inputs=inputs)
    sample = write_sample(tmp_path, partial(batch, items=3))
    sample.write_bytes(sample.read_bytes() * copies)
    out = ("--stream", TOPIC, "--clusters", 2, "--out", tmp_path / "orders.safetensors")
    warnings = run_json("baseline", "fit", sample, "--topic", TOPIC, "--config", config, *out)["warnings"]
    assert f"embedding: data {said}, and the others are left out" in "\n".join(warnings)


def test_every_vector_of_a_log_of_an_openai_like_server_is_counted(tmp_path):
    """At the first try: what `init` proposes is the configuration."""
    config, sample = tmp_path / "driftgauge.yaml", write_sample(tmp_path, openai_like)
    succeed("init", sample, "--output", config)
    out = ("--stream", TOPIC, "--clusters", 2, "--out", tmp_path / "orders.safetensors")
    succeed("baseline", "fit", sample, "--topic", TOPIC, "--config", config, *out)
    (window,) = succeed("replay", sample, "--config", config, "--json").stdout.splitlines()
    assert json.loads(window)["count"] == 70


@pytest.mark.parametrize(("hours", "way"), [(5, "5h before"), (-1.9997, "2h after"), (0.25, "15m before")])
def test_local_time_is_no_time_unless_records_show_that_it_is_utc(tmp_path, hours, way):
    done = run("init", write_sample(tmp_path, partial(local, hours=hours)))
    assert done.returncode == 1
    assert yaml.safe_load(done.stdout)["inputs"][TOPIC]["timestamp"] == "when_at"
    assert "24 records: 0 accepted (0 events), 0 filtered, 24 refused (24 invalid)" in done.stderr
    refused = f"refused: {TOPIC}[0]@0, 2025-11-03T00:01:00Z: refused, invalid: timestamp: a date-time"
    assert f"the first {refused}" in done.stderr
    doubt = f"when_at has no offset from UTC, and is refused; as UTC it would be {way} the times of"
    assert f"timestamp: {doubt}" in done.stderr
    assert f"timestamp: {doubt}" in done.stdout


def test_topic_is_read_from_brokers_and_configuration_is_printed(tmp_path):
    with EmbeddedBroker([TOPIC, "empty"]) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for number in range(RECORDS):
            content = json.dumps(nested(number)["payload"])
            producer.produce(TOPIC, content, f"k{number}", timestamp=MONDAY_MS + 60_000)
        producer.produce(TOPIC, b"{", timestamp=MONDAY_MS + 60_000)
        assert producer.flush(10) == 0
        arguments = ("--bootstrap-servers", broker.bootstrap, "--topic")
        done = succeed("init", *arguments, TOPIC)
        assert "empty has no records" in fail("init", *arguments, "empty")
        assert "topic absent does not exist" in fail("init", *arguments, "absent")
    summary, *_ = done.stderr.splitlines()
    accepted = "24 accepted (24 events), 0 filtered, 1 refused (1 undecodable)"
    assert summary == f"the last 25 of about 25 records: {accepted}"
    of_file = yaml.safe_load(succeed("init", write_sample(tmp_path, nested)).stdout)
    of_file["kafka"]["bootstrap.servers"] = broker.bootstrap
    assert yaml.safe_load(done.stdout) == of_file


def without_vectors(number):
    return {"payload": {"name": "x\n", "place": [1, 2], "n": number}}


@pytest.mark.parametrize(
    ("build", "arguments", "environ", "status", "part"),
    [
        (
            without_vectors,
            [],
            {},
            2,
            "no vector was found in 24 records, read as json (fields: name, place, n)",
        ),
        (in_avro, [], {}, 2, "name a --registry that answers if they are in Avro or Protobuf"),
        (
            in_avro,
            ["--registry", "http://127.0.0.1:1"],
            {},
            1,
            f"not given schema {ID} within 0.1 s (Connect",
        ),
        (
            in_avro,
            ["--registry", "http://127.0.0.1:1"],
            {},
            1,
            "check that the schema registry runs and that schema_registry.url is its address",
        ),
        (nested, ["--output", "mine.yaml"], {}, 1, "File exists"),
        (
            nested,
            [],
            {"DRIFTGAUGE_KAFKA__NOPE": "1"},
            2,
            "driftgauge: the options and the variables DRIFTGAUGE_… do not connect;",
        ),
    ],
)
def test_what_prevents_a_proposal_is_named(tmp_path, monkeypatch, build, arguments, environ, status, part):
    monkeypatch.setattr(schemas, "_PATIENCE_S", 0.1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("mine", encoding="utf-8")
    done = run("init", write_sample(tmp_path, build), *arguments, **environ)
    assert (done.returncode, done.stdout) == (status, "")
    assert part in done.stderr
    assert "driftgauge.yaml" not in done.stderr
    assert (tmp_path / "mine.yaml").read_text("utf-8") == "mine"


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "f64"])
@pytest.mark.parametrize("kind", ["normal", "sparse", "round"])
def test_type_of_numbers_in_bytes_is_found(dtype, kind):
    drawn = RANDOM.normal(0, 0.1, 384).astype(np.float32)
    numbers = {"normal": drawn, "sparse": np.maximum(drawn, 0), "round": np.round(drawn * 64)}[kind]
    raw = {
        "f32": numbers,
        "f16": numbers.astype("<f2"),
        "bf16": (numbers.view(np.uint32) >> 16).astype("<u2"),
        "f64": numbers.astype("<f8"),
    }[dtype].tobytes()
    assert measure_vector(raw) == (384, dtype)
