"""A TCP relay between one process and the brokers: cuts connections, slows, holds or refuses requests."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial

from tests.harness.held_requests import (
    HOLD_S,
    LENGTH_BYTES,
    Action,
    HeldCommit,
    ProtocolRequest,
    SlowCoordinator,
)


class Relay(AbstractContextManager["Relay"]):
    """Listens on loopback instead of the brokers; a context manager.

    Brokers name their addresses in their answers. The relay replaces them by its own addresses of the same
    length, so that its clients stay on the relay.

    Attributes:
        bootstrap: The relay's addresses, for `bootstrap.servers`.
    """

    def __init__(self, bootstrap: str) -> None:
        self._connections: list[socket.socket] = []
        self._is_cut = False
        self._held: HeldCommit | None = None
        self._slow: SlowCoordinator | None = None
        self._late: dict[socket.socket, HeldCommit] = {}
        self._bytes_a_second: float | None = None
        self._lock = threading.Lock()
        self._listeners: list[socket.socket] = []
        self._names: list[tuple[bytes, bytes]] = []
        brokers = [(host, int(port)) for host, port in (each.split(":") for each in bootstrap.split(","))]
        for host, port in brokers:
            listener = socket.create_server((host, 0))
            self._listeners.append(listener)
            theirs, ours = (host.encode() + at.to_bytes(4) for at in (port, _port(listener)))
            self._names.append((theirs, ours))
        self.bootstrap = ",".join(
            f"{host}:{_port(listener)}" for (host, _), listener in zip(brokers, self._listeners, strict=True)
        )
        for listener, broker in zip(self._listeners, brokers, strict=True):
            threading.Thread(target=self._accept, args=(listener, broker), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.cut()
        for listener in self._listeners:
            _end(listener)

    def slow_to(self, bytes_a_second: float | None) -> None:
        """Let so many bytes of requests through on each connection; None: all at once."""
        self._bytes_a_second = bytes_a_second

    def cut(self) -> None:
        """Close every connection, and each new one until `reconnect`."""
        with self._lock:
            self._is_cut = True
            for connection in self._connections:
                _end(connection)
            self._connections.clear()

    def reconnect(self) -> None:
        self._is_cut = False

    def hold_next_commit(self) -> HeldCommit:
        """Hold the next commit and close the client's connection, like a delayed packet.

        The commit is delivered during the same producer's next transaction.
        """
        held = self._held = HeldCommit()
        return held

    def slow_coordinator(self, role: str, busy_s: float) -> SlowCoordinator:
        """Hold the next offsets of a role's transactions, and refuse its next producers for a while."""
        slow = self._slow = SlowCoordinator(role, busy_s)
        return slow

    def _accept(self, listener: socket.socket, broker: tuple[str, int]) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                self._connect(listener.accept()[0], broker)

    def _connect(self, client: socket.socket, broker: tuple[str, int]) -> None:
        with self._lock:
            if self._is_cut:
                _end(client)
                return
            try:
                connection = socket.create_connection(broker)
            except OSError:  # the broker does not run
                _end(client)
                return
            self._connections += [client, connection]
        answering = threading.Lock()
        for carry, source, target in (
            (partial(self._request, answering), client, connection),
            (partial(self._answer, answering), connection, client),
        ):
            threading.Thread(target=_run, args=(carry, source, target), daemon=True).start()

    def _request(self, answering: threading.Lock, client: socket.socket, broker: socket.socket) -> None:
        with client.makefile("rb") as requests:
            while length := requests.read(LENGTH_BYTES):
                frame = requests.read(int.from_bytes(length))
                if self._slow is not None:
                    request = ProtocolRequest.parse(frame)
                    if (refusal := self._slow.refusal(request)) is not None:
                        with answering:
                            client.sendall(refusal)
                        continue
                    self._slow.wait_while_held(request)
                held = self._held
                if held is not None:
                    match held.next_action(ProtocolRequest.parse(frame)):
                        case Action.HOLD:
                            self._deliver_late(held, length + frame, client, broker)
                            return
                        case Action.DELIVER_HELD_FIRST:
                            held.wait_until_delivered()
                        case Action.FORWARD:
                            pass
                if (bytes_a_second := self._bytes_a_second) is not None:
                    time.sleep(len(frame) / bytes_a_second)
                broker.sendall(length + frame)

    def _deliver_late(
        self, held: HeldCommit, request: bytes, client: socket.socket, broker: socket.socket
    ) -> None:
        self._late[broker] = held
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        if held.is_due.wait(HOLD_S):
            broker.sendall(request)
            held.wait_until_delivered()

    def _answer(self, answering: threading.Lock, broker: socket.socket, client: socket.socket) -> None:
        with broker.makefile("rb") as answers:
            while length := answers.read(LENGTH_BYTES):
                answer = answers.read(int.from_bytes(length))
                if (late := self._late.get(broker)) is not None:
                    # The client has disconnected, so answers to its earlier requests are dropped.
                    late.record_answer()
                    continue
                for theirs, ours in self._names:
                    answer = answer.replace(theirs, ours)
                with answering:
                    client.sendall(length + answer)


def _port(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def _run(
    carry: Callable[[socket.socket, socket.socket], None], source: socket.socket, target: socket.socket
) -> None:
    with suppress(OSError):  # either side has disconnected, or the relay was cut
        carry(source, target)
    _end(source)
    _end(target)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):  # the connection is already closed
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
