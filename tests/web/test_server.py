"""The HTTP server: /metrics, /livez and /readyz, and the limits of its connections."""

import json
import logging
import os
import signal
import socket
import threading
from contextlib import ExitStack, contextmanager
from functools import partial
from unittest.mock import Mock

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from driftgauge.errors import ConfigError
from driftgauge.telemetry.health import BlockReason, Health, ReadinessCondition, Role
from driftgauge.web import connections
from driftgauge.web.endpoints import health_routes, metrics_route
from driftgauge.web.server import HttpServer
from tests.builders import page
from tests.builders.baselines import save_baseline
from tests.builders.configs import write_config
from tests.builders.results import build_result
from tests.builders.telemetry import BOTH, build_telemetry, make_ready, show_busy_shard
from tests.harness.registry_server import serve_routes
from tests.harness.service import ReplicaProcess
from tests.waiting import PATIENCE_S, wait_for

TIMEOUT_S = 300
WHY = {"reasons": {}, "blocked_partitions": {"stopped": ["partials[2]"]}}


@pytest.fixture
def telemetry():
    return build_telemetry()


@pytest.fixture
def health(clock):
    return Health(BOTH, clock.clock)


@pytest.fixture
def routes(telemetry, health):
    return [metrics_route(telemetry.registry), *health_routes(health)]


@pytest.fixture
def server(routes):
    with serve_routes(routes) as server:
        yield server


@pytest.fixture
def get(server):
    return partial(page.get, server)


def test_metrics_are_served_as_text_openmetrics_or_compressed(get, telemetry):
    show_busy_shard(telemetry)
    response, plain = get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert response.headers["Content-Encoding"] is None
    divergence = build_result().score.findings["js_divergence"].js_divergence
    assert f'driftgauge_window_js_divergence{{stream="images",window="1h"}} {divergence}\n' in plain
    response, body = get("/metrics", Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "driftgauge_events" in {family.name for family in text_string_to_metric_families(body)}
    response, body = get("/metrics", Accept_Encoding="gzip")
    assert response.headers["Content-Encoding"] == "gzip"
    assert "driftgauge_build_info" in body


def answer(get, path):
    response, body = get(path)
    return response.status, json.loads(body)


def test_process_is_alive_while_every_role_polls_within_a_minute(get, clock, health, caplog):
    clock.advance(60)
    assert answer(get, "/livez") == (200, {"alive": True, "since_poll_seconds": 60.0})
    health.polled(Role.COUNT)
    clock.advance(0.001)
    assert answer(get, "/livez") == (503, {"alive": False, "since_poll_seconds": 60.001})
    (record,) = caplog.records
    assert record.roles == ["windows"]
    assert "let a supervisor restart it" in record.remedy
    health.polled(Role.WINDOWS)
    assert answer(get, "/livez")[0] == 200
    clock.advance(60)
    assert answer(get, "/livez")[0] == 503, "the role count polled before that"


def test_role_that_is_not_served_need_neither_poll_nor_be_ready(clock):
    health = Health([Role.COUNT], clock.clock)
    clock.advance(60.001)
    health.polled(Role.COUNT)
    assert health.overdue() == []
    assert health.missing() == ["baselines_loaded", "count"]
    assert Health([Role.WINDOWS], clock.clock).missing() == ["baselines_loaded", "windows"]


def test_process_is_ready_while_every_condition_is_met(get, health, caplog):
    caplog.set_level(logging.INFO, logger="driftgauge")
    health.set_blocked(Role.WINDOWS, BlockReason.STOPPED, ["partials[2]"])
    unmet = ["baselines_loaded", "count", "windows"]
    assert answer(get, "/readyz") == (503, {"ready": False, "missing": unmet, **WHY})
    make_ready(health)
    for condition in ReadinessCondition:
        assert answer(get, "/readyz") == (200, {"ready": True, "missing": [], **WHY})
        health.set_condition(condition, is_met=False, why="no")
        assert answer(get, "/readyz") == (
            503,
            {"ready": False, "missing": [condition], **WHY, "reasons": {condition: "no"}},
        )
        assert answer(get, "/livez")[0] == 200
        make_ready(health)
    changes = [("ready", [])]
    for condition in ReadinessCondition:
        changes += [("not ready", [condition]), ("ready", [])]
    assert [(record.getMessage(), record.missing) for record in caplog.records] == changes


def test_other_paths_are_refused_and_no_request_is_logged(get, caplog):
    caplog.set_level(logging.DEBUG)
    paths = ("/", "/healthz", "/metrics/x", "/livezz", "/metrics")
    assert [get(path)[0].status for path in paths] == [404] * 4 + [200]
    assert [record for record in caplog.records if record.name.startswith(("uvicorn", "driftgauge"))] == []


def test_health_answers_while_rendering_hangs_and_stop_does_not_wait(get, telemetry, server):
    entered, released = threading.Event(), threading.Event()

    def collect():
        entered.set()
        assert released.wait(TIMEOUT_S)
        return []

    telemetry.registry.register(Mock(describe=list, collect=collect))
    with socket.create_connection(("127.0.0.1", server.port)) as peer:
        peer.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert entered.wait(TIMEOUT_S)
        try:
            assert [get(path)[0].status for path in ("/livez", "/readyz")] == [200, 503]
            server.stop()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", server.port))
        finally:
            released.set()


def test_failed_rendering_returns_500_and_is_logged(get, telemetry, caplog):
    collect = Mock(side_effect=ValueError("this collector is broken"))
    telemetry.registry.register(Mock(describe=list, collect=collect))
    assert [get(path)[0].status for path in ("/metrics", "/livez")] == [500, 200]
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("uvicorn.error", "ERROR")
    assert "this collector is broken" in str(record.exc_info[1])


def test_request_without_a_thread_is_answered_and_the_next_one_served(get, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", Mock(side_effect=RuntimeError("can't start new thread")))
        response, body = get("/metrics")
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
        assert body == "no thread is free to answer this; try again"
        assert get("/livez")[0].status == 200
    (line,) = caplog.records
    assert "pids in Compose" in line.remedy
    assert get("/metrics")[0].status == 200


def test_address_that_cannot_be_used_raises_error_that_names_setting(server, routes):
    with pytest.raises(ConfigError, match=rf"127\.0\.0\.1 port {server.port}: .*http\.port"):
        HttpServer("127.0.0.1", server.port, routes).start()
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1 port 0: .*http\.host"):
        HttpServer("192.0.2.1", 0, routes).start()


def test_server_keeps_signal_handlers_and_frees_its_port_despite_silent_peer(routes):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with (
        serve_routes(routes) as server,
        socket.create_connection(("127.0.0.1", server.port)),
    ):
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
        server.stop()
        again = HttpServer("127.0.0.1", server.port, routes)
        again.start()
        again.stop()
    assert again.port == server.port


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
CLOSE = b"Connection: close\r\n\r\n"
HALF_A_BODY = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf"
SMUGGLED = b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET + b"\r\n"
IDLE, SLOW, DESCRIPTORS = 2_000, 200, 160
WITH_FEW_DESCRIPTORS = (
    "import resource; from driftgauge.cli import main; "
    f"resource.setrlimit(resource.RLIMIT_NOFILE, ({DESCRIPTORS}, {DESCRIPTORS})); main()"
)


class Server:
    """A server of one answer, larger than the buffers between server and client, which a test may delay."""

    def __init__(self, limits=connections.PUBLIC_LIMITS):
        self.entered, self.released = threading.Event(), threading.Event()
        self.released.set()
        self.server = HttpServer("127.0.0.1", 0, [Route("/", self.answer)], limits=limits)
        self.server.start()

    def answer(self, _):
        self.entered.set()
        self.released.wait()
        return PlainTextResponse("x" * 20_000_000)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE_S)

    def exchange(self, sent):
        """Return everything that the server sends until it closes the connection."""
        with self.connect() as peer:
            peer.sendall(sent)
            return b"".join(iter(lambda: peer.recv(65_536), b""))


@pytest.fixture
def start():
    with ExitStack() as started:

        def start(*arguments):
            server = Server(*arguments)
            started.callback(server.server.stop)
            started.callback(server.released.set)
            return server

        yield start


@pytest.mark.parametrize(
    ("sent", "statuses"), [(b"", []), (GET, []), (HALF_A_BODY, [b"405"]), (GET + b"\r\n", [])]
)
def test_client_that_takes_too_long_is_cut_off(start, monkeypatch, sent, statuses):
    monkeypatch.setattr(connections, "_HEAD_S", 0.2)
    monkeypatch.setattr(connections, "_REQUEST_S", 0.2)
    server = start()
    server.released.clear()
    assert status_codes(server.exchange(sent)) == statuses


def status_codes(received):
    return [line.split()[0] for line in received.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (GET + CLOSE, [b"200"]),
        (HALF_A_BODY.split(b"Content-Length")[0] + SMUGGLED, [b"400"]),
        (5 * (GET + b"\r\n"), [b"200"]),
    ],
)
def test_connection_ends_after_one_answer(start, sent, statuses):
    assert status_codes(start().exchange(sent)) == statuses


def test_client_that_does_not_read_is_cut_off(start, monkeypatch):
    monkeypatch.setattr(connections, "_REQUEST_S", 0.2)
    server, before = start(), len(os.listdir("/dev/fd"))
    with server.connect() as peer:
        peer.sendall(GET + b"\r\n")
        assert server.entered.wait(PATIENCE_S)
        wait_for("the server to close its side", lambda: len(os.listdir("/dev/fd")) <= before + 1)


def test_new_connection_takes_place_of_one_that_waits(start, monkeypatch):
    monkeypatch.setattr(connections, "_HEAD_S", 2 * PATIENCE_S)
    server = start(connections.ConnectionLimits(most=1, held_back=0))
    with server.connect() as waiting:
        assert status_codes(server.exchange(GET + CLOSE)) == [b"200"]
        assert waiting.recv(1) == b""


def test_request_that_is_answered_keeps_its_connection(start, monkeypatch):
    monkeypatch.setattr(connections, "_HEAD_S", 0.2)
    server = start(connections.ConnectionLimits(most=1, held_back=0))
    server.released.clear()
    with server.connect() as peer:
        peer.sendall(GET + CLOSE)
        assert server.entered.wait(PATIENCE_S)
        assert server.exchange(b"") == b""
        threading.Timer(0.5, server.released.set).start()
        assert peer.recv(4) == b"HTTP"


def test_accept_errors_are_logged_as_one_kind(start, caplog, monkeypatch):
    server, accept, failures = start(), socket.socket.accept, iter(range(5))

    def fail_at_first(listener):
        if next(failures, None) is None:
            return accept(listener)
        raise OSError

    monkeypatch.setattr(socket.socket, "accept", fail_at_first)
    assert status_codes(server.exchange(GET + CLOSE)) == [b"200"]
    # Of such lines the log shows one a minute, see `RepeatLimit`.
    assert {(record.getMessage(), record.error) for record in caplog.records} == {
        ("the HTTP server cannot accept connections", None)
    }
    assert "ulimit" in caplog.records[0].remedy


@contextmanager
def crowded(folder):
    """Yield a process with few descriptors, beside idle and slow clients of both its ports."""
    save_baseline(folder)
    unreachable = {"bootstrap.servers": "127.0.0.1:1", "group.id": "driftgauge"}
    config = write_config(folder, http={"port": 0}, kafka=unreachable)
    program = ("-c", WITH_FEW_DESCRIPTORS)
    with ReplicaProcess(config, folder / "log", program=program) as replica, ExitStack() as peers:
        ports = replica.port, replica.health_port
        for number in range(IDLE + SLOW):
            for port in ports if number < DESCRIPTORS else ports[:1]:
                peer = peers.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))
                if number >= IDLE:
                    peer.sendall(GET)
        yield replica


def test_health_and_metrics_answer_despite_idle_and_slow_clients(tmp_path):
    with crowded(tmp_path) as replica:
        for _ in range(3):
            assert (replica.get("/livez")[0], replica.get("/readyz")[0]) == (200, 503)
            assert replica.scrape().total("process_open_fds") < DESCRIPTORS
        assert replica.logged("the HTTP server cannot accept connections") == []
