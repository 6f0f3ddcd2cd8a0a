"""Builders for the page: records of window results, their summaries, and a source that holds them."""

import gzip
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from http.client import HTTPConnection, HTTPResponse
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from driftgauge.config import Settings
from driftgauge.core.by_stream import ByStream
from driftgauge.core.durations import format_duration
from driftgauge.errors import BrokerError
from driftgauge.events.records import StoredRecord
from driftgauge.events.timestamps import format_timestamp
from driftgauge.page.marks import Marks
from driftgauge.page.results import Results
from driftgauge.page.service_watch import ServiceWatch
from driftgauge.page.site import Site
from driftgauge.page.summary import DETECTABLE, SUMMARY, Series, read_summary
from driftgauge.records.window_record import WindowRecord
from driftgauge.web.server import HttpServer
from tests.builders.clocks import HOUR_MS, MONDAY_MS, SECOND_MS
from tests.harness.registry_server import serve_routes

_GOLDEN = Path(__file__).parents[2] / "schemas/golden/window-results/drift-with-segments-and-examples.json"
_NOT_SCORED = dict.fromkeys(
    (
        "js_divergence",
        "js_distance",
        "noise_floor",
        "p_value",
        "calibrated",
        "findings",
        "evidence",
        "kind",
        "detectable",
        "events_needed",
        "slow_drift",
    )
)


EVERY_STREAM = ({"match": "*", "most": 100},)
"""The settings that hold for every stream, and list none."""


def every_stream(**settings: Any) -> tuple[dict[str, Any], ...]:
    """Return the entry that matches every stream, with some settings."""
    return tuple(each | settings for each in EVERY_STREAM)


def build_settings(streams: Sequence[dict[str, Any]] = EVERY_STREAM, **page: Any) -> Settings:
    """Return a configuration with settings of some streams, and of the page."""
    return Settings.model_validate(
        {
            "kafka": {"bootstrap.servers": "unused", "group.id": "unused"},
            "streams": [{"baseline": "unused", "windows": ["1h"]} | stream for stream in streams],
            "page": page,
        }
    )


def record_tree(number: int = 0, verdict: str = "drift", *, size_ms: int = HOUR_MS, **changes: Any) -> Any:
    """Return the record of the hour with this number since a Monday, as a JSON tree."""
    start_ms = MONDAY_MS + number * size_ms
    tree = orjson.loads(_GOLDEN.read_bytes())
    tree |= {
        "window": format_duration(size_ms),
        "start": format_timestamp(start_ms),
        "end": format_timestamp(start_ms + size_ms),
        "verdict": verdict,
        # Less than the smallest drift worth finding, so that windows are not blind.
        "detectable": dict(zip(DETECTABLE, (0.008, 0.04, 0.01, 0.08, 0.04, 0.15, 0.06), strict=True)),
    }
    if verdict == "insufficient":
        tree |= _NOT_SCORED
    return tree | changes


def named_record(name: str) -> Any:
    """Return the record of an hour, as a JSON tree, with this name wherever a name can stand."""
    tree = record_tree(7)
    for cluster in tree["clusters"]:
        cluster |= {"name": name, "position": [cluster["id"], 1.0]}
    tree["examples"] = [
        {"cluster": cluster, "event_ids": [name], "baseline_event_ids": [name]} for cluster in (1, 2)
    ]
    for segment in tree["segments"]:
        segment |= {"key": name, "value": name}
    return tree | {"stream": name, "incomplete": [{"topic": name, "partition": 0}]}


def build_record(number: int = 0, verdict: str = "drift", **changes: Any) -> WindowRecord:
    """Return a record, as `record_tree`, without the texts of events."""
    tree = record_tree(number, verdict, **changes)
    for events in (*tree["examples"], tree["farthest"]):
        events.pop("snippets", None)
        events.pop("baseline_snippets", None)
    return WindowRecord.model_validate_json(orjson.dumps(tree))


def build_row(number: int = 0, verdict: str = "drift", **changes: Any) -> NDArray[np.void]:
    """Return the summary of a record, () of `SUMMARY`, published in the order of the numbers."""
    value = orjson.dumps(record_tree(number, verdict, **changes))
    return read_summary(value, partition=0, offset=number, published_ms=MONDAY_MS + number)[1]


def build_rows(*verdicts: str) -> NDArray[np.void]:
    """Return the summaries of one hour after another, (n,) of `SUMMARY`; an ok one has no segments."""
    changes = {"ok": {"segments": []}}
    rows = [build_row(number, verdict, **changes.get(verdict, {})) for number, verdict in enumerate(verdicts)]
    return np.array(rows, SUMMARY)


class MadeSource:
    """A topic of window results in memory."""

    def __init__(self) -> None:
        self.topic = "driftgauge.windows"
        self.error: str | None = None
        self.has_caught_up = True
        self.values: list[bytes | None] = []

    def fetch(self, partition: int, offset: int) -> bytes | None:
        """Return a record's value."""
        assert partition == 0
        if self.error is not None:
            raise BrokerError(self.error)
        return self.values[offset]


class MadeResults(Results):
    """Results whose topic is in memory."""

    def __init__(
        self,
        max_windows: int = 10_000,
        *,
        streams: ByStream[Any] | None = None,
        shows_snippets: bool = False,
    ) -> None:
        super().__init__(streams or ByStream({"*": None}), max_windows, shows_snippets=shows_snippets)
        self.source = self.made = MadeSource()

    def add(self, value: bytes, published_ms: int) -> None:
        """Publish a record."""
        offset = len(self.made.values)
        self.made.values.append(value)
        self.receive(StoredRecord(value, stored_offset=offset, stored_ms=published_ms))

    def publish(self, number: int = 0, verdict: str = "drift", **changes: Any) -> Series:
        """Publish a record, as `record_tree`, a second after the one before; return its series."""
        value = orjson.dumps(record_tree(number, verdict, **changes))
        self.add(value, MONDAY_MS + len(self.made.values) * 1_000)
        return read_summary(value, partition=0, offset=0, published_ms=0)[0]


def publish(
    *windows: str | tuple[str, dict[str, Any]],
    error: str | None = None,
    has_caught_up: bool = True,
    deleted: Sequence[int] = (),
    shows_snippets: bool = False,
    **changes: Any,
) -> MadeResults:
    """Publish windows, each a verdict, or a verdict and changes of its record, one hour after another.

    Args:
        windows: The windows.
        error: What reading the topic fails with.
        has_caught_up: Whether the topic was read to its end.
        deleted: The numbers of those that the topic no longer holds.
        shows_snippets: Whether texts of events are shown.
        changes: Changes of all records.
    """
    results = MadeResults(shows_snippets=shows_snippets)
    for number, window in enumerate(windows):
        verdict, own = (window, {}) if isinstance(window, str) else window
        results.publish(**{"number": number, "verdict": verdict} | changes | own)
    for number in deleted:
        results.made.values[number] = None
    results.made.error, results.made.has_caught_up = error, has_caught_up
    return results


def serving(
    results: Results,
    now_ms: int = MONDAY_MS,
    streams: Sequence[dict[str, Any]] = EVERY_STREAM,
    marks: Marks | None = None,
    watch: ServiceWatch | None = None,
    **settings: Any,
) -> AbstractContextManager[HttpServer]:
    """Serve the page over some results on a free loopback port, with settings of the page and of streams.

    The clock advances by five seconds a look, so that no answer is kept.
    """
    return serving_by(build_settings(streams, **settings), results, now_ms, marks, watch)


def serving_by(
    settings: Settings,
    results: Results,
    now_ms: int,
    marks: Marks | None = None,
    watch: ServiceWatch | None = None,
) -> AbstractContextManager[HttpServer]:
    """Serve the page as `serving`, by a configuration."""
    site = Site(
        results, settings, count(now_ms, 5 * SECOND_MS).__next__, marks or Marks(), watch or ServiceWatch()
    )
    return serve_routes(site.routes())


def get(server: HttpServer, path: str, **headers: str) -> tuple[HTTPResponse, str]:
    """Return the response to a GET, and its body, uncompressed, without following redirects."""
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=300)) as connection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, headers=named)
        response = connection.getresponse()
        body = response.read()
        if response.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        return response, body.decode()
