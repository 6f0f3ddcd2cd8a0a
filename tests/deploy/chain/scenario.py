"""The story that the chain is put through, once, and what was seen of it."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy import dashboards
from tests.deploy.chain.stage import STREAMS, WINDOWS, Passage, Stage
from tests.deploy.chain.traffic import STRAYS
from tests.deploy.chain.webhook import Letter, Notice

__all__ = ["DOWN", "DRIFT", "Exposition", "Story", "play"]

DRIFT = "DriftgaugeDrift"
DOWN = "DriftgaugeDown"

_PAGED = {"severity": "critical"}
# A blind monitor pages after half an hour, which is half a minute here.
_BLIND_S = 120.0

_VERDICTS = "driftgauge_window_verdict"
_SHOWN = len(STREAMS) * len(WINDOWS)
_REFUSED = 'sum by (outcome) (driftgauge_events_total{outcome!="accepted"}) > 0'

_LATE = "sum(driftgauge_late_events_total) > 0"

_CLOSED = 'driftgauge_windows_closed_total{verdict="ok"}'
# Windows of each size.
_CALM = 4
# A replica counts from its own start, so a panel of rates draws only what has closed since.
_CLOSED_SINCE = "count(sum by (stream, window) (increase(driftgauge_windows_closed_total[15s])) > 0)"

_DRAWN_S = 10.0
# What a dashboard is looked at with; the rates are taken over some of our scrapes.
_VARIABLES = {
    "job": "driftgauge",
    "namespace": ".*",
    "cluster": ".*",
    "instance": ".*",
    "stream": "alpha",
    "window": "1h",
    "__rate_interval": "15s",
}


@dataclass(frozen=True)
class Exposition:
    """What one replica answered to a scrape, and how many partitions it held."""

    text: str
    partitions: int


@dataclass(frozen=True)
class Story:
    """What was seen.

    Attributes:
        calm: The notices before anything had happened.
        drift: A stream drifts, and a ticket comes.
        recovery: It is clean again, and the ticket is resolved.
        page: A stream whose drift is critical drifts, and pages.
        blindness: Every replica is killed, and that pages.
        sight: They are started again, and the page is resolved.
        notices: All that were received.
        letters: What PagerDuty and Slack were sent.
        hushed: The alerts that Alertmanager told nobody of while no replica ran, by fingerprint.
        hushers: The fingerprints of alerts that no replica runs.
        results: Every result of every window.
        expositions: The replicas' metrics in the end.
        panels: Whether there was something to draw in the end for each query of each dashboard.
    """

    calm: tuple[Notice, ...]
    drift: Passage
    recovery: Passage
    page: Passage
    blindness: Passage
    sight: Passage
    notices: tuple[Notice, ...]
    letters: tuple[Letter, ...]
    hushed: Mapping[str, dict[str, Any]]
    hushers: frozenset[str]
    results: Sequence[Mapping[str, Any]]
    expositions: tuple[Exposition, ...]
    panels: Mapping[dashboards.PanelQuery, bool]

    @property
    def passages(self) -> tuple[Passage, ...]:
        """From each cause to its notice, in the order of time."""
        return (self.drift, self.recovery, self.page, self.blindness, self.sight)


def play(folder: Path, bootstrap: str) -> Story:
    """Let a stream drift and recover, let a critical one drift, blind the monitoring and heal it."""
    queries = tuple(dashboards.queries(_VARIABLES))
    with ExitStack() as running:
        stage = Stage(folder, bootstrap, running)
        stage.wait_for("every verdict to be ok", f'count({_VERDICTS}{{verdict="ok"}} == 1) == {_SHOWN}')
        stage.wait_for("some time to pass so", f"min(max by (stream, window) ({_CLOSED})) >= {_CALM}")
        calm = stage.webhook.notices

        drift = stage.passage(
            "a stream drifts", stage.traffic.turn("alpha", drifted=True), DRIFT, "firing", _of("alpha")
        )
        recovery = stage.passage(
            "it is clean again", stage.traffic.turn("alpha", drifted=False), DRIFT, "resolved", _of("alpha")
        )
        page = stage.passage(
            "a critical stream drifts", stage.traffic.turn("beta", drifted=True), DRIFT, "firing", _of("beta")
        )
        blindness, hushed, hushers = _blind(stage)
        stage.traffic.turn("beta", drifted=False)
        started_s = time.time()
        stage.start_again()
        sight = stage.passage("they are started again", started_s, DOWN, "resolved", _PAGED)
        stage.traffic.stray()
        stage.wait_for("a late event to be counted", _LATE)
        stage.wait_for("every reason to refuse a record", f"count({_REFUSED}) == {len(STRAYS)}")
        stage.wait_for("no verdict to be drift", f'count({_VERDICTS}{{verdict="drift"}} == 0) == {_SHOWN}')
        stage.wait_for("windows of every stream to close again", f"{_CLOSED_SINCE} == {_SHOWN}")
        expositions = tuple(
            Exposition(service.scrape().text, service.held()) for service in stage.services.values()
        )
        panels = _look_at(queries, stage)
        return Story(
            calm=calm,
            drift=drift,
            recovery=recovery,
            page=page,
            blindness=blindness,
            sight=sight,
            notices=stage.webhook.notices,
            letters=stage.webhook.letters,
            hushed=hushed,
            hushers=hushers,
            results=stage.case.results(),
            expositions=expositions,
            panels=panels,
        )


def _of(stream: str) -> dict[str, str]:
    return {"stream": stream, "window": WINDOWS[0]}


def _blind(stage: Stage) -> tuple[Passage, dict[str, dict[str, Any]], frozenset[str]]:
    """Kill every replica; return what that led to, which alerts were hushed, and by which."""
    hushed: dict[str, dict[str, Any]] = {}
    hushers: set[str] = set()

    def look() -> None:
        for alert in stage.alertmanager.alerts():
            if alert["status"]["state"] == "suppressed":
                hushed[alert["fingerprint"]] = alert
            if alert["labels"]["alertname"] == DOWN:
                hushers.add(alert["fingerprint"])

    killed_s = time.time()
    stage.kill()
    blindness = stage.passage(
        "all replicas are killed", killed_s, DOWN, "firing", _PAGED, meanwhile=look, within_s=_BLIND_S
    )
    # What was drifting when the lights went out is no longer seen to.
    stage.wait_for("no drift to be seen", f'absent(ALERTS{{alertname="{DRIFT}"}})', meanwhile=look)
    return blindness, hushed, frozenset(hushers)


def _look_at(queries: Sequence[dashboards.PanelQuery], stage: Stage) -> dict[dashboards.PanelQuery, bool]:
    now_s = time.time()
    return {
        query: stage.prometheus.draws(query.expr, since_s=now_s - _DRAWN_S, until_s=now_s)
        for query in queries
    }
