"""The settings of the page."""

from importlib.metadata import version
from typing import Annotated

from pydantic import Field

from driftgauge.config.fields import PositiveDuration, Section
from driftgauge.config.urls import Url

__all__ = ["PageSettings"]

_HISTORY_MS = 31 * 86_400_000
# A tag of the repository is a version.
_RUNBOOKS = f"https://github.com/driftgauge/driftgauge/blob/v{version('driftgauge')}/deploy/runbooks"


class PageSettings(Section):
    """The page that shows the window results.

    Attributes:
        enabled: Whether `serve` serves the page.
        history: How old results may be that the page shows, by the time of their Kafka records.
        max_windows: The number of windows of all streams that the page keeps; the oldest go first. A window
            takes 267 bytes, and about 200 more if partitions are missing or segments drift.
        path_prefix: A path such as `/driftgauge` under which the page is also served, for an ingress that
            passes its path on.
        grafana_url: The address of Grafana, such as `https://grafana.example`; streams then link to its
            dashboard of drift.
        runbooks_url: Where the runbooks are; by default, those of this version.
    """

    enabled: bool = True
    history: PositiveDuration = _HISTORY_MS
    max_windows: Annotated[int, Field(ge=1_000, le=10_000_000)] = 400_000
    path_prefix: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$")] = ""
    grafana_url: Url | None = None
    runbooks_url: Url = _RUNBOOKS
