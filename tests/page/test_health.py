"""Tests of `driftgauge.page.health`."""

import json

import pytest

from driftgauge.page.health import page_health_routes
from driftgauge.telemetry.server import HttpServer
from tests.builders.page import get


class MadeReader:
    """A reader in the middle of its work."""

    is_alive = True
    is_level = False


@pytest.fixture
def reader():
    return MadeReader()


@pytest.fixture
def answer(reader):
    server = HttpServer("127.0.0.1", 0, page_health_routes(reader))
    server.start()

    def answer(path):
        response, body = get(server, path)
        return response.status, json.loads(body)

    yield answer
    server.stop()


def test_page_is_ready_once_the_topic_was_read(answer, reader):
    assert answer("/readyz") == (503, {"ready": False, "missing": ["results_read"]})
    reader.is_level = True
    assert answer("/readyz") == (200, {"ready": True, "missing": []})


def test_page_is_alive_while_its_reader_is(answer, reader, caplog):
    assert answer("/livez") == (200, {"alive": True})
    reader.is_alive = False
    assert answer("/livez") == (503, {"alive": False})
    (logged,) = caplog.records
    assert "must be restarted" in logged.getMessage()
