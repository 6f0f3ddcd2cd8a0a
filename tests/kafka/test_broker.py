"""The broker of the tests: crashes, and the messages of failed starts."""

from __future__ import annotations

import stat
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from tests.kafka.broker import Broker
from tests.kafka.fixtures import ExternalCluster
from tests.kafka.jars import BrokerUnavailable, copy_jars, find_java, kafka_version
from tests.kafka.node import PortTakenError

Result = TypeVar("Result")


def retry(ask: Callable[[], Result]) -> Result:
    """Repeats a request while a restarted broker has not yet loaded its partitions and groups."""
    for _ in range(30):
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in {
                KafkaError.NOT_LEADER_FOR_PARTITION,
                KafkaError.NOT_COORDINATOR,
                KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
                KafkaError.COORDINATOR_NOT_AVAILABLE,
            }:
                raise
        time.sleep(1)
    return ask()


@pytest.mark.broker
def test_crash_keeps_address_records_and_offsets(kafka_broker: Broker | ExternalCluster) -> None:
    address = kafka_broker.bootstrap
    topic = f"crash-{uuid.uuid4().hex}"
    partition = TopicPartition(topic, 0)
    producer = Producer({"bootstrap.servers": address})
    producer.produce(topic, b"kept", partition=0)
    assert producer.flush(30) == 0
    consumer = Consumer({"bootstrap.servers": address, "group.id": topic, "enable.auto.commit": False})
    try:
        consumer.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)

        kafka_broker.kill()
        kafka_broker.restart()

        assert kafka_broker.bootstrap == address
        assert retry(lambda: consumer.get_watermark_offsets(partition, timeout=30)) == (0, 1)
        assert retry(lambda: consumer.committed([partition], timeout=30))[0].offset == 1
    finally:
        consumer.close()


@pytest.mark.broker
def test_start_on_taken_port_names_port(kafka_broker: Broker | ExternalCluster) -> None:
    if isinstance(kafka_broker, ExternalCluster):
        pytest.skip("Needs a port on this machine that surely is taken: unset DRIFTGAUGE_TEST_BOOTSTRAP.")
    port = int(kafka_broker.bootstrap.rpartition(":")[2])
    second = Broker(port)
    with pytest.raises(PortTakenError, match=f":{port}"):
        second.start()
    assert not second.running


def test_missing_java_names_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BrokerUnavailable, match=r"needs Java.*apt-get install.*DRIFTGAUGE_TEST_BOOTSTRAP"):
        find_java()


def test_old_java_names_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_script(tmp_path / "bin" / "java", "echo 'openjdk version \"11.0.2\"' >&2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(BrokerUnavailable, match=r"Java 17 or later, and .*bin/java is version \"11\.0\.2\""):
        find_java()


def test_missing_maven_names_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BrokerUnavailable, match=r"no mvn on the PATH.*apt-get install"):
        copy_jars(tmp_path / "libs", kafka_version())


def test_failed_maven_quotes_output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_script(tmp_path / "mvn", "echo 'unknown host'; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        BrokerUnavailable, match=r"(?s)could not fetch.*-Dkafka.version=4.*copy-dependencies.*unknown host"
    ):
        copy_jars(tmp_path / "libs", kafka_version())


def write_script(path: Path, body: str) -> None:
    """Writes a shell script in place of a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
