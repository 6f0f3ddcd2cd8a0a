"""The HTTP server of the process, in a thread of its own."""

import logging
import socket
from collections.abc import Sequence
from threading import Event, Thread
from traceback import format_exc

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from driftgauge.errors import MORE_THREADS, ConfigError, ServiceError
from driftgauge.watchdog import end_process
from driftgauge.web.connections import PUBLIC_LIMITS, ConnectionLimits, ConnectionServer
from driftgauge.web.guard import Guard

__all__ = ["HttpServer"]

_log = logging.getLogger(__name__)

# The server starts within milliseconds; the bound only matters on a broken machine.
_START_TIMEOUT_S = 10.0
# uvicorn cancels running requests after this time, in whole seconds.
_GRACE_S = 1
_STOP_TIMEOUT_S = _GRACE_S + 1.0
# What Python says if the system starts no further thread.
_NO_THREAD = "can't start new thread"
# Connections that the kernel holds until they are accepted.
_BACKLOG = 1_024


class HttpServer:
    """Serves routes from a thread of its own.

    Outside the main thread uvicorn does not change signal handlers. One event loop serves all
    connections, so a silent peer blocks no other. A thread pool runs endpoints that are plain functions.
    """

    def __init__(
        self,
        host: str,
        port: int,
        routes: Sequence[BaseRoute],
        *,
        name: str = "http",
        limits: ConnectionLimits = PUBLIC_LIMITS,
        guard: Guard | None = None,
    ) -> None:
        """Configure the server.

        Args:
            host: The address to listen on.
            port: The port; 0 takes any free one.
            routes: The routes.
            name: The name in the log.
            limits: The limits of its connections.
            guard: What every request must pass; None: plain HTTP without a login.
        """
        self._host = host
        self._port = port
        self._name = name
        app: ASGIApp = Starlette(
            routes=list(routes), exception_handlers={RuntimeError: _answer_without_thread}
        )
        if guard is not None:
            app = guard.protect(app)
        config = uvicorn.Config(
            _refuse_ambiguous_bodies(app),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            # Whoever connects could name another address in a header, and escape the limit of attempts.
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._accepting = Event()
        file = None if guard is None else guard.file
        self._server = ConnectionServer(config, limits, file, self._accepting.set)
        self._thread = Thread(target=self._serve, name=name, daemon=True)

    @property
    def port(self) -> int:
        """The port that the server listens on, once started."""
        return self._port

    def start(self) -> None:
        """Listen and start to serve.

        Raises:
            ConfigError: The server cannot listen on the address.
            ServiceError: The server did not start in time.
        """
        self._socket = self._listen()
        self._port = self._socket.getsockname()[1]
        self._thread.start()
        if not self._accepting.wait(_START_TIMEOUT_S):
            message = (
                f"the {self._name} server on {self._host} port {self._port} did not start; see the log above"
            )
            raise ServiceError(message)
        _log.info("%s server started", self._name, extra={"host": self._host, "port": self._port})

    def stop(self) -> None:
        """Stop serving within about two seconds, even while requests are running."""
        self._server.should_exit = True
        self._thread.join(_STOP_TIMEOUT_S)
        if self._thread.is_alive():
            _log.warning(
                "%s server still busy; the process ends without it",
                self._name,
                extra={
                    "host": self._host,
                    "port": self._port,
                    "remedy": "none; if the process does not end, look for a client with a slow request",
                },
            )

    def _listen(self) -> socket.socket:
        try:
            family, *_, address = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
        except OSError as error:
            message = (
                f"cannot serve HTTP on {self._host} port {self._port}: {error.strerror}; "
                "set http.host to an address of this machine, and http.port and http.health_port to free "
                "ports (0 takes any)"
            )
            raise ConfigError(message) from error

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception:  # noqa: BLE001 - logged with its traceback
            end_process(
                "the HTTP server failed, so the process ends",
                host=self._host,
                port=self._port,
                exception=format_exc(),
                remedy="let a supervisor restart the process; if this repeats, report the traceback",
            )


async def _answer_without_thread(_: Request, error: Exception) -> Response:
    """Return the answer to a request that gets no thread; raise any other error again."""
    if str(error) != _NO_THREAD:
        raise error
    _log.error("a request gets no thread", extra={"error": str(error), "remedy": MORE_THREADS})
    return PlainTextResponse("no thread is free to answer this; try again", 503, {"Retry-After": "1"})


def _refuse_ambiguous_bodies(app: ASGIApp) -> ASGIApp:
    """Return an application that refuses requests whose end a proxy may see elsewhere.

    Source: RFC 9112, section 6.3.
    """

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            text = "a request has either Content-Length or Transfer-Encoding"
            await PlainTextResponse(text, 400, {"Connection": "close"})(scope, receive, send)
        else:
            await app(scope, receive, send)

    return refuse
