"""Connections of the HTTP server within limits of number, descriptors and time.

This reaches into uvicorn, because it stands without a proxy before clients that are idle or slow. uvicorn
0.54 bounds neither the time of a request's head nor that of a TLS handshake. Beyond its limit of connections
it refuses the new ones, a supervisor's among them. And it takes one TLS context for good, while certificates
are renewed. So connections are accepted here, and of uvicorn's parts these are used:

- `Server.startup`, `on_tick` and `shutdown`, around its loop, without sockets of its own;
- `H11Protocol` with its callbacks of a transport, and `conn`, `cycle` and `on_response_complete`, which show
  whether a request is being answered.
"""

import asyncio
import gc
import logging
import resource
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import uvicorn
from anyio.to_thread import current_default_thread_limiter
from uvicorn.protocols.http.h11_impl import H11Protocol

from driftgauge.web.web_config import TlsRules, WebConfigFile

__all__ = ["HEALTH_LIMITS", "PUBLIC_LIMITS", "ConnectionLimits", "ConnectionServer"]

_log = logging.getLogger(__name__)

# From the opening to the end of the first request's head, the TLS handshake apart.
_HEAD_S = 10.0
_HANDSHAKE_S = 10.0
# From a request's head until its answer is read, and the next request's head has arrived.
_REQUEST_S = 60.0
_ACCEPT_PAUSE_S = 0.1
# Requests run in these threads. More would not answer sooner, because one interpreter renders all pages.
_THREADS = 12
_COLLECT_AFTER = 256


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections may be open.

    Attributes:
        most: Open connections at the same time.
        held_back: Descriptors of the process that connections must leave free.
    """

    most: int
    held_back: int


PUBLIC_LIMITS = ConnectionLimits(most=128, held_back=32)
"""The descriptors held back are for health, Kafka's clients and files."""

HEALTH_LIMITS = ConnectionLimits(most=16, held_back=0)


class _Connection(H11Protocol):
    """A connection of HTTP/1.1 that is closed when it takes too long.

    Attributes:
        is_waiting: Whether no request is being answered, so that the connection may be closed for another.
    """

    def __init__(self, server: "ConnectionServer", opened: socket.socket, tls: TlsRules | None) -> None:
        super().__init__(server.config, server.server_state, {})
        self.is_waiting = True
        self._server = server
        self._socket = opened
        self._tls = tls
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, unless the client's certificate is of the wrong name."""
        super().connection_made(transport)
        self._end_after(_HEAD_S)
        if self._tls is not None and not self._tls.admits(transport.get_extra_info("peercert")):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room for another connection."""
        self._server.forget(self)
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a request, unless its connection was opened by another TLS.

        A client repeats what gets no answer on an open connection (RFC 9112, section 9.3.1).
        """
        if self._tls is not self._server.tls():
            self.transport.close()
            return
        super().data_received(data)
        if self.is_waiting and self.cycle is not None and not self.cycle.response_complete:
            self.is_waiting = False
            self._end_after(_REQUEST_S)

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it came before the answer to this one."""
        if self.conn.trailing_data[0]:
            # A client that sends ahead must expect that (RFC 9112, section 9.3.2).
            self.transport.close()
        super().on_response_complete()
        self.is_waiting = True
        self._server.waits_again(self)

    def evict(self) -> None:
        """End the connection, also while it shakes hands."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _end_after(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        # Not close, which would wait for a client that does not read.
        self._deadline = self.loop.call_later(seconds, self.transport.abort)


class ConnectionServer(uvicorn.Server):
    """A uvicorn server that accepts connections itself.

    If the limits are reached, a new connection takes the place of the one that waits for the longest time,
    so that idle and slow clients keep nobody out.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        limits: ConnectionLimits,
        file: WebConfigFile | None,
        on_accepting: Callable[[], None],
    ) -> None:
        """Prepare to serve.

        Args:
            config: uvicorn's configuration.
            limits: The limits.
            file: The web configuration file; None: plain HTTP.
            on_accepting: Called once connections are accepted.
        """
        super().__init__(config)
        self._limits = limits
        self._file = file
        self._on_accepting = on_accepting
        # In the order in which they began to wait.
        self._connections: dict[_Connection, None] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._failed = 0

    def tls(self) -> TlsRules | None:
        """Return the TLS of new connections; None: plain HTTP."""
        return None if self._file is None else self._file.rules().tls

    def forget(self, connection: _Connection) -> None:
        """Count a connection as closed."""
        self._connections.pop(connection, None)

    def waits_again(self, connection: _Connection) -> None:
        """Count a connection as the one that waits for the shortest time."""
        if connection in self._connections:
            self._connections[connection] = self._connections.pop(connection)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections on the one socket."""
        current_default_thread_limiter().total_tokens = _THREADS
        await super().startup(sockets=[])
        (listener,) = sockets or []
        listener.settimeout(0)
        self._accepting = asyncio.create_task(self._accept(listener))
        self._on_accepting()

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop; raise what ended the accepting of connections."""
        if self._accepting.done():
            self._accepting.result()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, and end what runs."""
        for task in (self._accepting, *self._opening):
            task.cancel()
        await super().shutdown(sockets)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                opened, _ = await loop.sock_accept(listener)
            except OSError as error:
                remedy = "raise the limit of open files (ulimit -n)"
                _log.error(
                    "the HTTP server cannot accept connections",
                    extra={"error": error.strerror, "remedy": remedy},
                )
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            if self._make_room(opened):
                task = asyncio.create_task(self._open(opened))
                self._opening.add(task)
                task.add_done_callback(self._opening.discard)
            else:
                opened.close()
            # Accepting does not wait while connections queue, and the loop must come round to close old ones.
            await asyncio.sleep(0)

    def _make_room(self, opened: socket.socket) -> bool:
        """Return whether a new connection is within the limits, once others were closed for it."""
        # The system gives the lowest free descriptor, so a high one says that all below are in use.
        highest = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - self._limits.held_back
        excess = max(len(self._connections) + 1 - self._limits.most, opened.fileno() + 1 - highest, 0)
        waiting = [connection for connection in self._connections if connection.is_waiting]
        for connection in waiting[:excess]:
            connection.evict()
            self.forget(connection)
        return excess <= len(waiting)

    async def _open(self, opened: socket.socket) -> None:
        """Shake hands, if by TLS, and serve the connection."""
        tls = self.tls()
        connection = _Connection(self, opened, tls)
        self._connections[connection] = None
        context = None if tls is None else tls.context
        limit_s = None if context is None else _HANDSHAKE_S
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                opened,
                ssl=context,
                ssl_handshake_timeout=limit_s,
                ssl_shutdown_timeout=limit_s,
            )
        except OSError:
            # The client went away, or offered nothing that the rules allow.
            self.forget(connection)
            self._failed += 1
            if self._failed % _COLLECT_AFTER == 0:
                # A connection's buffers, 256 KiB by TLS, are in a cycle, which else nobody collects for long.
                gc.collect()
