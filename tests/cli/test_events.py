"""`driftgauge events peek` and `driftgauge config check --sample`."""

import json

import pytest
from confluent_kafka import Producer

from tests.builders.baselines import save_baseline
from tests.builders.clocks import MONDAY_MS
from tests.builders.configs import write_config
from tests.builders.events import build_event
from tests.cli.command import run
from tests.harness.demo import EmbeddedBroker

NATIVE = {"topics": {"events": ["embeddings"]}}
MAPPED = {
    "topics": {"events": ["embeddings", "orders"]},
    "inputs": {"orders": {"stream": {"constant": "images"}, "embedding": "v"}},
}


def sample(tmp_path, *lines):
    path = tmp_path / "sample.jsonl"
    path.write_bytes(b"\n".join(lines))
    return path


def test_sample_is_shown_without_baseline(tmp_path):
    config = write_config(tmp_path, **NATIVE)
    done = run("config", "check", "--config", config, "--sample", sample(tmp_path, build_event(MONDAY_MS, 1)))
    assert (done.returncode, done.stderr) == (0, "")
    first, *_, note, summary = done.stdout.splitlines()
    assert first.startswith("embeddings[0]@0, ")
    assert first.endswith(": accepted, 1 event")
    assert note.startswith("stream images: no baseline yet")
    assert summary == "1 record: 1 accepted (1 event), 0 filtered, 0 refused"


def test_refused_sample_exits_with_1(tmp_path):
    save_baseline(tmp_path)
    config = write_config(tmp_path, **MAPPED)
    lines = sample(tmp_path, b'{"v": [1, 2, 3, 4]}', b'{"v": [1]}')
    done = run("config", "check", "--config", config, "--sample", lines, "--topic", "orders")
    assert (done.returncode, done.stderr) == (1, "")
    assert "orders[0]@1" in done.stdout
    assert "no baseline" not in done.stdout
    assert done.stdout.endswith(
        "\n2 records: 1 accepted (1 event), 0 filtered, 1 refused (1 wrong_dimension)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (
            ["--sample", "a.jsonl"],
            "the configuration reads several topics; choose one with --topic: embeddings, ",
        ),
        (
            ["--sample", "a.jsonl", "--topic", "t"],
            "t is not read; add it to topics.events, or choose one of: ",
        ),
        (["--sample", "a.jsonl", "--topic", "orders"], "a.jsonl cannot be read (No such file or directory)"),
        (["--topic", "orders"], "--topic names the topic of a sample; add --sample, or leave it out"),
    ],
)
def test_wrong_sample_exits_with_2(tmp_path, arguments, part):
    done = run("config", "check", "--config", write_config(tmp_path, **MAPPED), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert part in done.stderr


@pytest.fixture
def broker():
    with EmbeddedBroker(["embeddings", "orders"]) as broker:
        yield broker


def peek_config(tmp_path, broker, **sections):
    kafka = {"bootstrap.servers": broker.bootstrap, "group.id": "driftgauge"}
    return write_config(tmp_path, kafka=kafka, **sections)


def test_peek_shows_last_records_of_all_partitions(tmp_path, broker):
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for number in range(9):
        content = json.dumps({"v": [number, 1, 2, 3]})
        producer.produce("orders", content, partition=number % 4, timestamp=MONDAY_MS + number)
    producer.produce("orders", None, partition=3, timestamp=MONDAY_MS + 9)
    assert producer.flush(10) == 0
    config = peek_config(tmp_path, broker, **MAPPED)
    done = run("events", "peek", "--config", config, "--topic", "orders", "--last", "4")
    assert (done.returncode, done.stderr) == (0, "")
    records = [line for line in done.stdout.splitlines() if line.startswith("orders[")]
    assert [line.partition(":")[0] for line in records] == [
        f"{where}, 2025-11-03T00" for where in ("orders[2]@1", "orders[3]@1", "orders[0]@2", "orders[3]@2")
    ]
    assert "4 numbers: 8, 1, 2, 3; norm" in done.stdout
    assert done.stdout.endswith("4 records: 3 accepted (3 events), 0 filtered, 1 refused (1 undecodable)\n")


def test_peek_at_empty_topic_shows_no_record(tmp_path, broker):
    config = peek_config(tmp_path, broker, **MAPPED)
    done = run("events", "peek", "--config", config, "--topic", "orders")
    assert (done.returncode, done.stdout) == (
        0,
        "0 records: 0 accepted (0 events), 0 filtered, 0 refused\n",
    )


def test_peek_at_missing_topic_exits_with_2(tmp_path, broker):
    config = peek_config(tmp_path, broker, topics={"events": ["missing"]})
    done = run("events", "peek", "--config", config, "--topic", "missing")
    assert (done.returncode, done.stdout) == (2, "")
    assert "topic missing does not exist; check kafka.bootstrap.servers, or create the topic" in done.stderr


def test_peek_without_brokers_exits_with_1(tmp_path):
    kafka = {"bootstrap.servers": "127.0.0.1:1", "group.id": "driftgauge"}
    config = write_config(tmp_path, kafka=kafka, **MAPPED)
    done = run("events", "peek", "--config", config, "--topic", "orders")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the Kafka cluster does not answer" in done.stderr
