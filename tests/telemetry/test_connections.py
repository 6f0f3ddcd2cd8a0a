"""Limits of the HTTP server's connections: number, descriptors, time, one request after the other."""

import os
import socket
import threading
from contextlib import ExitStack, contextmanager

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from driftgauge.telemetry import connections
from driftgauge.telemetry.server import HttpServer
from tests.builders.baselines import save_baseline
from tests.builders.configs import write_config
from tests.harness.service import ReplicaProcess
from tests.waiting import PATIENCE_S, wait_for

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
