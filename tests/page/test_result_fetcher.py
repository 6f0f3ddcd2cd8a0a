"""Tests of `driftgauge.page.result_fetcher` without a broker: what page requests meet while brokers hang."""

import json
import queue
import threading

import orjson
import pytest

from driftgauge.events.records import StoredRecord
from driftgauge.events.timestamps import format_timestamp
from driftgauge.kafka import client
from driftgauge.kafka.login import Login
from driftgauge.page.marks import Marks
from driftgauge.page.results import Results
from driftgauge.page.service_watch import ServiceWatch
from driftgauge.page.site import Site
from driftgauge.page.topic_reader import TopicReader
from driftgauge.telemetry.endpoints import metrics_route
from driftgauge.telemetry.server import HttpServer
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.messages import FakeMessage
from tests.builders.page import build_settings, get, record_tree
from tests.builders.telemetry import build_telemetry

TOPIC = "driftgauge.windows"
TIMEOUT_S = 60
REQUESTS = 50
MOST_FETCHES = 8
VALUES = [orjson.dumps(record_tree(number)) for number in range(REQUESTS)]


class HangingConsumer:
    """A consumer whose brokers answer once they are released."""

    def __init__(self):
        self.released = threading.Event()

    def get_watermark_offsets(self, at, timeout):
        assert self.released.wait(TIMEOUT_S)
        return 0, REQUESTS

    def assign(self, partitions):
        (self._at,) = partitions

    def consume(self, number, timeout_s):
        return [FakeMessage(VALUES[self._at.offset], topic=TOPIC, offset=self._at.offset)]

    def close(self):
        pass


@pytest.fixture
def consumer(monkeypatch):
    consumer = HangingConsumer()
    monkeypatch.setattr(client, "range_consumer", lambda _: consumer)
    yield consumer
    consumer.released.set()


@pytest.fixture
def results(consumer, clock):
    """The results of 50 hours, none of which is in memory."""
    results = Results({"resnet18-fc1"}, REQUESTS)
    results.source = TopicReader(Login({}), TOPIC, results.receive, clock.clock, history_ms=0)
    for number, value in enumerate(VALUES):
        results.receive(StoredRecord(value, stored_offset=number, stored_ms=MONDAY_MS))
    return results


@pytest.fixture
def server(results, clock):
    site = Site(results, build_settings(), clock.clock.wall_ms, Marks(), ServiceWatch())
    server = HttpServer("127.0.0.1", 0, [metrics_route(build_telemetry().registry), *site.routes()])
    server.start()
    yield server
    server.stop()


def test_reads_that_hang_leave_threads_for_other_requests(server, consumer):
    answers = queue.Queue()

    def ask(number):
        at = format_timestamp(MONDAY_MS + number * HOUR_MS)
        response, body = get(server, f"/api/v1/window?stream=resnet18-fc1&at={at}")
        answers.put((response.status, json.loads(body)))

    threads = [threading.Thread(target=ask, args=[number]) for number in range(REQUESTS)]
    for thread in threads:
        thread.start()
    try:
        refused = [answers.get(timeout=TIMEOUT_S) for _ in range(REQUESTS - MOST_FETCHES)]
        assert get(server, "/metrics")[0].status == 200
        assert answers.empty()
    finally:
        consumer.released.set()
        for thread in threads:
            thread.join(TIMEOUT_S)
    assert {status for status, _ in refused} == {503}
    assert all("8 other reads wait for the brokers; try again" in body["error"] for _, body in refused)
    answered = [answers.get_nowait() for _ in range(MOST_FETCHES)]
    assert {status for status, _ in answered} == {200}
    assert get(server, f"/api/v1/window?stream=resnet18-fc1&at={MONDAY_MS}")[0].status == 200
