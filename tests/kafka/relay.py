"""A way from one process to the broker that can be cut, while all others go on reaching it."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

_PIECE_BYTES = 65_536
_LENGTH_BYTES = 4


class Relay:
    """Listens in the broker's place, on loopback; a context manager.

    The broker names its own address in its answers. The relay writes its own over it, which has
    the same length, so that whoever came this way keeps to it.
    """

    def __init__(self, bootstrap: str) -> None:
        host, port = bootstrap.split(":")
        self._broker = host, int(port)
        self._listener = socket.create_server((host, 0))
        own_port: int = self._listener.getsockname()[1]
        self.bootstrap = f"{host}:{own_port}"
        self._theirs, self._ours = (host.encode() + at.to_bytes(4) for at in (int(port), own_port))
        self._connections: list[socket.socket] = []
        self._is_cut = False
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Relay":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cut()
        _end(self._listener)

    def cut(self) -> None:
        """End every connection, and until `mend` each new one at once."""
        with self._lock:
            self._is_cut = True
            for connection in self._connections:
                _end(connection)
            self._connections.clear()

    def mend(self) -> None:
        self._is_cut = False

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                self._connect(self._listener.accept()[0])

    def _connect(self, client: socket.socket) -> None:
        with self._lock:
            if self._is_cut:
                _end(client)
                return
            broker = socket.create_connection(self._broker)
            self._connections += [client, broker]
        for carry, source, target in ((_carry, client, broker), (self._answer, broker, client)):
            threading.Thread(target=_run, args=(carry, source, target), daemon=True).start()

    def _answer(self, source: socket.socket, target: socket.socket) -> None:
        with source.makefile("rb") as answers:
            while length := answers.read(_LENGTH_BYTES):
                answer = answers.read(int.from_bytes(length))
                target.sendall(length + answer.replace(self._theirs, self._ours))


def _carry(source: socket.socket, target: socket.socket) -> None:
    while piece := source.recv(_PIECE_BYTES):
        target.sendall(piece)


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
