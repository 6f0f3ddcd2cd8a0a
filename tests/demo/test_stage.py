import pytest

from driftgauge.config import load_settings
from driftgauge.demo.stage import EVENTS_TOPIC, TOPICS, commit_beginnings, write_config
from driftgauge.kafka import client
from driftgauge.kafka.embedded import EmbeddedBroker
from driftgauge.kafka.state import OffsetState, Progress, Restored

STREAM = {"name": "digits", "baseline": "digits.safetensors", "windows": ["1d"], "idle_timeout": "5s"}


@pytest.fixture
def broker():
    with EmbeddedBroker(TOPICS) as broker:
        yield broker


def test_the_configuration_is_one_that_the_service_takes(tmp_path):
    path = tmp_path / "driftgauge.yaml"
    kafka = write_config(path, bootstrap="127.0.0.1:9092", streams=[STREAM])
    settings = load_settings(path, {})
    assert settings.kafka == kafka
    assert client.property_problems(kafka) == []
    assert kafka["bootstrap.servers"] == "127.0.0.1:9092"
    assert settings.http.port == 0
    assert settings.http.host == "127.0.0.1"
    (stream,) = settings.streams
    assert (stream.name, stream.windows, stream.idle_timeout) == ("digits", (86_400_000,), 5_000)
    assert stream.baseline == tmp_path / "digits.safetensors"
    topics = settings.topics
    assert (*topics.events, topics.windows, topics.dead_letters) == TOPICS


def test_the_configuration_says_what_to_change_for_a_broker_of_ones_own(tmp_path):
    path = tmp_path / "driftgauge.yaml"
    kafka = write_config(path, bootstrap="127.0.0.1:9092", streams=[STREAM])
    comment = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert all(name in " ".join(comment) for name in kafka if name not in {"bootstrap.servers", "group.id"})


def test_the_group_starts_at_the_beginning_of_every_partition(broker, tmp_path):
    kafka = write_config(tmp_path / "a.yaml", bootstrap=broker.bootstrap, streams=[STREAM])
    commit_beginnings(kafka)
    consumer = client.consumer(kafka)
    restored = OffsetState(consumer).restore([(EVENTS_TOPIC, index) for index in range(4)])
    consumer.close()
    assert restored == Restored(tuple(Progress(EVENTS_TOPIC, index, 0, 0) for index in range(4)), {})


def test_what_was_published_before_the_service_came_is_read_from_the_start(broker, tmp_path):
    kafka = write_config(tmp_path / "a.yaml", bootstrap=broker.bootstrap, streams=[STREAM])
    commit_beginnings(kafka)
    producer = client.producer(kafka)
    for number in range(20):
        producer.produce(EVENTS_TOPIC, b"%d" % number)
    assert producer.flush(10) == 0
    consumer = client.consumer(kafka)
    consumer.subscribe([EVENTS_TOPIC])
    values = []
    for _ in range(150):
        messages = consumer.consume(100, 0.1)
        values += [message.value() for message in messages if message.error() is None]
        if len(values) == 20:
            break
    consumer.close()
    assert sorted(map(int, values)) == list(range(20))
