"""A schema registry in this process: it gives schemas by id, or fails."""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["serve_schemas"]

_SCHEMA = re.compile(r"/schemas/ids/(\d+)")


@contextmanager
def serve_schemas(schemas: Mapping[int, object], *, failures: int = 0) -> Iterator[str]:
    """Yield the address of a registry with these Avro schemas, which fails at the first requests."""
    left = failures

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal left
            found = _SCHEMA.match(self.path)
            schema = schemas.get(int(found[1])) if found else None
            if left > 0:
                left -= 1
                status, answer = 503, {"error_code": 503, "message": "away"}
            elif schema is None:
                status, answer = 404, {"error_code": 40403, "message": "Schema not found"}
            else:
                status, answer = 200, {"schema": json.dumps(schema)}
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
