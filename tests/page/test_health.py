"""Tests of `driftgauge.page.health`."""

import json

import pytest

from driftgauge.page.health import page_health_routes
from driftgauge.telemetry.server import HttpServer
from tests.builders.page import MadeSource, get


@pytest.fixture
def source():
    return MadeSource()


@pytest.fixture
def answer(source):
    server = HttpServer("127.0.0.1", 0, page_health_routes(source))
    server.start()

    def answer(path):
        response, body = get(server, path)
        return response.status, json.loads(body)

    yield answer
    server.stop()


def test_page_is_ready_once_the_topic_was_read(answer, source):
    source.is_level = False
    assert answer("/readyz") == (503, {"ready": False, "missing": ["results_read"]})
    source.is_level = True
    assert answer("/readyz") == (200, {"ready": True, "missing": []})


def test_page_is_alive_while_the_topic_cannot_be_read(answer, source):
    source.is_level, source.error = False, "broker 1 does not answer"
    assert answer("/livez") == (200, {"alive": True})
