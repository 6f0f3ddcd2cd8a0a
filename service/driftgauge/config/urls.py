"""Addresses that the page links to, loads pictures from, or fills in for an event."""

import re
from typing import Annotated
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator

from driftgauge.config.fields import require

__all__ = ["Url", "UrlTemplate", "fill_template", "origin"]

_PLACEHOLDER = re.compile(r"\{(\w*)\}")
# Placeholders, and what no host has: such text would add to the page's content security policy.
_NO_HOST = re.compile(r"[\s;,'\"<>\\{}]")
_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")
# A browser takes these for steps in a path.
_DOTS = {".", ".."}
_KNOWN = {"stream", "event_id"}


def _check_template(url: str) -> str:
    """Return a URL template; raise ValueError for one that a page must not link to."""
    parts = urlsplit(url)
    require(
        parts.scheme in ("http", "https") and _HOST.fullmatch(parts.netloc) and url.isascii(),
        "write an http or https URL with a fixed host and in ASCII, such as https://images.example/{event_id}",
    )
    placeholders = set(_PLACEHOLDER.findall(url))
    require(
        {"event_id"} <= placeholders <= _KNOWN,
        "the URL takes {event_id}, and may take {stream}; it takes nothing else",
    )
    return url


def _check_url(url: str) -> str:
    """Return a URL without slashes at its end; raise ValueError for one that a page must not link to."""
    parts = urlsplit(url)
    require(
        parts.scheme in ("http", "https") and parts.hostname and not _NO_HOST.search(url),
        "write an http or https URL, such as https://grafana.example",
    )
    return url.rstrip("/")


Url = Annotated[str, AfterValidator(_check_url)]
UrlTemplate = Annotated[str, AfterValidator(_check_template)]


def fill_template(template: str, stream: str, event_id: str) -> str | None:
    """Return the URL of an event by a template; None if a name would lead to another path."""
    if _DOTS & {stream, event_id}:
        return None
    values = {"stream": stream, "event_id": event_id}
    return _PLACEHOLDER.sub(lambda found: quote(values[found[1]], safe=""), template)


def origin(url: str) -> str:
    """Return the origin of a URL or template, as a content security policy names it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
