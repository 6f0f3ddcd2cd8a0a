import socket
from contextlib import suppress

from driftgauge.kafka import client, metadata
from driftgauge.kafka.embedded import EmbeddedBroker


def consume(broker, topic, wanted):
    """Read until `wanted` values have come, or for ten seconds."""
    consumer = client.changelog_consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g"})
    consumer.subscribe([topic])
    values = []
    for _ in range(100):
        values += [record.value() for record in consumer.consume(100, 0.1) if record.error() is None]
        if len(values) >= wanted:
            break
    consumer.close()
    return sorted(values)


def test_what_is_published_is_read_by_a_group():
    with EmbeddedBroker(["events"]) as broker:
        producer = client.producer({"bootstrap.servers": broker.bootstrap})
        values = [b"%03d" % number for number in range(200)]
        for value in values:
            producer.produce("events", value)
        assert producer.flush(10) == 0
        assert consume(broker, "events", len(values)) == values


def test_the_topics_are_there_with_four_partitions_and_on_loopback_only():
    with EmbeddedBroker(["events", "results"]) as broker:
        known = client.admin({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=10)
        assert {name: len(topic.partitions) for name, topic in known.topics.items()} == {
            "events": 4,
            "results": 4,
        }
        assert {server.host for server in known.brokers.values()} == {"127.0.0.1"}


def test_it_announces_itself_to_nobody(capfd):
    with EmbeddedBroker(["events"]):
        pass
    assert capfd.readouterr() == ("", "")


def answers(broker):
    host, port = broker.bootstrap.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_it_ends_with_its_context():
    with EmbeddedBroker(["events"]) as broker:
        assert answers(broker)
    assert not answers(broker)


def test_it_ends_with_its_context_whatever_happens_there():
    with suppress(LookupError), EmbeddedBroker(["events"]) as broker:
        {}["missing"]
    assert not answers(broker)


def test_two_brokers_know_nothing_of_each_other():
    with EmbeddedBroker(["here"]) as one, EmbeddedBroker(["there"]) as other:
        assert one.bootstrap != other.bootstrap
        admin = client.admin({"bootstrap.servers": other.bootstrap})
        assert metadata.missing_topics(admin, ["here", "there"]) == ["here"]
