"""Limits of the HTTP server's connections: number, descriptors, time, one request after the other."""

import asyncio
import errno
import os
import socket
import threading
from contextlib import ExitStack

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from driftgauge.telemetry import connections
from driftgauge.telemetry.server import HttpServer
from tests.builders.baselines import save_baseline
from tests.builders.configs import write_config
from tests.harness.service import ReplicaProcess
from tests.waiting import wait_for

TIMEOUT_S = 300.0
HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
IDLE, SLOW, DESCRIPTORS = 2_000, 200, 160
WITH_FEW_DESCRIPTORS = (
    "import resource, sys; from driftgauge.cli import main; "
    f"resource.setrlimit(resource.RLIMIT_NOFILE, ({DESCRIPTORS}, {DESCRIPTORS})); main()"
)


@pytest.fixture
def server():
    # More than the buffers between server and client hold.
    async def root(_):
        return PlainTextResponse("x" * 20_000_000)

    async def small(request):
        await asyncio.sleep(float(request.query_params.get("after", 0)))
        return PlainTextResponse("here")

    server = HttpServer("127.0.0.1", 0, [Route("/", root), Route("/small", small)])
    server.start()
    yield server
    server.stop()


def open_descriptors():
    return len(os.listdir("/dev/fd"))


def exchange(port, sent):
    """Return everything that the server sends until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as peer:
        peer.sendall(sent)
        return b"".join(iter(lambda: peer.recv(65_536), b""))


@pytest.mark.parametrize(
    "sent", [b"", HEAD, b"POST /small HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_unfinished_request_ends_connection(server, sent, monkeypatch):
    monkeypatch.setattr(connections, "_HEAD_S", 0.2)
    monkeypatch.setattr(connections, "_REQUEST_S", 0.2)
    assert exchange(server.port, sent).count(b"HTTP/1.1 405") == sent.count(b"POST")


@pytest.mark.parametrize(("limit_s", "answers"), [(0.2, 0), (TIMEOUT_S, 1)])
def test_request_has_another_limit_than_its_head(server, limit_s, answers, monkeypatch):
    monkeypatch.setattr(connections, "_HEAD_S", 0.2)
    monkeypatch.setattr(connections, "_REQUEST_S", limit_s)
    received = exchange(server.port, b"GET /small?after=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert received.count(b"HTTP/1.1 200") == answers


def test_client_that_does_not_read_is_cut_off(server, monkeypatch):
    monkeypatch.setattr(connections, "_REQUEST_S", 0.2)
    before = open_descriptors()
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S) as peer:
        peer.sendall(HEAD + b"\r\n")
        assert peer.recv(1) == b"H"
        wait_for("the server to close its side", lambda: open_descriptors() == before + 1)


def test_request_that_is_answered_keeps_its_connection():
    entered, released = threading.Event(), threading.Event()

    def root(_):
        entered.set()
        return PlainTextResponse(str(released.wait(TIMEOUT_S)))

    limits = connections.ConnectionLimits(most=1, held_back=0)
    server = HttpServer("127.0.0.1", 0, [Route("/", root)], limits=limits)
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S) as peer:
            peer.sendall(HEAD + b"\r\n")
            assert entered.wait(TIMEOUT_S)
            assert exchange(server.port, b"") == b""
            released.set()
            assert peer.recv(4) == b"HTTP"
    finally:
        released.set()
        server.stop()


def test_length_and_transfer_encoding_together_are_refused(server):
    smuggled = b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HEAD + b"\r\n"
    received = exchange(server.port, b"POST /small HTTP/1.1\r\nHost: h\r\n" + smuggled)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"HTTP/1.1") == 1


def test_requests_sent_ahead_are_dropped(server):
    received = exchange(server.port, 5 * b"GET /small HTTP/1.1\r\nHost: h\r\n\r\n")
    assert received.count(b"HTTP/1.1 200") == 1


def test_accept_errors_are_logged_once_a_minute(server, caplog, monkeypatch):
    accept, failures = socket.socket.accept, iter(range(5))

    def fail_at_first(listener):
        if next(failures, None) is None:
            return accept(listener)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket.socket, "accept", fail_at_first)
    assert b"200" in exchange(server.port, b"GET /small HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    (record,) = caplog.records
    assert "ulimit" in record.remedy


def test_health_and_metrics_answer_despite_idle_and_slow_clients(tmp_path):
    save_baseline(tmp_path)
    unreachable = {"bootstrap.servers": "127.0.0.1:1", "group.id": "driftgauge"}
    config = write_config(tmp_path, http={"port": 0}, kafka=unreachable)
    with (
        ReplicaProcess(config, tmp_path / "log", program=("-c", WITH_FEW_DESCRIPTORS)) as replica,
        ExitStack() as peers,
    ):
        ports = replica.port, replica.health_port
        for number in range(IDLE + SLOW):
            for port in ports if number < DESCRIPTORS else ports[:1]:
                peer = peers.enter_context(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S))
                if number >= IDLE:
                    peer.sendall(HEAD)
        for _ in range(3):
            assert replica.get("/livez")[0] == 200
            assert replica.get("/readyz")[0] == 503
            assert replica.scrape().total("driftgauge_log_messages_total", level="error") >= 0
        assert replica.logged("the HTTP server cannot accept connections") == []
        (opened,) = (
            int(value) for _, value in replica.scrape().samples.items() if _[0] == "process_open_fds"
        )
        assert opened < DESCRIPTORS
