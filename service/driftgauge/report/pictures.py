"""The pictures of events within a report's file."""

import base64
from collections.abc import Callable
from functools import cache
from http.client import HTTPException
from urllib.request import urlopen

from driftgauge.config.page import fill_template

__all__ = ["MOST_BYTES", "MOST_PICTURES", "embedded"]

MOST_PICTURES = 12
"""The largest number of pictures in a report: five of the baseline, six of now, and one."""

MOST_BYTES = 100_000
"""The largest picture that is embedded."""

_TYPES = ("image/gif", "image/jpeg", "image/png", "image/svg+xml", "image/webp")
_TIMEOUT_S = 5.0


def embedded(template: str | None) -> Callable[[str, str], str | None]:
    """Return a function from a stream and an event id to the picture as a data URL.

    It returns None for a picture that cannot be loaded, is too large, or comes after the first twelve.

    Args:
        template: Where pictures are, as `thumbnail_url`; None: nowhere.
    """
    loaded = 0

    @cache
    def picture(stream: str, event_id: str) -> str | None:
        nonlocal loaded
        if template is None or loaded >= MOST_PICTURES:
            return None
        loaded += 1
        try:
            # The settings let only http and https through.
            with urlopen(fill_template(template, stream, event_id), timeout=_TIMEOUT_S) as answer:  # noqa: S310
                kind, content = answer.headers.get_content_type(), answer.read(MOST_BYTES + 1)
        except (OSError, HTTPException):
            return None
        if kind not in _TYPES or len(content) > MOST_BYTES:
            return None
        return f"data:{kind};base64,{base64.b64encode(content).decode()}"

    return picture
