"""A schema registry in this process: it gives schemas by id, or fails."""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["serve_answers", "serve_schemas"]

_SCHEMA = re.compile(r"/schemas/ids/(\d+)")


@contextmanager
def serve_answers(answer: Callable[[str, str | None], tuple[int, bytes]]) -> Iterator[str]:
    """Yield the address of a server; `answer` gets path and credentials, and returns status and body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self.path, self.headers.get("Authorization"))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


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
