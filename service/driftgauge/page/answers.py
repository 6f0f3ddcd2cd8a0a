"""Answers that are kept until what they show changes, so that a page that many look at costs little."""

import gzip
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock

from starlette.requests import Request
from starlette.responses import Response

__all__ = ["AnswerCache"]

_KEPT = 64
_COMPRESSION = 4


@dataclass(frozen=True, slots=True)
class _Answer:
    state: Hashable
    body: bytes
    packed: bytes
    tag: str


class AnswerCache:
    """The last answers by URL, each for one state of what it shows."""

    def __init__(self, headers: dict[str, str]) -> None:
        """Keep answers that have these headers."""
        self._headers = headers
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._lock = Lock()

    def answer(self, request: Request, state: Hashable, render: Callable[[], str]) -> Response:
        """Return the answer to a request; it is rendered again only where the state is another one."""
        key = f"{request.url.path}?{request.url.query}"
        with self._lock:
            kept = self._answers.get(key)
        if kept is None or kept.state != state:
            body = render().encode()
            tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
            kept = _Answer(state, body, gzip.compress(body, _COMPRESSION), tag)
            with self._lock:
                self._answers[key] = kept
                self._answers.move_to_end(key)
                if len(self._answers) > _KEPT:
                    self._answers.popitem(last=False)
        headers = {**self._headers, "ETag": kept.tag, "Vary": "Accept-Encoding", "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == kept.tag:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(
                kept.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type="text/html"
            )
        return Response(kept.body, headers=headers, media_type="text/html")
