"""HTTP servers in this process; one is a schema registry, which gives schemas by id, or fails."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from driftgauge.web.server import HttpServer

__all__ = ["serve_answers", "serve_routes", "serve_schemas"]

_SCHEMA = re.compile(r"/schemas/ids/(\d+)")


@contextmanager
def serve_routes(routes: Sequence[BaseRoute]) -> Iterator[HttpServer]:
    """Serve routes on a free loopback port until the context ends."""
    server = HttpServer("127.0.0.1", 0, routes)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def serve_answers(answer: Callable[[str, str | None], tuple[int, bytes]]) -> Iterator[str]:
    """Yield the address of a server; `answer` turns path with query, and login, into status and body."""

    def respond(request: Request) -> Response:
        path = str(request.url.replace(scheme="", netloc=""))
        status, body = answer(path, request.headers.get("Authorization"))
        return Response(body, status, media_type="application/json")

    with serve_routes([Route("/{path:path}", respond, methods=["GET", "POST"])]) as server:
        yield f"http://127.0.0.1:{server.port}"


def serve_schemas(schemas: Mapping[int, object], *, failures: int = 0) -> AbstractContextManager[str]:
    """Serve a registry, which fails at the first requests; the context gives its address.

    A schema is of Avro, or a text: the serialized descriptor of Protobuf.
    """
    left = iter(range(failures))

    def answer(path: str, _: str | None) -> tuple[int, bytes]:
        named = _SCHEMA.match(path)
        schema = schemas.get(int(named[1])) if named else None
        if next(left, None) is not None:
            return 503, b'{"error_code": 503, "message": "away"}'
        if schema is None:
            return 404, b'{"error_code": 40403, "message": "Schema not found"}'
        is_text = isinstance(schema, str)
        found = {"schema": schema, "schemaType": "PROTOBUF"} if is_text else {"schema": json.dumps(schema)}
        return 200, json.dumps(found).encode()

    return serve_answers(answer)
