"""Commands that read records whose schemas are in a schema registry."""

from confluent_kafka import Producer

from driftgauge.inspection import inspector
from tests.builders.configs import write_config
from tests.cli.command import run
from tests.events.schema_records import ID, avro, framed
from tests.harness.demo import EmbeddedBroker
from tests.harness.registry_server import serve_schemas

SCHEMA = {
    "type": "record",
    "name": "Embedded",
    "fields": [{"name": "vector", "type": {"type": "array", "items": "float"}}],
}
INPUT = {"encoding": "avro", "stream": {"constant": "images"}, "embedding": "vector"}
RECORD = framed(avro({"vector": [1, 2, 3, 4]}, SCHEMA))
ALWAYS = 1_000_000


def config(tmp_path, url, **sections):
    return write_config(tmp_path, inputs={"embeddings": INPUT}, schema_registry={"url": url}, **sections)


def check_sample(tmp_path, url, record=RECORD):
    path = tmp_path / "sample.avro"
    path.write_bytes(record)
    return run("config", "check", "--config", config(tmp_path, url), "--sample", path)


def test_sample_in_avro_is_shown(tmp_path):
    with serve_schemas({ID: SCHEMA}) as url:
        done = check_sample(tmp_path, url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 numbers: 1, 2, 3, 4" in done.stdout
    assert "1 accepted (1 event), 0 filtered, 0 refused" in done.stdout


def test_sample_with_unknown_schema_is_refused(tmp_path):
    with serve_schemas({}) as url:
        done = check_sample(tmp_path, url)
    assert done.returncode == 1
    assert f"refused, undecodable: value: schema {ID} is unknown to the schema registry" in done.stdout


def test_sample_that_cannot_be_read_exits_with_1(tmp_path, monkeypatch):
    monkeypatch.setattr(inspector, "_PATIENCE_S", 0.3)
    with serve_schemas({}, failures=ALWAYS) as url:
        done = check_sample(tmp_path, url)
    assert done.returncode == 1
    assert "not read: the schema registry has not answered" in done.stdout


def test_peek_shows_records_in_avro(tmp_path):
    with EmbeddedBroker(["embeddings"]) as broker, serve_schemas({ID: SCHEMA}) as url:
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for partition in range(2):
            producer.produce("embeddings", RECORD, partition=partition)
        assert producer.flush(10) == 0
        kafka = {"bootstrap.servers": broker.bootstrap, "group.id": "driftgauge"}
        path = config(tmp_path, url, kafka=kafka)
        done = run("events", "peek", "--config", path, "--topic", "embeddings")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 records: 2 accepted (2 events), 0 filtered, 0 refused" in done.stdout
