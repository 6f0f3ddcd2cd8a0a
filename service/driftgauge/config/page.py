"""The settings of the page."""

import re
from importlib.metadata import version
from typing import Annotated
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, Field

from driftgauge.config.fields import PositiveDuration, Section, require

__all__ = ["PageSettings", "fill_template"]

_HISTORY_MS = 31 * 86_400_000
_PLACEHOLDER = re.compile(r"\{(\w*)\}")
# Placeholders, and what no host has: such text would add to the page's content security policy.
_NO_HOST = re.compile(r"[\s;,'\"<>\\{}]")
_KNOWN = {"stream", "event_id"}
# A tag of the repository is a version.
_RUNBOOKS = f"https://github.com/driftgauge/driftgauge/blob/v{version('driftgauge')}/deploy/runbooks"


def _check_template(url: str) -> str:
    """Return a URL template; raise ValueError for one that a page must not link to."""
    parts = urlsplit(url)
    require(
        parts.scheme in ("http", "https") and parts.hostname and not _NO_HOST.search(parts.netloc),
        "write an http or https URL with a fixed host, such as https://images.example/{event_id}",
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


UrlTemplate = Annotated[str, AfterValidator(_check_template)]


class PageSettings(Section):
    """The page that shows the window results.

    Attributes:
        enabled: Whether `serve` serves the page.
        history: How old, by their Kafka records, the results are that it shows.
        max_windows: The number of windows of all streams that it keeps; the oldest go first. A window takes
            240 bytes, and about 200 more where partitions are missing or segments drift.
        path_prefix: A path such as `/driftgauge` under which the page stands as well, for an ingress that
            passes its path on.
        example_url: Where an event can be looked at, such as `https://images.example/{event_id}`; `{stream}`
            may stand in it too. Without it, ids are text.
        thumbnail_url: Where the picture of an event is, likewise. Browsers load pictures from that origin
            only.
        grafana_url: The address of Grafana, such as `https://grafana.example`; streams then link to its
            dashboard of drift.
        runbooks_url: Where the runbooks are; by default, those of this version.
    """

    enabled: bool = True
    history: PositiveDuration = _HISTORY_MS
    max_windows: Annotated[int, Field(ge=1_000, le=10_000_000)] = 400_000
    path_prefix: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$")] = ""
    example_url: UrlTemplate | None = None
    thumbnail_url: UrlTemplate | None = None
    grafana_url: Annotated[str, AfterValidator(_check_url)] | None = None
    runbooks_url: Annotated[str, AfterValidator(_check_url)] = _RUNBOOKS

    @property
    def thumbnail_origin(self) -> str | None:
        """The only origin that pictures come from, as a content security policy names it."""
        if self.thumbnail_url is None:
            return None
        parts = urlsplit(self.thumbnail_url)
        return f"{parts.scheme}://{parts.netloc}"


def fill_template(template: str, stream: str, event_id: str) -> str:
    """Return the URL of an event by one of the templates."""
    values = {"stream": stream, "event_id": event_id}
    return _PLACEHOLDER.sub(lambda found: quote(values[found[1]], safe=""), template)
