"""The reader of window results without a broker: failures that it reports, and brokers that hang."""

import logging
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from functools import partial
from itertools import islice
from types import SimpleNamespace
from unittest.mock import Mock

import orjson
import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from driftgauge.events.records import StoredRecord
from driftgauge.events.timestamps import format_timestamp
from driftgauge.kafka import client
from driftgauge.kafka.login import Login
from driftgauge.page.marks import Marks
from driftgauge.page.results import Results
from driftgauge.page.service_watch import ServiceWatch
from driftgauge.page.site import Site
from driftgauge.telemetry.logs import extra_fields
from driftgauge.topics import follower
from driftgauge.topics.follower import TopicFollower
from driftgauge.watchdog import Pulse
from driftgauge.web.endpoints import metrics_route
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.messages import FakeMessage
from tests.builders.page import build_settings, get, record_tree
from tests.builders.telemetry import build_telemetry
from tests.harness.registry_server import serve_routes

TOPIC = "driftgauge.windows"
TIMEOUT_S = 60
LEADERLESS = SimpleNamespace(partition=1, offset=-1001, error=KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
DENIED = KafkaError.TOPIC_AUTHORIZATION_FAILED


def record(offset, value=b"1"):
    return FakeMessage(value, topic=TOPIC, offset=offset)


def failed(code, partition=0):
    return FakeMessage(topic=TOPIC, partition=partition, error=KafkaError(code))


class ScriptedTopic:
    """Consumers of a topic whose polls are scripted, a minute apart, each as a list of messages.

    Attributes:
        partitions: How many partitions the topic has, request by request (a look at a missing
            topic takes two); the last holds on.
        errors: The reader's error at each poll and each look at the partitions.
        starts: The offsets that each consumer begins at.
        has_pulse: Whether its clients show a pulse.
        leaderless: The partition without an answer when offsets are first asked for.
    """

    def __init__(self, clock):
        self._clock = clock
        self.partitions = [2]
        self.errors = []
        self.starts = []
        self.received = []
        self._polls = iter(())
        self._is_over = threading.Event()
        self.has_pulse = True
        self.leaderless = None

    def connect(self, properties, beat, *, goes_on):
        assert goes_on, "where retention has passed the position, the earliest record follows"
        self._beat = beat
        return self

    def receive(self, record):
        if record.value() == b"broken":
            message = "a mistake"
            raise RuntimeError(message)
        if record.value() == b"foreign":
            message = f"not a window result: {record.offset()}"
            raise ValueError(message)
        self.received.append(record.offset())

    def read(self, reader, *polls):
        """Let a reader go through these polls."""
        self._reader, self._polls = reader, iter(polls)
        reader.start()
        try:
            assert self._is_over.wait(TIMEOUT_S)
            assert reader.is_alive
        finally:
            reader.stop()
        assert not reader.is_alive

    def poll(self, timeout_s):
        pass

    def list_topics(self, timeout):
        self.errors.append(self._reader.error)
        number = self.partitions.pop(0) if len(self.partitions) > 1 else self.partitions[0]
        known = {TOPIC: SimpleNamespace(partitions=range(number), error=None)} if number else {}
        return SimpleNamespace(topics=known, controller_id=1, brokers={1: None})

    def describe_topics(self, topics, request_timeout):
        answer = Future()
        answer.set_exception(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)))
        return {TOPIC: answer}

    def offsets_for_times(self, asked, timeout):
        leaderless, self.leaderless = self.leaderless, None
        found = [TopicPartition(each.topic, each.partition, 0) for each in asked]
        return [LEADERLESS if each.partition == leaderless else each for each in found]

    def incremental_assign(self, partitions):
        self.starts.append([each.offset for each in partitions])

    def consume(self, number, timeout_s):
        self.errors.append(self._reader.error)
        self._clock.advance(60)
        if self.has_pulse:
            self._beat()
        messages = next(self._polls, None)
        if messages is None:
            self._is_over.set()
            threading.Event().wait(timeout_s)
            return []
        return messages

    def close(self):
        pass


@pytest.fixture
def topic(monkeypatch, clock):
    topic = ScriptedTopic(clock)
    monkeypatch.setattr(client, "groupless_consumer", topic.connect)
    monkeypatch.setattr(client, "admin", lambda *_, **__: topic)
    return topic


@pytest.fixture
def reader(topic, clock):
    return TopicFollower(Login({}), TOPIC, topic.receive, clock.clock, history_ms=0)


@pytest.fixture
def pauses(reader, monkeypatch):
    """The pauses that the reader makes, which take no time."""
    pauses = []
    monkeypatch.setattr(reader._stopping, "wait", pauses.append)
    return pauses


@pytest.mark.parametrize(
    ("changes", "polls"),
    [
        # A first poll is often empty, and the next one brings the error, of any partition.
        pytest.param(
            {},
            [poll for number in range(7) for poll in ([], [failed(DENIED, number % 2)])],
            id="a lasting error is told once and stays",
        ),
        pytest.param(
            {},
            [[failed(DENIED)], [failed(DENIED)], [record(5)], [], [failed(DENIED)]],
            id="a record ends an error",
        ),
        pytest.param(
            {},
            [[failed(DENIED)], [], [failed(KafkaError._PARTITION_EOF)], []],
            id="the end of a partition ends an error",
        ),
        pytest.param(
            {"partitions": [2, *[0] * 4, 2]},
            [[record(7)], [], [record(0)]],
            id="a deleted topic is read from its start once it exists",
        ),
        # The other follows at the next refresh.
        pytest.param(
            {"leaderless": 1}, [[record(7)], []], id="a partition without a leader keeps no other waiting"
        ),
        pytest.param(
            {},
            [[record(3), record(4, b"broken"), record(5)], [record(5), record(6)]],
            id="the reader goes on after its own failure",
        ),
        pytest.param(
            {},
            [[record(offset, b"foreign") for offset in range(5)], [record(5)]],
            id="records of others are logged once a minute",
        ),
    ],
)
def test_reader_goes_on(topic, reader, pauses, caplog, changes, polls, snapshot):
    for name, value in changes.items():
        setattr(topic, name, value)
    topic.read(reader, *polls)
    warned = [
        (extra_fields(each), bool(each.exc_info)) for each in caplog.records if each.levelno > logging.INFO
    ]
    assert {
        "received": topic.received,
        "starts": topic.starts,
        "pauses": pauses,
        "warned": warned,
        "errors": list(dict.fromkeys(topic.errors)),
        "error at the end": reader.error,
    } == snapshot


def test_client_that_does_not_close_is_left_behind(topic, reader, pauses, monkeypatch):
    monkeypatch.setattr(follower, "_CLOSE_S", 0.01)
    monkeypatch.setattr(topic, "close", threading.Event().wait)
    topic.read(reader, [record(5, b"broken")], [record(6)])
    assert topic.received == [6]


def test_changed_secret_makes_a_new_client_that_goes_on(topic, clock):
    login = Login({}, lambda: {"client.id": "before" if len(topic.errors) < 3 else "after"})
    reader = TopicFollower(login, TOPIC, topic.receive, clock.clock, history_ms=0)
    topic.read(reader, [record(5)], [], [])
    assert topic.starts == [[0, 0], [6, 0]]


def test_process_ends_where_the_client_shows_no_pulse(topic, reader, monkeypatch):
    ends = []
    monkeypatch.setattr(follower, "Pulse", partial(Pulse, end=lambda *_, **about: ends.append(about)))
    monkeypatch.setattr(topic, "connect", lambda *_, **__: topic)
    topic.has_pulse = False
    topic.read(reader, [record(5)], [], [])
    assert {about["client"] for about in ends} == {f"the reader of {TOPIC}"}


REQUESTS = 50
MOST_FETCHES = 8
VALUES = [orjson.dumps(record_tree(number)) for number in range(REQUESTS)]


@pytest.fixture
def released(monkeypatch):
    """Once this event is set, brokers answer the reads of a topic."""
    released = threading.Event()
    consumer = Mock(**{"get_watermark_offsets.return_value": (0, REQUESTS)})

    def consume(number, timeout_s):
        assert released.wait(TIMEOUT_S)
        (((at,),), _) = consumer.assign.call_args
        return [FakeMessage(VALUES[at.offset], topic=TOPIC, offset=at.offset)]

    consumer.consume = consume
    monkeypatch.setattr(client, "groupless_consumer", lambda *_, **__: consumer)
    return released


@pytest.fixture
def results(clock):
    """The results of 50 hours, none of which is in memory."""
    results = Results({"resnet18-fc1"}, REQUESTS)
    results.source = TopicFollower(Login({}), TOPIC, results.receive, clock.clock, history_ms=0)
    for number, value in enumerate(VALUES):
        results.receive(StoredRecord(value, stored_offset=number, stored_ms=MONDAY_MS))
    return results


@pytest.fixture
def server(results, clock):
    site = Site(results, build_settings(), clock.clock.wall_ms, Marks(), ServiceWatch())
    with serve_routes([metrics_route(build_telemetry().registry), *site.routes()]) as server:
        yield server


def test_reads_that_hang_leave_threads_for_other_requests(released, server):
    starts = [format_timestamp(MONDAY_MS + number * HOUR_MS) for number in range(REQUESTS)]
    with ThreadPoolExecutor(REQUESTS) as pool:
        asked = [
            pool.submit(get, server, f"/api/v1/window?stream=resnet18-fc1&at={start}") for start in starts
        ]
        ended = as_completed(asked, TIMEOUT_S)
        refused = [each.result()[1] for each in islice(ended, REQUESTS - MOST_FETCHES)]
        assert get(server, "/metrics")[0].status == 200
        assert sum(each.done() for each in asked) == len(refused)
        released.set()
    assert all("8 other reads wait for the brokers; try again" in body for body in refused)
    statuses = Counter(each.result()[0].status for each in asked)
    assert statuses == {503: REQUESTS - MOST_FETCHES, 200: MOST_FETCHES}
    assert get(server, f"/api/v1/window?stream=resnet18-fc1&at={MONDAY_MS}")[0].status == 200
