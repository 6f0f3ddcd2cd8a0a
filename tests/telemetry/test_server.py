"""Tests of `driftgauge.telemetry.server`."""

import gzip
import json
import logging
import signal
import socket
import threading
import urllib.error
import urllib.request

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from driftgauge.errors import ConfigError
from driftgauge.telemetry.endpoints import service_routes
from driftgauge.telemetry.health import Health, ReadinessCondition, Role
from driftgauge.telemetry.server import HttpServer
from tests.builders.results import build_result
from tests.builders.telemetry import BOTH, build_telemetry, make_ready, show_busy_shard

TIMEOUT_S = 300


class HangingCollector:
    """A collector that hangs until it is released."""

    def __init__(self):
        self.entered = threading.Event()
        self.released = threading.Event()

    def describe(self):
        return []

    def collect(self):
        self.entered.set()
        assert self.released.wait(TIMEOUT_S)
        return []


class BrokenCollector:
    def describe(self):
        return []

    def collect(self):
        message = "this collector is broken"
        raise ValueError(message)


@pytest.fixture
def telemetry():
    return build_telemetry()


@pytest.fixture
def health(clock):
    return Health(BOTH, clock.clock)


@pytest.fixture
def server(telemetry, health):
    server = HttpServer("127.0.0.1", 0, service_routes(telemetry.registry, health))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def get(server):
    def get(path, **headers):
        """Return status, headers and body of a GET, for any status."""
        request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    return get


def test_metrics_are_served_as_prometheus_text(get, telemetry):
    show_busy_shard(telemetry)
    status, headers, body = get("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    divergence = build_result().score.js_divergence
    assert f'driftgauge_window_js_divergence{{stream="images",window="1h"}} {divergence}\n' in body.decode()


def test_openmetrics_are_served_on_request(get):
    _, headers, body = get("/metrics", Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in text_string_to_metric_families(body.decode())}
    assert "driftgauge_events" in names


def test_metrics_are_compressed_on_request(get):
    _, plain_headers, plain = get("/metrics")
    _, headers, body = get("/metrics", **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain_headers
    assert headers["Content-Encoding"] == "gzip"
    assert b"driftgauge_build_info" in gzip.decompress(body)
    assert len(body) < len(plain)


def test_livez_fails_and_logs_without_recent_poll(get, clock, caplog):
    status, _, body = get("/livez")
    assert (status, json.loads(body)) == (200, {"alive": True, "since_poll_seconds": 0.0})
    clock.advance(90)
    status, _, body = get("/livez")
    assert (status, json.loads(body)) == (503, {"alive": False, "since_poll_seconds": 90.0})
    assert [record.getMessage() for record in caplog.records] == [
        "no poll within the bound; the process must be restarted"
    ]
    assert caplog.records[0].roles == ["count", "windows"]


def test_readyz_lists_missing_conditions(get, health):
    make_ready(health, ReadinessCondition.BASELINES_LOADED)
    status, _, body = get("/readyz")
    assert (status, json.loads(body)) == (503, {"ready": False, "missing": ["count", "windows"]})
    make_ready(health)
    status, _, body = get("/readyz")
    assert (status, json.loads(body)) == (200, {"ready": True, "missing": []})


def test_unmet_role_condition_ends_readiness_but_not_liveness(get, health):
    make_ready(health)
    health.set_condition(ReadinessCondition.WINDOWS, is_met=False)
    status, _, body = get("/readyz")
    assert (status, json.loads(body)) == (503, {"ready": False, "missing": ["windows"]})
    assert get("/livez")[0] == 200


def test_livez_fails_if_one_role_stops_polling(get, health, clock):
    clock.advance(90)
    health.polled(Role.COUNT)
    assert get("/livez")[0] == 503


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics/x", "/livezz"])
def test_other_path_returns_404(get, path):
    assert get(path)[0] == 404


def test_post_returns_405(server):
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/metrics", method="POST", data=b"x")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=TIMEOUT_S)
    assert caught.value.code == 405
    caught.value.close()


def test_silent_peer_does_not_block_scrape(server, get):
    address = "127.0.0.1", server.port
    with socket.create_connection(address), socket.create_connection(address) as half:
        half.sendall(b"GET /metrics HTTP/1.1\r\nHost: ")
        assert get("/metrics")[0] == 200


def test_health_answers_while_rendering_hangs(get, telemetry):
    hanging = HangingCollector()
    telemetry.registry.register(hanging)
    scraped = []
    scrape = threading.Thread(target=lambda: scraped.append(get("/metrics")[0]))
    scrape.start()
    try:
        assert hanging.entered.wait(TIMEOUT_S)
        assert get("/livez")[0] == 200
        assert get("/readyz")[0] == 503
        assert scraped == []
    finally:
        hanging.released.set()
        scrape.join(TIMEOUT_S)
    assert scraped == [200]


def test_failed_rendering_returns_500_and_is_logged(get, telemetry, caplog):
    telemetry.registry.register(BrokenCollector())
    assert get("/metrics")[0] == 500
    assert get("/livez")[0] == 200
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("uvicorn.error", "ERROR")
    assert "this collector is broken" in str(record.exc_info[1])


def test_requests_are_not_logged(get, caplog):
    caplog.set_level(logging.DEBUG)
    get("/metrics")
    get("/nothing")
    assert [record for record in caplog.records if record.name.startswith(("uvicorn", "driftgauge"))] == []


def test_port_in_use_raises_error_that_names_setting(server, telemetry, health):
    second = HttpServer("127.0.0.1", server.port, service_routes(telemetry.registry, health))
    with pytest.raises(ConfigError, match=rf"127\.0\.0\.1 port {server.port}: .*http\.port"):
        second.start()


def test_foreign_address_raises_error_that_names_setting(telemetry, health):
    foreign = HttpServer("192.0.2.1", 0, service_routes(telemetry.registry, health))
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1 port 0: .*http\.host"):
        foreign.start()


def test_server_keeps_signal_handlers(telemetry, health):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    server = HttpServer("127.0.0.1", 0, service_routes(telemetry.registry, health))
    server.start()
    try:
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    finally:
        server.stop()


def test_stop_frees_port_despite_silent_peer(telemetry, health):
    server = HttpServer("127.0.0.1", 0, service_routes(telemetry.registry, health))
    server.start()
    with socket.create_connection(("127.0.0.1", server.port)):
        server.stop()
        again = HttpServer("127.0.0.1", server.port, service_routes(telemetry.registry, health))
        again.start()
        again.stop()
    assert again.port == server.port


def test_stop_does_not_wait_for_hanging_rendering(telemetry, health):
    hanging = HangingCollector()
    telemetry.registry.register(hanging)
    server = HttpServer("127.0.0.1", 0, service_routes(telemetry.registry, health))
    server.start()
    with socket.create_connection(("127.0.0.1", server.port)) as peer:
        peer.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert hanging.entered.wait(TIMEOUT_S)
        try:
            server.stop()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", server.port))
        finally:
            hanging.released.set()
