"""The HTTP side: /metrics for Prometheus, /livez and /readyz for a supervisor."""

import gzip
import logging
import socket
from threading import Event, Thread

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, gzip_accepted
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from driftgauge.errors import ConfigError, ServiceError
from driftgauge.telemetry.health import Health

__all__ = ["MetricsServer"]

_log = logging.getLogger(__name__)

# The first byte is served within milliseconds of the start; this only bounds a broken machine.
_START_TIMEOUT_S = 10.0
# uvicorn gives requests under way this long (whole seconds), then cancels them.
_GRACE_S = 1
_STOP_TIMEOUT_S = _GRACE_S + 1.0


class _Server(uvicorn.Server):
    """A uvicorn server that says when it accepts requests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.accepting.set()


class MetricsServer:
    """Serves metrics and health from a thread of its own.

    Off the main thread uvicorn leaves the signal handlers alone. Connections are served by one
    event loop, so a peer that says nothing holds nobody up; metrics are rendered in a pool of
    threads, so that health is answered even while a rendering hangs.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry, health: Health) -> None:
        """Prepare to serve; port 0 takes any free one."""
        self._host = host
        self._port = port
        config = uvicorn.Config(
            _application(registry, health),
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
        """The port that is served, once started."""
        return self._port

    def start(self) -> None:
        """Listen and begin to serve.

        Raises:
            ConfigError: The address cannot be listened on.
            ServiceError: The server did not come up.
        """
        self._socket = self._listen()
        self._port = self._socket.getsockname()[1]
        self._thread.start()
        if not self._server.accepting.wait(_START_TIMEOUT_S):
            message = (
                f"the HTTP server on {self._host} port {self._port} did not start; see the log before this"
            )
            raise ServiceError(message)
        _log.info("http server started", extra={"host": self._host, "port": self._port})

    def stop(self) -> None:
        """Stop serving, within about two seconds whatever the requests under way do."""
        self._server.should_exit = True
        self._thread.join(_STOP_TIMEOUT_S)
        if self._thread.is_alive():
            _log.warning("http server still busy", extra={"host": self._host, "port": self._port})

    def _listen(self) -> socket.socket:
        try:
            family, *_, address = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            return socket.create_server(address[:2], family=family)
        except OSError as error:
            message = (
                f"cannot serve metrics on {self._host} port {self._port}: {error.strerror}; "
                "set http.host to an address of this machine and http.port to a free port (0 takes any)"
            )
            raise ConfigError(message) from error

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception:  # noqa: BLE001 - logged with its trace
            # Health can no longer be asked, so the supervisor restarts the process.
            _log.exception("http server failed")


def _application(registry: CollectorRegistry, health: Health) -> Starlette:
    def metrics(request: Request) -> Response:  # not async: Starlette runs it in its thread pool
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        body = encode(registry)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if gzip_accepted(request.headers.get("accept-encoding", "")):
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers)

    async def livez(_: Request) -> Response:
        alive = health.is_alive()
        since_poll_s = health.since_poll_ms() / 1000
        if not alive:
            _log.error("poll loop stands still", extra={"since_poll_seconds": since_poll_s})
        return JSONResponse(
            {"alive": alive, "since_poll_seconds": since_poll_s}, status_code=200 if alive else 503
        )

    async def readyz(_: Request) -> Response:
        missing = health.missing()
        return JSONResponse({"ready": not missing, "missing": missing}, status_code=503 if missing else 200)

    return Starlette(routes=[Route("/metrics", metrics), Route("/livez", livez), Route("/readyz", readyz)])
