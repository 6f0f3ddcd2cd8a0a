"""The scenario of the chain test, and the record of its notices, results and metrics."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy import dashboards
from tests.deploy.chain.monitoring import STREAMS, WINDOWS, MonitoringStack, NotifiedCause
from tests.deploy.chain.traffic import REJECTED_RECORDS
from tests.deploy.chain.webhook import Notice

__all__ = ["DOWN", "DRIFT", "ChainRecord", "play"]

DRIFT = "DriftgaugeDrift"
DOWN = "DriftgaugeDown"

_PAGED = {"severity": "critical"}
# An outage pages after half an hour, which is half a minute here.
_OUTAGE_S = 120.0

_VERDICTS = "driftgauge_window_verdict"
_SHOWN = len(STREAMS) * len(WINDOWS)
_REFUSED = "sum by (reason) (driftgauge_records_rejected_total) > 0"

_LATE = "sum(driftgauge_late_events_total) > 0"

_CLOSED = 'driftgauge_windows_closed_total{verdict="ok"}'
# Windows of each stream and size that close before the first cause.
_FIRST = 4
# Counters start with the replica, so panels of rates draw only windows closed since then.
_CLOSED_SINCE = "count(sum by (stream, window) (increase(driftgauge_windows_closed_total[15s])) > 0)"

_DRAWN_S = 10.0
# Values of the dashboard variables; the rate interval covers several scrapes.
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
class ChainRecord:
    """The notices, results and metrics of one run of the scenario.

    Attributes:
        calm: The notices before the first cause.
        drift: A stream drifts; a ticket is sent.
        recovery: The stream is clean again; the ticket is resolved.
        page: A stream with critical drift severity drifts; a page is sent.
        outage: Every replica is killed; a page is sent.
        restart: The replicas are restarted; the page is resolved.
        notices: All notices received.
        inhibited: The alerts that Alertmanager inhibited while no replica ran, by fingerprint.
        inhibiting: The fingerprints of the DriftgaugeDown alerts.
        results: All window results.
        expositions: The metrics text of each replica at the end.
        panels: Whether each dashboard query had data at the end.
    """

    calm: tuple[Notice, ...]
    drift: NotifiedCause
    recovery: NotifiedCause
    page: NotifiedCause
    outage: NotifiedCause
    restart: NotifiedCause
    notices: tuple[Notice, ...]
    inhibited: Mapping[str, dict[str, Any]]
    inhibiting: frozenset[str]
    results: Sequence[Mapping[str, Any]]
    expositions: tuple[str, ...]
    panels: Mapping[dashboards.PanelQuery, bool]

    @property
    def notified_causes(self) -> tuple[NotifiedCause, ...]:
        """Each cause with its notice, in order of time."""
        return (self.drift, self.recovery, self.page, self.outage, self.restart)


def play(folder: Path, bootstrap: str) -> ChainRecord:
    """Run the scenario: drift and recovery of a stream, drift of a critical one, outage and restart."""
    queries = tuple(dashboards.queries(_VARIABLES))
    with ExitStack() as running:
        stack = MonitoringStack(folder, bootstrap, running)
        stack.wait_for("every verdict to be ok", f'count({_VERDICTS}{{verdict="ok"}} == 1) == {_SHOWN}')
        stack.wait_for(
            "some windows to close with that verdict", f"min(max by (stream, window) ({_CLOSED})) >= {_FIRST}"
        )
        calm = stack.webhook.notices

        drift = stack.notified_cause(
            "a stream drifts", stack.traffic.set("alpha", drifted=True), DRIFT, "firing", _of("alpha")
        )
        recovery = stack.notified_cause(
            "it is clean again", stack.traffic.set("alpha", drifted=False), DRIFT, "resolved", _of("alpha")
        )
        page = stack.notified_cause(
            "a critical stream drifts", stack.traffic.set("beta", drifted=True), DRIFT, "firing", _of("beta")
        )
        outage, inhibited, inhibiting = _kill_all(stack)
        stack.traffic.set("beta", drifted=False)
        started_s = time.time()
        stack.restart()
        restart = stack.notified_cause("they are started again", started_s, DOWN, "resolved", _PAGED)
        stack.traffic.publish_rejected()
        stack.wait_for("a late event to be counted", _LATE)
        stack.wait_for("every reason to refuse a record", f"count({_REFUSED}) == {len(REJECTED_RECORDS)}")
        stack.wait_for("no verdict to be drift", f'count({_VERDICTS}{{verdict="drift"}} == 0) == {_SHOWN}')
        stack.wait_for("windows of every stream to close again", f"{_CLOSED_SINCE} == {_SHOWN}")
        expositions = tuple(service.scrape().text for service in stack.services.values())
        panels = _query_panels(queries, stack)
        return ChainRecord(
            calm=calm,
            drift=drift,
            recovery=recovery,
            page=page,
            outage=outage,
            restart=restart,
            notices=stack.webhook.notices,
            inhibited=inhibited,
            inhibiting=inhibiting,
            results=stack.case.results(),
            expositions=expositions,
            panels=panels,
        )


def _of(stream: str) -> dict[str, str]:
    return {"stream": stream, "window": WINDOWS[0], "reason": "active"}


def _kill_all(stack: MonitoringStack) -> tuple[NotifiedCause, dict[str, dict[str, Any]], frozenset[str]]:
    """Kill every replica; return the notice, the inhibited alerts, and the fingerprints that inhibit them."""
    inhibited: dict[str, dict[str, Any]] = {}
    inhibiting: set[str] = set()

    def observe() -> None:
        for alert in stack.alertmanager.alerts():
            if alert["status"]["state"] == "suppressed":
                inhibited[alert["fingerprint"]] = alert
            if alert["labels"]["alertname"] == DOWN:
                inhibiting.add(alert["fingerprint"])

    killed_s = time.time()
    stack.kill()
    outage = stack.notified_cause(
        "all replicas are killed", killed_s, DOWN, "firing", _PAGED, meanwhile=observe, within_s=_OUTAGE_S
    )
    # Drift that was active before the outage ends once its series are stale.
    stack.wait_for("no drift to be seen", f'absent(ALERTS{{alertname="{DRIFT}"}})', meanwhile=observe)
    return outage, inhibited, frozenset(inhibiting)


def _query_panels(
    queries: Sequence[dashboards.PanelQuery], stack: MonitoringStack
) -> dict[dashboards.PanelQuery, bool]:
    now_s = time.time()
    return {
        query: stack.prometheus.draws(query.expr, since_s=now_s - _DRAWN_S, until_s=now_s)
        for query in queries
    }
