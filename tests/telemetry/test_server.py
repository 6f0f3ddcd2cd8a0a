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
from driftgauge.telemetry.health import Health, ReadinessCondition, Role
from driftgauge.telemetry.server import MetricsServer
from tests.kafka.parts import StandingClock
from tests.telemetry.builders import BOTH, build_result, build_telemetry, make_ready, show_busy_shard

TIMEOUT_S = 300


class HangingCollector:
    """A collector that hangs until it is let go."""

    def __init__(self):
        self.entered = threading.Event()
        self.let_go = threading.Event()

    def describe(self):
        return []

    def collect(self):
        self.entered.set()
        assert self.let_go.wait(TIMEOUT_S)
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
def clock():
    return StandingClock()


@pytest.fixture
def health(clock):
    return Health(BOTH, clock.clock)


@pytest.fixture
def server(telemetry, health):
    server = MetricsServer("127.0.0.1", 0, telemetry.registry, health)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def get(server):
    def get(path, **headers):
        """GET a path; return status, headers and body, whatever the status."""
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


def test_openmetrics_are_served_to_who_asks_for_them(get):
    _, headers, body = get("/metrics", Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in text_string_to_metric_families(body.decode())}
    assert "driftgauge_events" in names


def test_metrics_are_compressed_for_who_asks_for_it(get):
    _, plain_headers, plain = get("/metrics")
    _, headers, body = get("/metrics", **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain_headers
    assert headers["Content-Encoding"] == "gzip"
    assert b"driftgauge_build_info" in gzip.decompress(body)
    assert len(body) < len(plain)


def test_a_live_loop_is_alive_and_one_that_stands_still_is_logged_and_is_not(get, clock, caplog):
    status, _, body = get("/livez")
    assert (status, json.loads(body)) == (200, {"alive": True, "since_poll_seconds": 0.0})
    clock.move(90)
    status, _, body = get("/livez")
    assert (status, json.loads(body)) == (503, {"alive": False, "since_poll_seconds": 90.0})
    assert [record.getMessage() for record in caplog.records] == [
        "no poll within the bound; the process must be restarted"
    ]


def test_what_readiness_lacks_is_listed(get, health):
    make_ready(health, ReadinessCondition.BASELINES_LOADED)
    status, _, body = get("/readyz")
    assert (status, json.loads(body)) == (503, {"ready": False, "missing": ["count", "windows"]})
    make_ready(health)
    status, _, body = get("/readyz")
    assert (status, json.loads(body)) == (200, {"ready": True, "missing": []})


def test_a_role_whose_clients_are_lost_ends_readiness_and_not_life(get, health):
    make_ready(health)
    health.set_condition(ReadinessCondition.WINDOWS, is_met=False)
    status, _, body = get("/readyz")
    assert (status, json.loads(body)) == (503, {"ready": False, "missing": ["windows"]})
    assert get("/livez")[0] == 200


def test_one_loop_that_stands_still_is_enough(get, health, clock):
    clock.move(90)
    health.polled(Role.COUNT)
    assert get("/livez")[0] == 503


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics/x", "/livezz"])
def test_any_other_path_is_not_found(get, path):
    assert get(path)[0] == 404


def test_only_reading_is_allowed(server):
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/metrics", method="POST", data=b"x")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=TIMEOUT_S)
    assert caught.value.code == 405
    caught.value.close()


def test_a_peer_that_says_nothing_does_not_hold_up_a_scrape(server, get):
    address = "127.0.0.1", server.port
    with socket.create_connection(address), socket.create_connection(address) as half:
        half.sendall(b"GET /metrics HTTP/1.1\r\nHost: ")
        assert get("/metrics")[0] == 200


def test_health_is_answered_while_a_rendering_hangs(get, telemetry):
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
        hanging.let_go.set()
        scrape.join(TIMEOUT_S)
    assert scraped == [200]


def test_a_rendering_that_fails_is_answered_and_logged_and_the_next_request_is_served(get, telemetry, caplog):
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


def test_a_port_that_is_taken_is_an_error_that_names_the_setting(server, telemetry, health):
    second = MetricsServer("127.0.0.1", server.port, telemetry.registry, health)
    with pytest.raises(ConfigError, match=rf"127\.0\.0\.1 port {server.port}: .*http\.port"):
        second.start()


def test_an_address_of_another_machine_is_an_error_that_names_the_setting(telemetry, health):
    elsewhere = MetricsServer("192.0.2.1", 0, telemetry.registry, health)
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1 port 0: .*http\.host"):
        elsewhere.start()


def test_signals_are_left_to_the_application(telemetry, health):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    server = MetricsServer("127.0.0.1", 0, telemetry.registry, health)
    server.start()
    try:
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    finally:
        server.stop()


def test_stopping_frees_the_port_though_a_silent_peer_is_connected(telemetry, health):
    server = MetricsServer("127.0.0.1", 0, telemetry.registry, health)
    server.start()
    with socket.create_connection(("127.0.0.1", server.port)):
        server.stop()
        again = MetricsServer("127.0.0.1", server.port, telemetry.registry, health)
        again.start()
        again.stop()
    assert again.port == server.port


def test_stopping_does_not_wait_for_a_rendering_that_hangs(telemetry, health):
    hanging = HangingCollector()
    telemetry.registry.register(hanging)
    server = MetricsServer("127.0.0.1", 0, telemetry.registry, health)
    server.start()
    with socket.create_connection(("127.0.0.1", server.port)) as peer:
        peer.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert hanging.entered.wait(TIMEOUT_S)
        try:
            server.stop()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", server.port))
        finally:
            hanging.let_go.set()
