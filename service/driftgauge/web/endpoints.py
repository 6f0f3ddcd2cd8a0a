"""The endpoints /metrics, /version, and /livez and /readyz for a supervisor on a port of their own."""

import gzip
import logging
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, gzip_accepted
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from driftgauge.telemetry.health import Health

__all__ = ["health_routes", "metrics_route", "version_route"]

_log = logging.getLogger(__name__)

_PACKAGE = Path(__file__).parents[1]


def metrics_route(registry: CollectorRegistry) -> BaseRoute:
    """Return the route of the metrics in a registry."""

    def metrics(request: Request) -> Response:  # not async, so Starlette runs it in its thread pool
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        body = encode(registry)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if gzip_accepted(request.headers.get("accept-encoding", "")):
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers)

    return Route("/metrics", metrics)


def health_routes(health: Health) -> list[BaseRoute]:
    """Return the routes that say whether the service is alive, and whether it is ready and why not."""

    async def livez(_: Request) -> Response:
        overdue = health.overdue()
        since_poll_s = health.since_poll_ms() / 1000
        if overdue:
            _log.error(
                "no poll within the bound; the process must be restarted",
                extra={
                    "roles": overdue,
                    "since_poll_seconds": since_poll_s,
                    "remedy": "let a supervisor restart it by /livez; if this repeats, look for pauses and "
                    "throttling of the process",
                },
            )
        body = {"alive": not overdue, "since_poll_seconds": since_poll_s}
        return JSONResponse(body, status_code=503 if overdue else 200)

    async def readyz(_: Request) -> Response:
        missing = health.missing()
        body = {
            "ready": not missing,
            "missing": missing,
            "reasons": health.reasons(),
            "blocked_partitions": health.blocked(),
        }
        return JSONResponse(body, status_code=503 if missing else 200)

    return [Route("/livez", livez), Route("/readyz", readyz)]


def version_route(package: Path = _PACKAGE) -> BaseRoute:
    """Return the route that says which code runs: its version, and its commit in the project's image."""
    # The image's build writes the file.
    named = package / "commit.txt"
    commit = named.read_text("utf-8").strip() if named.exists() else None
    body = {"version": version("driftgauge"), "commit": commit}

    async def answer(_: Request) -> Response:
        return JSONResponse(body)

    return Route("/version", answer)
