"""A schema registry in this process: it gives schemas by id, or fails."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from driftgauge.web.server import HttpServer

__all__ = ["serve_answers", "serve_schemas"]

_SCHEMA = re.compile(r"/schemas/ids/(\d+)")


@contextmanager
def serve_answers(answer: Callable[[str, str | None], tuple[int, bytes]]) -> Iterator[str]:
    """Yield the address of a server; `answer` turns path with query, and login, into status and body."""

    def respond(request: Request) -> Response:
        path = str(request.url.replace(scheme="", netloc=""))
        status, body = answer(path, request.headers.get("Authorization"))
        return Response(body, status, media_type="application/json")

    server = HttpServer("127.0.0.1", 0, [Route("/{path:path}", respond, methods=["GET", "POST"])])
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()


@contextmanager
def serve_schemas(schemas: Mapping[int, object], *, failures: int = 0) -> Iterator[str]:
    """Yield the address of a registry, which fails at the first requests.

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

    with serve_answers(answer) as url:
        yield url
