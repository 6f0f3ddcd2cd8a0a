"""A secret planted in every place where one can be given shows nowhere."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from deploy.demo.broker import EVENTS_TOPIC, TOPICS, EmbeddedBroker, write_config

from driftgauge.kafka import client
from tests.builders.baselines import save_baseline
from tests.harness.registry_server import serve_answers
from tests.harness.service import DRIFTGAUGE, ReplicaProcess, environment
from tests.processes import Completed, run_command
from tests.waiting import wait_for

# How it is given, its section, its property, and what stands around it.
PLACES = [
    ("file", "kafka", "sasl.password", "{}"),
    ("file", "kafka", "ssl.key.pem", "{}"),
    ("file", "kafka", "sasl.oauthbearer.config", "principal={}"),
    ("file", "kafka", "ssl.keystore.password", "{}"),
    ("variable", "kafka", "ssl.key.password", "{}"),
    ("variable", "kafka", "sasl.oauthbearer.client.secret", "{}"),
    ("secret", "kafka", "ssl.certificate.pem", "{}"),
    ("secret", "kafka", "sasl.oauthbearer.assertion.private.key.passphrase", "{}"),
    ("secret", "schema_registry", "basic.auth.user.info", "user:{}"),
    ("file", "schema_registry", "proxy", "http://user:{}@127.0.0.1:1"),
    ("secret", "schema_registry", "bearer.auth.client.secret", "{}"),
]
PLANTED = "planted-in-place"
MAPPING = {"encoding": "avro", "stream": "stream", "timestamp": "at", "embedding": "vector"}


def plant(config: Path, token_endpoint: str) -> dict[str, str]:
    """Plant a secret in each place; return the variables of the environment."""
    tree = yaml.safe_load(config.read_text())
    registry = {
        "url": "http://127.0.0.1:1",
        "bearer.auth.credentials.source": "OAUTHBEARER",
        "bearer.auth.issuer.endpoint.url": token_endpoint,
        **dict.fromkeys((f"bearer.auth.{name}" for name in ("client.id", "scope", "logical.cluster")), "x"),
    }
    tree |= {"inputs": {EVENTS_TOPIC: MAPPING}, "schema_registry": registry}
    secrets = config.parent / "secrets"
    secrets.mkdir()
    environ = {**environment(), "DRIFTGAUGE_SECRETS_DIR": str(secrets)}
    for number, (given, section, name, text) in enumerate(PLACES):
        value = text.format(f"{PLANTED}-{number}")
        if given == "file":
            tree[section][name] = value
        elif given == "variable":
            environ[f"DRIFTGAUGE_{section}__{name.replace('.', '_')}".upper()] = value
        else:
            (secrets / f"{section}__{name}").write_text(value)
    config.write_text(yaml.safe_dump(tree))
    return environ


def places_in(text: str) -> list[tuple[str, str, str, str]]:
    """Return the places whose secret a text shows."""
    return [place for number, place in enumerate(PLACES) if f"{PLANTED}-{number}" in text]


def read_first(broker: EmbeddedBroker, topic: str) -> bytes:
    """Return the values of the first records of a topic, up to one that says what holds up the replica."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "unused"})
    consumer.assign([TopicPartition(topic, index, OFFSET_BEGINNING) for index in range(4)])
    values = b""

    def has_read() -> bool:
        nonlocal values
        values += b"".join(each.value() or b"" for each in consumer.consume(10, 1.0) if each.error() is None)
        return b"blocked\x81" in values

    wait_for("a heartbeat with a blocked partition", has_read, within_s=60.0)
    consumer.close()
    return values


@pytest.fixture
def broker():
    with EmbeddedBroker(TOPICS) as broker:
        yield broker


@pytest.fixture
def token_endpoint():
    """An endpoint that refuses each login, and quotes the secrets of all places."""
    secrets = " ".join(f"{PLANTED}-{number}" for number in range(len(PLACES)))
    refusal = json.dumps({"error": "invalid_client", "error_description": secrets})
    with serve_answers(lambda *_: (401, refusal.encode())) as url:
        yield url


def test_planted_secret_shows_nowhere(tmp_path, broker, token_endpoint):
    save_baseline(tmp_path)
    config = tmp_path / "driftgauge.yaml"
    stream: dict[str, object] = {"name": "images", "baseline": "images.safetensors", "windows": ["1h"]}
    kafka = write_config(config, bootstrap=broker.bootstrap, streams=[stream])
    environ = plant(config, token_endpoint)

    def run(*words: str, **more: str) -> Completed:
        command = [sys.executable, *DRIFTGAUGE, *words, "--config", str(config)]
        return run_command(*command, env=environ | more)

    checked = run("config", "check", "--json")
    assert checked.returncode == 0, checked.stderr
    masked = json.loads(checked.stdout)["settings"]
    assert [(section, name) for _, section, name, _ in PLACES if "***" not in masked[section][name]] == []
    failed = run("serve", DRIFTGAUGE_HTTP__PORT="none")
    last = json.loads(failed.stderr.splitlines()[-1])
    assert (failed.returncode, last["level"]) == (2, "critical")
    assert "http.port" in last["error"]
    with ReplicaProcess(config, tmp_path / "serve.log", environ) as service:
        producer = client.producer(kafka)
        producer.produce(EVENTS_TOPIC, bytes([0, 0, 0, 0, 1, 0]))
        assert producer.flush(60) == 0
        service.wait_for_log("partitions wait for a schema; nothing is lost, the others go on")
        heartbeats = read_first(broker, "driftgauge.heartbeats")
        shown = service.shown()
        service.stop()
    assert b"schema" in heartbeats
    assert places_in(f"{checked} {failed} {shown} {heartbeats!r} {service.log_tail()}") == []
