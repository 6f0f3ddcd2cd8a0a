"""The pictures of events within a report's file."""

import base64
from collections.abc import Callable
from functools import cache
from http.client import HTTPException
from time import monotonic
from urllib.request import HTTPRedirectHandler, build_opener

__all__ = ["MOST_BYTES", "MOST_PICTURES", "picture_loader"]

MOST_PICTURES = 12
"""The largest number of pictures in a report: five of the baseline, six of now, and one."""

MOST_BYTES = 100_000
"""The largest picture that is embedded."""

_TYPES = ("image/gif", "image/jpeg", "image/png", "image/svg+xml", "image/webp")
# After so long the next picture is not asked for. A server that sends a byte now and then is not waited for.
_TOTAL_S, _TIMEOUT_S = 10.0, 2.0
_CHUNK_BYTES = 8_192


class _NoRedirects(HTTPRedirectHandler):
    """Takes a redirection for an error: it may lead where the configuration does not allow."""

    def redirect_request(self, *_: object) -> None:
        """Follow nothing."""


def picture_loader(monotonic: Callable[[], float] = monotonic) -> Callable[[str], str | None]:
    """Return a function from the address of a picture to the picture as a data URL.

    It returns None for a picture that cannot be loaded, is too large, or comes after the first twelve
    or ten seconds.
    """
    loaded, opener, until_s = 0, build_opener(_NoRedirects), monotonic() + _TOTAL_S

    @cache
    def load(url: str) -> str | None:
        nonlocal loaded
        if loaded >= MOST_PICTURES or monotonic() > until_s:
            return None
        loaded += 1
        try:
            # The settings let only http and https through.
            with opener.open(url, timeout=_TIMEOUT_S) as answer:
                kind, content = answer.headers.get_content_type(), b""
                while len(content) <= MOST_BYTES and (chunk := answer.read1(_CHUNK_BYTES)):
                    content += chunk
                    if monotonic() > until_s:
                        return None
        except (OSError, HTTPException):
            return None
        if kind not in _TYPES or len(content) > MOST_BYTES:
            return None
        return f"data:{kind};base64,{base64.b64encode(content).decode()}"

    return load
