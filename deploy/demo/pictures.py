"""The demo's images as pictures for the page: an event's id holds its image, so nothing is kept."""

import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw", "event_ids", "pictures"]

_HOST = "127.0.0.1"
_SIDE, _SCALE = 8, 9
# One hexadecimal digit a pixel gives 64 characters, which is the longest id of an example.
_LEVELS = 16


def event_ids(pixels: NDArray[np.float64]) -> list[str]:
    """Return ids that hold (n, 8, 8) images, each pixel from 0 to 1, in sixteen shades."""
    shades = np.clip(np.rint(pixels * (_LEVELS - 1)), 0, _LEVELS - 1).astype(np.uint8)
    return ["".join(f"{shade:x}" for shade in image) for image in shades.reshape(len(shades), -1).tolist()]


def draw(event_id: str) -> bytes:
    """Return the PNG of the image that an id holds (RFC 2083).

    Raises:
        ValueError: It is no such id.
    """
    if len(event_id) != _SIDE * _SIDE:
        message = f"{event_id!r} is no id of an image: it has 64 hexadecimal digits"
        raise ValueError(message)
    shades = [int(digit, 16) * 255 // (_LEVELS - 1) for digit in event_id]
    # Each pixel is a square, since a browser would blur so small a picture.
    image = np.kron(np.array(shades, np.uint8).reshape(_SIDE, _SIDE), np.ones((_SCALE, _SCALE), np.uint8))
    # Each line begins with the number of its filter; 0 is none.
    lines = np.pad(image, ((0, 0), (1, 0))).tobytes()

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", _SIDE * _SCALE, _SIDE * _SCALE, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    )


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        try:
            status, body = 200, draw(self.path.lstrip("/"))
        except ValueError:
            status, body = 404, b""
        self.send_response(status)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing between the demo's lines."""


@contextmanager
def pictures() -> Iterator[str]:
    """Serve the pictures on this machine alone; yield where, as `thumbnail_url` takes it."""
    server = ThreadingHTTPServer((_HOST, 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{_HOST}:{server.server_port}/{{event_id}}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
