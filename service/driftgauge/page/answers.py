"""Answers that are kept for five seconds, so that a page that many look at costs little."""

import gzip
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock

from starlette.requests import Request
from starlette.responses import Response

__all__ = ["AnswerCache"]

_KEPT = 64
# Rendering takes ten times as long as an answer that is kept, and the page asks again every 15 s.
_FRESH_MS = 5_000
_COMPRESSION = 4


@dataclass(frozen=True, slots=True)
class _Answer:
    made_ms: int
    packed: bytes
    tag: str


class AnswerCache:
    """The last answers by URL; one is at most five seconds old."""

    def __init__(self, headers: dict[str, str], clock_ms: Callable[[], int]) -> None:
        """Keep answers that have these headers, by this wall clock."""
        self._headers = headers
        self._clock_ms = clock_ms
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._lock = Lock()

    def answer(self, request: Request, render: Callable[[], str]) -> Response:
        """Return the answer to a request, rendered again if it is no longer fresh."""
        key = f"{request.url.path}?{request.url.query}"
        now_ms = self._clock_ms()
        with self._lock:
            kept = self._answers.get(key)
        # The wall clock may be set back.
        if kept is None or abs(now_ms - kept.made_ms) >= _FRESH_MS:
            body = render().encode()
            tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
            kept = _Answer(now_ms, gzip.compress(body, _COMPRESSION), tag)
            with self._lock:
                self._answers[key] = kept
                self._answers.move_to_end(key)
                if len(self._answers) > _KEPT:
                    self._answers.popitem(last=False)
        headers = {**self._headers, "ETag": kept.tag, "Vary": "Accept-Encoding", "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == kept.tag:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(kept.packed, headers=headers, media_type="text/html")
        return Response(gzip.decompress(kept.packed), headers=headers, media_type="text/html")
