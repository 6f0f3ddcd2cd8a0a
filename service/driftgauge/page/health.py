"""The endpoints /livez and /readyz of a process that serves only the page."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from driftgauge.page.results import ResultSource

__all__ = ["page_health_routes"]


def page_health_routes(source: ResultSource) -> list[BaseRoute]:
    """Return the routes; the page is ready once it has read what the topic held at its start."""

    async def livez(_: Request) -> Response:
        return JSONResponse({"alive": True})

    async def readyz(_: Request) -> Response:
        missing = [] if source.is_level else ["results_read"]
        return JSONResponse({"ready": not missing, "missing": missing}, status_code=503 if missing else 200)

    return [Route("/livez", livez), Route("/readyz", readyz)]
