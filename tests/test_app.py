"""Tests of `driftgauge.app`: what runs while the service runs, without a broker."""

import gc
import signal
import socket

import pytest

from driftgauge import app
from driftgauge.config import load_settings
from driftgauge.errors import ConfigError
from driftgauge.telemetry.health import Role
from tests.builders.baselines import save_baseline
from tests.builders.configs import MINIMAL


@pytest.fixture
def log(monkeypatch):
    """What the parts do, in order; none of them connects."""
    log = []

    class RecordingReader:
        def __init__(self, *_, **__):
            log.append("reader built")

        def start(self):
            log.append("reader started")

        def stop(self):
            log.append("reader stopped")

    class RecordingService:
        def __init__(self, *_, **__):
            pass

        def run(self, stopping):
            log.append("served")

    monkeypatch.setattr(app, "ResultReader", RecordingReader)
    monkeypatch.setattr(app, "Service", RecordingService)
    # They would outlive the test.
    monkeypatch.setattr(app, "count_messages", lambda _: None)
    monkeypatch.setattr(gc, "set_threshold", lambda _: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return log


@pytest.fixture
def serve(tmp_path, log):
    save_baseline(tmp_path)
    path = tmp_path / "driftgauge.yaml"

    def serve(more, port=0):
        path.write_text(f"{MINIMAL}http: {{port: {port}}}\n{more}\n", "utf-8")
        app.serve(load_settings(path, {}), list(Role))

    return serve


def test_page_is_read_while_the_service_runs(serve, log):
    serve("page: {enabled: true}")
    assert log == ["reader built", "reader started", "served", "reader stopped"]


def test_nothing_is_read_for_a_page_that_is_off(serve, log):
    serve("page: {enabled: false}")
    assert log == ["served"]


def test_reader_stops_where_the_port_is_taken(serve, log):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match=r"http\.port"):
        serve("", port=taken.getsockname()[1])
    assert log == ["reader built", "reader started", "reader stopped"]
