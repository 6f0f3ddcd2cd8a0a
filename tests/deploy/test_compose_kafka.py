"""The compose stack's broker: its variables, read by Kafka's own code and used by a running broker."""

import os
import shlex
import subprocess
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from driftgauge.kafka import client
from tests.deploy.stack import SERVICES
from tests.harness.jars import BrokerUnavailable, fetch_jars, find_java
from tests.harness.node import LOG4J, free_ports
from tests.needed import skip_or_fail
from tests.waiting import wait_for

KAFKA_START_S = 60.0


@pytest.fixture
def broker(tmp_path) -> Iterator[str]:
    """The address of a broker configured from the stack's variables by the image's own code."""
    try:
        java = [find_java(), "-Xmx256m", f"-Dlog4j2.configurationFile={LOG4J}", "-cp", f"{fetch_jars()}/*"]
    except BrokerUnavailable as error:
        skip_or_fail(str(error))
    port, controller = free_ports(2)
    place = {
        "://:9092": f"://127.0.0.1:{port}",
        "kafka:9092": f"127.0.0.1:{port}",
        "localhost:9093": f"127.0.0.1:{controller}",
        "/var/lib/kafka/data": str(tmp_path / "data"),
    }
    variables = {}
    for name, value in SERVICES["kafka"]["environment"].items():
        text = str(value)
        for there, here in place.items():
            text = text.replace(there, here)
        variables[name] = text
    for folder in ("default", "mounted", "final"):
        (tmp_path / folder).mkdir()
    # The image has Kafka's own files there; only the server's properties matter here.
    for name in ("log4j2.yaml", "tools-log4j2.yaml"):
        (tmp_path / "default" / name).write_text(
            "Configuration: {Appenders: {}, Loggers: {Root: {level: INFO}, Logger: []}}"
        )
    (tmp_path / "default/server.properties").write_text("node.id=7\n")
    setup = "kafka.docker.KafkaDockerWrapper setup -D default -M mounted -F final"
    subprocess.run(
        [*java, *shlex.split(setup)],
        cwd=tmp_path,
        env={**os.environ, **variables},
        check=True,
        capture_output=True,
        timeout=KAFKA_START_S,
    )
    with (tmp_path / "kafka.log").open("wb") as log:
        process = subprocess.Popen(
            [*java, "kafka.Kafka", "final/server.properties"],
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def succeeds(ask):
    """Whether a call to Kafka succeeds; it may fail while the broker starts."""
    try:
        ask()
    except KafkaException:
        return False
    return True


@pytest.mark.broker
def test_kafka_starts_from_compose_variables_with_groups_and_transactions(broker, tmp_path):
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    wait_for("the broker", lambda: succeeds(lambda: admin.list_topics(timeout=2)))
    assert admin.list_topics(timeout=2).cluster_id == SERVICES["kafka"]["environment"]["CLUSTER_ID"]
    assert (tmp_path / "data/meta.properties").is_file()
    # Both need internal topics, which one node can hold only with replication factor 1.
    properties = {"bootstrap.servers": broker}
    producer = client.transactional_producer(properties, "t", lambda _: None)
    consumer = client.consumer(properties, "g")
    wait_for("transactions", lambda: succeeds(lambda: producer.init_transactions(5)))
    asked = [TopicPartition("embeddings", 0)]
    wait_for("the group", lambda: succeeds(lambda: consumer.committed(asked, timeout=5)))
    consumer.close()
    assert {"__transaction_state", "__consumer_offsets"} <= admin.list_topics(timeout=10).topics.keys()
