"""A way from one process to the brokers that can be cut, or hold a commit, while all others reach them."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final

from tests.kafka.frames import ProtocolRequest
from tests.kafka.held import HOLD_S, HeldCommit, Order, StoppedCommits

_LENGTH_BYTES: Final = 4


class Relay:
    """Listens in the brokers' places, on loopback; a context manager.

    Brokers name their own addresses in their answers. The relay writes its own over them, which have
    the same length, so that whoever came this way keeps to it.

    Attributes:
        bootstrap: The addresses that it listens on, for `bootstrap.servers`.
    """

    def __init__(self, bootstrap: str) -> None:
        self._connections: list[socket.socket] = []
        self._is_cut = False
        self._held: HeldCommit | None = None
        self._stopped: StoppedCommits | None = None
        self._late: dict[socket.socket, HeldCommit] = {}
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

    def __enter__(self) -> "Relay":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cut()
        for listener in self._listeners:
            _end(listener)

    def cut(self) -> None:
        """End every connection, and until `mend` each new one at once."""
        with self._lock:
            self._is_cut = True
            for connection in self._connections:
                _end(connection)
            self._connections.clear()

    def mend(self) -> None:
        self._is_cut = False

    def hold_a_commit(self) -> HeldCommit:
        """Hold the next commit and end the client's connection, as a network does that loses its way.

        The bytes are delivered in the midst of the same producer's next transaction.
        """
        held = self._held = HeldCommit()
        return held

    def stop_commits(self, names_end: str) -> StoppedCommits:
        """Hold all commits of the producers whose transactional ids end so, until they are let go."""
        stopped = self._stopped = StoppedCommits(names_end)
        return stopped

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
            except OSError:  # the broker is away
                _end(client)
                return
            self._connections += [client, connection]
        for carry, source, target in (
            (self._request, client, connection),
            (self._answer, connection, client),
        ):
            threading.Thread(target=_run, args=(carry, source, target), daemon=True).start()

    def _request(self, client: socket.socket, broker: socket.socket) -> None:
        with client.makefile("rb") as requests:
            while length := requests.read(_LENGTH_BYTES):
                frame = requests.read(int.from_bytes(length))
                if self._stopped is not None:
                    self._stopped.pass_when_let_go(ProtocolRequest.parse(frame))
                held = self._held
                if held is not None:
                    match held.order(ProtocolRequest.parse(frame)):
                        case Order.HOLD:
                            self._deliver_late(held, length + frame, client, broker)
                            return
                        case Order.DELIVER_HELD_FIRST:
                            held.wait_until_delivered()
                        case Order.FORWARD:
                            pass
                broker.sendall(length + frame)

    def _deliver_late(
        self, held: HeldCommit, request: bytes, client: socket.socket, broker: socket.socket
    ) -> None:
        self._late[broker] = held
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        if held.wait_until_due(HOLD_S):
            broker.sendall(request)
            held.wait_until_delivered()

    def _answer(self, broker: socket.socket, client: socket.socket) -> None:
        with broker.makefile("rb") as answers:
            while length := answers.read(_LENGTH_BYTES):
                answer = answers.read(int.from_bytes(length))
                if (late := self._late.get(broker)) is not None:
                    # The client has gone; what was asked before the held one is of no use to it any more.
                    late.note_answer()
                    continue
                for theirs, ours in self._names:
                    answer = answer.replace(theirs, ours)
                client.sendall(length + answer)


def _port(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def _run(
    carry: Callable[[socket.socket, socket.socket], None], source: socket.socket, target: socket.socket
) -> None:
    with suppress(OSError):  # either side has gone, or the way was cut
        carry(source, target)
    _end(source)
    _end(target)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):  # it has ended already
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
