"""The HTTP server of the process, in a thread of its own."""

import logging
import socket
from collections.abc import Sequence
from threading import Event, Thread

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from driftgauge.errors import ConfigError, ServiceError

__all__ = ["HttpServer"]

_log = logging.getLogger(__name__)

# The server starts within milliseconds; the bound only matters on a broken machine.
_START_TIMEOUT_S = 10.0
# uvicorn cancels running requests after this time, in whole seconds.
_GRACE_S = 1
_STOP_TIMEOUT_S = _GRACE_S + 1.0


class _Server(uvicorn.Server):
    """A uvicorn server with an event that is set once it accepts requests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.accepting.set()


class HttpServer:
    """Serves routes from a thread of its own.

    Outside the main thread uvicorn does not change signal handlers. One event loop serves all
    connections, so a silent peer blocks no other. A thread pool runs endpoints that are plain functions,
    so /livez and /readyz answer even while a rendering hangs.
    """

    def __init__(self, host: str, port: int, routes: Sequence[BaseRoute]) -> None:
        """Configure the server; port 0 takes any free port."""
        self._host = host
        self._port = port
        config = uvicorn.Config(
            Starlette(routes=list(routes)),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = _Server(config)
        self._thread = Thread(target=self._serve, name="http", daemon=True)

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
        if not self._server.accepting.wait(_START_TIMEOUT_S):
            message = f"the HTTP server on {self._host} port {self._port} did not start; see the log above"
            raise ServiceError(message)
        _log.info("http server started", extra={"host": self._host, "port": self._port})

    def stop(self) -> None:
        """Stop serving within about two seconds, even while requests are running."""
        self._server.should_exit = True
        self._thread.join(_STOP_TIMEOUT_S)
        if self._thread.is_alive():
            _log.warning(
                "http server still busy; the process ends without it",
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
            return socket.create_server(address[:2], family=family)
        except OSError as error:
            message = (
                f"cannot serve HTTP on {self._host} port {self._port}: {error.strerror}; "
                "set http.host to an address of this machine and http.port to a free port (0 takes any)"
            )
            raise ConfigError(message) from error

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception:  # noqa: BLE001 - logged with its traceback
            # /livez no longer answers, so the supervisor restarts the process.
            _log.exception(
                "http server failed; /metrics, /livez and /readyz no longer answer",
                extra={
                    "host": self._host,
                    "port": self._port,
                    "remedy": "let a supervisor restart the process; if this repeats, report the traceback",
                },
            )
