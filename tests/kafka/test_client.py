import logging
import socket
from functools import partial

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from deploy.demo.embedded_broker import EmbeddedBroker

from driftgauge.kafka import client
from driftgauge.kafka.client_log import ConnectionWatch
from tests.kafka.parts import Lines

transactional_producer = partial(client.transactional_producer, transactional_id="a", on_error=lambda _: None)
member = partial(client.consumer, group="g")
CLIENTS = (
    member,
    client.changelog_consumer,
    client.producer,
    transactional_producer,
    client.admin,
)
CONSUMERS = (member, client.changelog_consumer)
# Of those that one kind of client has and another has not, what operators may well set.
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


@pytest.fixture
def unused():
    """Return the address of a port that nobody listens on, bound so that it stays so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def said():
    """Return what librdkafka's logger is told."""
    logger, handler = logging.getLogger("librdkafka"), Lines()
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)


@pytest.fixture(scope="module")
def broker():
    with EmbeddedBroker(["here", "there", "table"]) as broker:
        yield broker


@pytest.mark.parametrize("make", CLIENTS)
@pytest.mark.parametrize("name", ONE_SIDED)
def test_one_section_serves_every_kind_of_client_and_none_is_warned_of_the_others_properties(
    make, name, unused, said
):
    made = make(
        {"bootstrap.servers": unused, "group.id": "g", "session.timeout.ms": 13_000, name: ONE_SIDED[name]}
    )
    made.poll(0)
    if make in CONSUMERS:
        made.close()
    assert [line for line in said if "CONFWARN" in line] == []


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        *((make, "fetch.min.bytes") for make in CONSUMERS),
        (client.producer, "acks"),
        (transactional_producer, "acks"),
    ],
)
def test_a_client_is_given_the_properties_of_its_kind(make, wrong, unused):
    # A value out of range is refused, so the property has arrived.
    with pytest.raises(KafkaException):
        make({"bootstrap.servers": unused, "group.id": "g", wrong: -1_000_000})


@pytest.mark.parametrize(
    ("make", "kind", "wrong"),
    [
        *((make, Consumer, "acks") for make in CONSUMERS),
        (client.producer, Producer, "fetch.min.bytes"),
        (transactional_producer, Producer, "fetch.min.bytes"),
        (client.admin, AdminClient, "acks"),
    ],
)
def test_a_client_is_not_given_the_properties_of_another_kind(make, kind, wrong, unused):
    # It would be refused, as above.
    made = make({"bootstrap.servers": unused, "group.id": "g", wrong: -1_000_000})
    assert isinstance(made, kind)
    if kind is Consumer:
        made.close()


def test_what_correctness_rests_on_cannot_be_set_from_outside(broker):
    properties = {"bootstrap.servers": broker.bootstrap, "group.id": "own", "enable.auto.commit": True}
    consumer = client.consumer(
        {**properties, "enable.partition.eof": False, "auto.offset.reset": "earliest"}, "own"
    )
    consumer.subscribe(["here"])
    notices = []
    for _ in range(100):
        notices += consumer.consume(10, 0.1)
        if notices:
            break
    consumer.close()
    # Without an offset of the group's its position is told to be unknown, and not taken to be the first.
    assert {notice.error().code() for notice in notices} == {KafkaError._AUTO_OFFSET_RESET}
    reader = client.consumer(properties, "own")
    partitions = [TopicPartition("here", notices[0].partition())]
    assert reader.committed(partitions, timeout=10)[0].offset < 0, "leaving has committed nothing"
    reader.close()


def test_records_without_a_key_are_spread_over_the_partitions_one_by_one(broker):
    producer = client.producer({"bootstrap.servers": broker.bootstrap})
    # What waits for the topic to be known goes out by other rules.
    producer.produce("there", b"x")
    assert producer.flush(10) == 0
    partitions = []
    for _ in range(200):
        producer.produce("there", b"x", on_delivery=lambda _, message: partitions.append(message.partition()))
    assert producer.flush(10) == 0
    assert all(20 < partitions.count(index) < 80 for index in range(4))


def test_sound_properties_have_no_problems(capfd):
    assert (
        client.property_problems({"bootstrap.servers": "localhost:9092", "group.id": "g", **ONE_SIDED}) == []
    )
    assert capfd.readouterr().err == "", "librdkafka writes past the logs"


def test_every_wrong_property_is_listed_with_its_name_and_on_one_line():
    wrong = {"acks": 5_000, "fetch.wait.max.ms": -5, "linger.ms": "soon", "no.such.property": 1}
    problems = client.property_problems({"bootstrap.servers": "localhost:9092", **wrong, "group.id": "g"})
    assert [problem.split(": ")[0] for problem in problems] == [f"kafka.{name}" for name in wrong]
    assert all(problem == problem.strip() and "\n" not in problem for problem in problems)
    assert "No such configuration property" in problems[-1]


@pytest.mark.parametrize(
    "name", ["sasl.passwordd", "ssl.key.pasword.pem", "sasl.oauthbearer.client.secrett", "sasl.jaas.config"]
)
def test_a_problem_with_a_secret_quotes_nothing_of_it(name):
    (problem,) = client.property_problems({name: "hunter2"})
    assert problem.startswith(f"kafka.{name}: ")
    assert "hunter2" not in problem


def test_changelog_is_read_from_beginning_to_end_without_a_group(broker):
    properties = {"bootstrap.servers": broker.bootstrap, "group.id": "own"}
    producer = client.producer(properties)
    for number in range(3):
        producer.produce("table", b"%d" % number, partition=0)
    assert producer.flush(10) == 0
    reader = client.changelog_consumer(
        {**properties, "enable.partition.eof": False, "auto.offset.reset": "error"}
    )
    reader.assign([TopicPartition("table", 0, OFFSET_BEGINNING)])
    messages = []
    for _ in range(100):
        messages += reader.consume(10, 0.1)
        if len(messages) == 4:
            break
    assert reader.memberid() is None
    reader.close()
    assert [message.value() for message in messages[:3]] == [b"0", b"1", b"2"]
    assert messages[3].error().code() == KafkaError._PARTITION_EOF


@pytest.mark.parametrize("name", ["transaction.timeout.ms", "compression.type"])
def test_what_transactions_begin_with_can_be_set_otherwise(name, unused):
    sound = {"transaction.timeout.ms": 60_000, "compression.type": "zstd"}[name]
    properties = {"bootstrap.servers": unused, "group.id": "g"}
    assert isinstance(transactional_producer({**properties, name: sound}), Producer)
    with pytest.raises(KafkaException):
        transactional_producer({**properties, name: "-1"})


def test_a_complaint_of_the_client_library_passes_once_a_minute():
    log = logging.getLogger("librdkafka")

    def passes(text, at_s):
        record = log.makeRecord(log.name, logging.ERROR, "", 0, text, (), None)
        record.created = at_s
        return bool(log.filter(record))

    failing = "FAIL [driftgauge#consumer-1] [thrd:b:9/1]: Connect failed (after {}ms in state CONNECT)"
    assert passes(failing.format(0), 1_000.0)
    assert not passes(failing.format(7), 1_059.0)
    assert passes(failing.replace("b:9/1", "b:9/2").format(0), 1_059.0), "another broker"
    assert passes(failing.format(0), 1_060.0)


def test_consumer_is_of_the_group_it_is_asked_for(broker):
    consumer = client.consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g"}, "g.windows")
    consumer.subscribe(["here"])
    for _ in range(100):
        consumer.poll(0.1)
        if consumer.assignment():
            break
    # The group's id begins what a member says of itself.
    assert b"g.windows" in consumer.consumer_group_metadata()
    assert len(consumer.assignment()) == 4
    consumer.close()


def test_defaults_outlast_the_failover_of_a_broker():
    """A broker is declared dead after 9 s, and its successor found within 1 or 2 more."""
    defaults = {**client._CONSUMER_DEFAULTS, **client._TRANSACTION_DEFAULTS}
    failover_ms = 11_000
    assert defaults["session.timeout.ms"] - defaults["heartbeat.interval.ms"] >= failover_ms
    # A record is given up with its transaction, unless it is told to be earlier.
    assert failover_ms < defaults["transaction.timeout.ms"]
    assert "message.timeout.ms" not in defaults
    assert 2 * defaults["socket.timeout.ms"] <= defaults["transaction.timeout.ms"]
    assert defaults["topic.metadata.refresh.interval.ms"] < 30_000


@pytest.mark.parametrize(
    ("line", "is_lost"),
    [
        ("FAIL [d#producer-91] [thrd:b:9/1]: b:9/1: Disconnected (after 111ms in state UP)", True),
        ("FAIL [d#producer-92] [thrd:b:9/1]: b:9/1: 1 request(s) timed out: disconnect (in state UP)", True),
        ("FAIL [d#producer-93] [thrd:b:9/1]: b:9/1: Connect failed (after 0ms in state CONNECT)", False),
        ("GETPID [d#producer-94] [thrd:main]: retrying in state UP", False),
    ],
)
def test_lost_connection_is_read_from_the_log_and_the_line_passed_on(line, is_lost, said):
    heard = []
    watching = ConnectionWatch(heard.append)
    logging.getLogger("librdkafka").setLevel(logging.INFO)
    watching.log(logging.INFO, "%s %s", *line.split(" ", 1))
    assert [error.code() for error in heard] == [KafkaError._TRANSPORT] * is_lost
    assert said == [line]
