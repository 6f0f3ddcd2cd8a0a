"""Kafka's clients: which properties each gets, the problems of properties, and what is logged."""

import logging
from functools import partial

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_STORED,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from deploy.demo.broker import EmbeddedBroker

from driftgauge.kafka import client
from driftgauge.kafka.client_log import LostConnections
from tests.waiting import wait_for

transactional_producer = partial(client.transactional_producer, transactional_id="a", on_error=lambda _: None)
member = partial(client.consumer, group="g")
CLIENTS = (
    member,
    client.groupless_consumer,
    client.producer,
    transactional_producer,
    client.admin,
)
UNUSED = "127.0.0.1:1"
CONSUMERS = (member, client.groupless_consumer)
# Properties of one kind of client only that operators are likely to set.
ONE_SIDED = {
    "acks": "all",
    "auto.commit.interval.ms": 1_000,
    "auto.offset.reset": "error",
    "batch.size": 100_000,
    "check.crcs": True,
    "compression.type": "lz4",
    "coordinator.query.interval.ms": 60_000,
    "delivery.timeout.ms": 9_000,
    "fetch.max.bytes": 10_000_000,
    "fetch.wait.max.ms": 50,
    "group.instance.id": "a",
    "heartbeat.interval.ms": 1_000,
    "linger.ms": 5,
    "max.partition.fetch.bytes": 1_000_000,
    "max.poll.interval.ms": 300_000,
    "message.send.max.retries": 3,
    "message.timeout.ms": 9_000,
    "partitioner": "murmur2",
    "queue.buffering.backpressure.threshold": 1,
    "queue.buffering.max.messages": 1_000,
    "queued.min.messages": 1_000,
    "request.required.acks": -1,
    "request.timeout.ms": 10_000,
    "retries": 3,
    "session.timeout.ms": 6_000,
    "sticky.partitioning.linger.ms": 10,
    "transaction.timeout.ms": 10_000,
}


@pytest.fixture(scope="module")
def broker():
    with EmbeddedBroker(["here", "there"]) as broker:
        yield broker


@pytest.mark.parametrize("make", CLIENTS)
@pytest.mark.parametrize("name", ONE_SIDED)
def test_shared_section_causes_no_warnings_in_any_client(make, name, caplog):
    instance = make(
        {
            "bootstrap.servers": UNUSED,
            "group.id": "g",
            "session.timeout.ms": 13_000,
            name: ONE_SIDED[name],
        }
    )
    instance.poll(0)
    if make in CONSUMERS:
        instance.close()
    assert [line for line in caplog.messages if "CONFWARN" in line] == []


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        *((make, "fetch.min.bytes") for make in CONSUMERS),
        (client.producer, "acks"),
        (transactional_producer, "acks"),
    ],
)
def test_client_gets_properties_of_its_kind(make, wrong):
    # The client refuses a value out of range, which shows that it got the property.
    with pytest.raises(KafkaException):
        make({"bootstrap.servers": UNUSED, "group.id": "g", wrong: -1_000_000})


def test_admin_client_gets_no_properties_of_producers():
    # The client would refuse the value, as above.
    properties = {"bootstrap.servers": UNUSED, "group.id": "g", "acks": -1_000_000}
    assert isinstance(client.admin(properties), AdminClient)


def test_configuration_cannot_override_fixed_properties(broker):
    wrong = {"enable.auto.commit": True, "enable.partition.eof": False, "auto.offset.reset": "earliest"}
    properties = {"bootstrap.servers": broker.bootstrap, "group.id": "own", **wrong}
    producer = client.producer(properties)
    producer.produce("here", b"x", partition=0)
    assert producer.flush(10) == 0

    def read(offset, number):
        consumer, found = client.consumer(properties, "own"), []
        consumer.assign([TopicPartition("here", 0, offset)])
        wait_for("messages", lambda: found.extend(consumer.consume(1, 1.0)) or len(found) == number)
        consumer.close()
        return [message.error() and message.error().code() for message in found]

    assert read(OFFSET_BEGINNING, 2) == [None, KafkaError._PARTITION_EOF]
    # Without a committed offset the client reports an unknown position rather than start at the first.
    assert read(OFFSET_STORED, 1) == [KafkaError._AUTO_OFFSET_RESET], "leaving has committed nothing"


def test_records_without_key_are_spread_evenly_over_partitions(broker):
    producer = client.producer({"bootstrap.servers": broker.bootstrap})
    # Records queued before the topic is known are partitioned by other rules.
    producer.produce("there", b"x")
    assert producer.flush(10) == 0
    partitions = []
    for _ in range(200):
        producer.produce("there", b"x", on_delivery=lambda _, message: partitions.append(message.partition()))
    assert producer.flush(10) == 0
    assert all(20 < partitions.count(index) < 80 for index in range(4))


VALID = {"bootstrap.servers": "localhost:9092", "group.id": "g"}


def test_each_wrong_property_is_listed_by_name_on_one_line_and_hides_conflicts():
    wrong = {"acks": 5_000, "fetch.wait.max.ms": -5, "linger.ms": "soon", "no.such.property": 1}
    problems = client.property_problems({**VALID, **wrong, "max.in.flight": 50})
    assert [problem.split(": ")[0] for problem in problems] == [f"kafka.{name}" for name in wrong]
    assert all(problem == problem.strip() and "\n" not in problem for problem in problems)
    assert "No such configuration property" in problems[-1]


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("sasl.passwordd", {}),
        ("ssl.key.pasword.pem", {}),
        ("sasl.oauthbearer.client.secrett", {}),
        ("sasl.jaas.config", {}),
        ("ssl.key.pem", {**VALID, "security.protocol": "SSL"}),
    ],
)
def test_problem_does_not_quote_secret(name, others):
    (problem,) = client.property_problems({**others, name: "hunter2"})
    assert name in problem
    assert "hunter2" not in problem


# The protocol alone implies Kerberos, which the client library is built without.
SASL = {"sasl.username": "u", "sasl.password": "p"}


@pytest.mark.parametrize(
    "valid",
    [
        ONE_SIDED,
        {"session.timeout.ms": 400_000, "max.poll.interval.ms": 600_000},
        {"security.protocol": "SASL_SSL", "sasl.mechanisms": "PLAIN", **SASL},
        {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "PLAIN", **SASL},
        {"security.protocol": "SASL_SSL", "sasl.mechanisms": "SCRAM-SHA-512", **SASL},
    ],
)
def test_valid_properties_have_no_problems(valid, capfd):
    assert client.property_problems({**VALID, **valid}) == []
    assert capfd.readouterr().err == "", "librdkafka writes past the logs"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"session.timeout.ms": 400_000}, "max.poll.interval.ms"),
        ({"max.poll.interval.ms": 5_000}, "session.timeout.ms"),  # below driftgauge's own default
        ({"acks": 1}, "enable.idempotence"),
        ({"max.in.flight": 50}, "enable.idempotence"),
        # Below driftgauge's own default for transactions.
        ({"message.timeout.ms": 60_000}, "transaction.timeout.ms"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanisms": "PLAIN"}, "sasl.username"),
        ({"security.protocol": "SSL", "ssl.key.location": "/no/such"}, "location: /no/such cannot be read"),
        ({"security.protocol": "SSL", "ssl.key.location": "/" + 300 * "x"}, "cannot be read"),
        # librdkafka looks for the file itself.
        (
            {"security.protocol": "SASL_SSL", "sasl.mechanisms": "PLAIN", "ssl.ca.location": "probe"},
            "sasl.username",
        ),
    ],
)
def test_conflicting_properties_are_one_problem_that_names_them(wrong, words):
    (problem,) = client.property_problems({**VALID, **wrong})
    assert problem.startswith("kafka")
    assert words in problem
    assert "Failed to create" not in problem


@pytest.mark.parametrize("name", ["transaction.timeout.ms", "compression.type"])
def test_configuration_overrides_transaction_defaults(name):
    valid = {"transaction.timeout.ms": 60_000, "compression.type": "zstd"}[name]
    properties = {"bootstrap.servers": UNUSED, "group.id": "g"}
    assert isinstance(transactional_producer({**properties, name: valid}), Producer)
    with pytest.raises(KafkaException):
        transactional_producer({**properties, name: "-1"})


def test_repeated_librdkafka_line_is_logged_once_per_minute():
    log = logging.getLogger("librdkafka")

    def passes(text, at_s):
        record = log.makeRecord(log.name, logging.ERROR, "", 0, text, (), None)
        record.created = at_s
        return bool(log.filter(record))

    failing = "FAIL [driftgauge#consumer-1] [thrd:b:9/1]: Connect failed (after {}ms in state CONNECT)"
    assert passes(failing.format(0), 1_000.0)
    # An outage makes new clients every few seconds.
    assert not passes(failing.format(7).replace("consumer-1", "consumer-2"), 1_059.0)
    assert passes(failing.replace("b:9/1", "b:9/2").format(0), 1_059.0), "another broker"
    assert passes(failing.format(0), 1_060.0)


def test_defaults_outlast_the_failover_of_a_broker():
    """KRaft declares a broker dead after 9 s and replaces it within 1 or 2 s more."""
    defaults = {**client._CONSUMER_DEFAULTS, **client._TRANSACTION_DEFAULTS}
    failover_ms = 11_000
    assert defaults["session.timeout.ms"] - defaults["heartbeat.interval.ms"] >= failover_ms
    # A record expires with its transaction, unless message.timeout.ms is shorter.
    assert failover_ms < defaults["transaction.timeout.ms"]
    assert "message.timeout.ms" not in defaults
    assert 2 * defaults["socket.timeout.ms"] <= defaults["transaction.timeout.ms"]
    assert defaults["topic.metadata.refresh.interval.ms"] < 30_000


@pytest.mark.parametrize(
    ("line", "is_lost"),
    [
        ("FAIL [d#producer-91] [thrd:b:9/1]: b:9/1: Disconnected (after 111ms in state UP)", True),
        ("FAIL [d#producer-92] [thrd:c:9/1]: c:9/1: 1 request(s) timed out: disconnect (in state UP)", True),
        ("FAIL [d#producer-93] [thrd:e:9/1]: e:9/1: Connect failed (after 0ms in state CONNECT)", False),
        ("GETPID [d#producer-94] [thrd:main]: retrying in state UP", False),
    ],
)
def test_lost_connection_is_reported_and_its_line_logged(line, is_lost, caplog):
    errors = []
    watch = LostConnections(errors.append)
    logging.getLogger("librdkafka").setLevel(logging.INFO)
    watch.log(logging.INFO, "%s %s", *line.split(" ", 1))
    assert [error.code() for error in errors] == [KafkaError._TRANSPORT] * is_lost
    assert caplog.messages == [line]
