"""The endpoints /livez and /readyz of a process that serves only the page."""

import logging

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from driftgauge.topics.follower import TopicFollower

__all__ = ["page_health_routes"]

_log = logging.getLogger(__name__)


def page_health_routes(reader: TopicFollower) -> list[BaseRoute]:
    """Return the routes; the page is ready once it has read what the topic held at its start."""

    async def livez(_: Request) -> Response:
        alive = reader.is_alive
        if not alive:
            _log.error(
                "the reader of window results has ended; the process must be restarted",
                extra={"remedy": "let a supervisor restart it by /livez; if this repeats, report the log"},
            )
        return JSONResponse({"alive": alive}, status_code=200 if alive else 503)

    async def readyz(_: Request) -> Response:
        missing = [] if reader.has_caught_up else ["results_read"]
        return JSONResponse({"ready": not missing, "missing": missing}, status_code=503 if missing else 200)

    return [Route("/livez", livez), Route("/readyz", readyz)]
