"""The whole chain: events, broker, two replicas, Debian's Prometheus and Alertmanager, a receiver.

One scenario runs once (`chain/scenario.py`), and every test checks its record. Rules and routes are the
shipped ones with two changes: each wait (`for`, `keep_firing_for`, `group_wait`, `group_interval`,
`repeat_interval`) is divided by 60, with a minimum of one second, and a server of the test replaces PagerDuty
and Slack (`test_notices.py` shows what these get). Ranges in expressions are unchanged. Scrapes and
evaluations come every second, an hour of event time every half second.
"""

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.deploy.chain.monitoring import FACTOR, STREAMS
from tests.deploy.chain.scenario import DOWN, DRIFT, ChainRecord, play
from tests.harness.scrape import Scrape
from tests.processes import run_required

# Alerts name the three clusters that contribute most.
_MOVERS = 3

# Descriptions round to three digits, and percentages to one after the point.
_DIGITS = 5e-3
_PERCENT = 0.051
_NUMBER = r"\d[\d.]*(?:e[-+]\d+)?"
_DESCRIPTION = re.compile(
    r"Stream (?P<stream>\S+), window of (?P<window>\S+) that ended at (?P<end>[^:]+:\d\d:\d\d \+0000) UTC: "
    rf"divergence (?P<divergence>{_NUMBER}), of which (?P<noise>{_NUMBER}) is noise\. "
    r"Kind: (?P<kind>\w+) \((?:[^()]|\([^)]+\))+\), [\d.]+% of the evidence\. "
    r"Top movers:(?P<movers>(?:;? cluster \d+(?: \([^)]+\))? [\d.]+ % to [\d.]+ %)+)\. "
    r"See on the dashboard when the drift began, and look for a change at that time\."
)
_MOVER = re.compile(r"cluster (\d+)(?: \(([^)]+)\))? ([\d.]+) % to ([\d.]+) %")


@dataclass(frozen=True)
class Mover:
    """What a description says of a cluster: its name, and its shares in the baseline and now, in percent."""

    name: str | None
    before: float
    now: float


@dataclass(frozen=True)
class DriftDescription:
    """The facts in a description.

    Attributes:
        stream: The stream that drifts.
        window: The window size.
        end: The end of the window.
        divergence: The divergence from the baseline.
        noise: The noise floor.
        movers: The clusters that contribute most.
    """

    stream: str
    window: str
    end: datetime
    divergence: float
    noise: float
    movers: Mapping[int, Mover]

    @classmethod
    def parse(cls, description: str) -> "DriftDescription":
        """Return the facts of a description that has every part."""
        match = _DESCRIPTION.fullmatch(description)
        assert match is not None, description
        return cls(
            match["stream"],
            match["window"],
            datetime.fromisoformat(match["end"]),
            float(match["divergence"]),
            float(match["noise"]),
            {
                int(cluster): Mover(name or None, float(before), float(now))
                for cluster, name, before, now in _MOVER.findall(match["movers"])
            },
        )

    def mismatches(self, results: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the facts that agree with no result, to the digits of the description.

        Prometheus evaluates the queries of a description one by one while windows close, so each fact may
        come from another window.
        """
        confirmed = {
            "divergence": any(_is(self.divergence, each["js_divergence"]) for each in results),
            "noise": any(_is(self.noise, each["noise_floor"]) for each in results),
            "movers": any(list(self.movers) == _foremost(each) for each in results),
            **{
                f"cluster {cluster}": any(_describes(mover, each["clusters"][cluster]) for each in results)
                for cluster, mover in self.movers.items()
            },
        }
        return [fact for fact, is_confirmed in confirmed.items() if not is_confirmed]


def _foremost(result: Mapping[str, Any]) -> list[int]:
    contributions = {cluster["id"]: cluster["js_contribution"] for cluster in result["clusters"]}
    return sorted(contributions, key=lambda cluster: -contributions[cluster])[:_MOVERS]


def _describes(mover: Mover, cluster: Mapping[str, Any]) -> bool:
    return (
        mover.name == cluster["name"]
        and abs(mover.before - 100 * cluster["baseline_share"]) < _PERCENT
        and abs(mover.now - 100 * cluster["share"]) < _PERCENT
    )


def _is(stated: float, value: float) -> bool:
    return math.isclose(stated, value, rel_tol=_DIGITS)


pytestmark = pytest.mark.stack

TICKETS, PAGE = "tickets", "page"
ABSENT_WHERE_ALL_IS_WELL = (
    # No stream is drifting at the end.
    "driftgauge_window_verdict",
)

# Several times the duration on two idle cores.
SOON_S = 40.0
# Until then blind monitoring is a ticket.
PAGED_AFTER_S = 1_800 / FACTOR


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory, bootstrap: str) -> ChainRecord:
    return play(tmp_path_factory.mktemp("chain"), bootstrap)


def test_no_notice_is_sent_without_cause(record: ChainRecord) -> None:
    assert record.calm == ()


def test_drift_sends_ticket_that_names_stream_and_window(record: ChainRecord) -> None:
    notice = record.drift.notice
    assert notice.receiver == TICKETS
    assert notice.labels == {
        "alertname": DRIFT,
        "job": "driftgauge",
        "stream": "alpha",
        "window": "1h",
        "owner": "ada",
        "team": "vision",
        "severity": "warning",
    }
    assert notice.annotations["summary"] == "The inputs of a model have drifted from its baseline."
    assert notice.annotations["dashboard"].endswith("?var-job=driftgauge&var-stream=alpha&var-window=1h")
    assert notice.annotations["runbook_url"].endswith(f"/{DRIFT}.md")


@pytest.mark.parametrize("notified_cause", ["drift", "page"])
def test_notice_agrees_with_results_topic(record: ChainRecord, notified_cause: str) -> None:
    description = DriftDescription.parse(getattr(record, notified_cause).notice.annotations["description"])
    drifted = {
        datetime.fromisoformat(result["end"]): result
        for result in record.results
        if (result["stream"], result["window"], result["verdict"])
        == (description.stream, description.window, "drift")
    }
    assert description.end in drifted
    about = [result for end, result in drifted.items() if abs(end - description.end) <= timedelta(hours=6)]
    assert description.mismatches(about) == [], description


def test_scraped_drift_is_not_reported_as_passed(record: ChainRecord) -> None:
    passed = [notice for notice in record.notices if notice.labels.get("reason") == "passed"]
    assert "1h" not in {notice.labels["window"] for notice in passed}


def test_end_of_drift_resolves_ticket(record: ChainRecord) -> None:
    firing, resolved = record.drift.notice, record.recovery.notice
    assert (resolved.status, resolved.receiver, resolved.labels) == ("resolved", TICKETS, firing.labels)


def test_drift_of_critical_stream_sends_page(record: ChainRecord) -> None:
    assert record.page.notice.receiver == PAGE
    assert record.page.notice.labels["severity"] == "critical"
    drifts = [notice for notice in record.notices if notice.labels.get("reason") == "active"]
    assert {(each.labels["stream"], each.receiver) for each in drifts} == {("alpha", TICKETS), ("beta", PAGE)}


def test_blind_monitoring_sends_ticket_then_page_until_restart(record: ChainRecord) -> None:
    (ticket, *_) = [
        each for each in record.notices if each.labels["alertname"] == DOWN and each.receiver == TICKETS
    ]
    assert ticket.at_s < record.outage.notice.at_s
    killed, started = record.outage.notice, record.restart.notice
    assert (killed.receiver, killed.labels["severity"]) == (PAGE, "critical")
    assert (started.receiver, started.labels) == (PAGE, killed.labels)


def test_blind_monitoring_mutes_drift(record: ChainRecord) -> None:
    inhibited = [
        alert
        for alert in record.inhibited.values()
        if {"alertname": DRIFT, "stream": "beta"}.items() <= alert["labels"].items()
    ]
    assert "1h" in {alert["labels"]["window"] for alert in inhibited}
    for alert in inhibited:
        assert set(alert["status"]["inhibitedBy"]) <= record.inhibiting
    blind = (
        notice
        for notice in record.notices
        if record.outage.notice.at_s < notice.at_s < record.restart.notice.changed_s
    )
    assert {notice.labels["alertname"] for notice in blind} <= {DOWN}


def test_every_notice_follows_soon_after_cause(
    record: ChainRecord, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [
        f"{notified_cause.cause:28}{notified_cause.notice.labels['alertname']:16}{notified_cause.notice.status:9}"
        f"{notified_cause.notice.receiver:12}{notified_cause.alert_after_s:8.1f}{notified_cause.notice_after_s:10.1f}"
        for notified_cause in record.notified_causes
    ]
    heading = f"{'after':28}{'alert':16}{'is':9}{'for':12}{'rule, s':>8}{'notice, s':>10}"
    # Prints also from worker processes, whose output pytest captures.
    with capfd.disabled():
        sys.stderr.write("\n".join(["", f"The chain, every wait divided by {FACTOR}:", heading, *rows, ""]))
    for notified_cause in record.notified_causes:
        soon_s = SOON_S + (PAGED_AFTER_S if notified_cause is record.outage else 0)
        assert 0 < notified_cause.alert_after_s <= notified_cause.notice_after_s < soon_s, notified_cause


def test_every_panel_has_data(record: ChainRecord) -> None:
    assert record.panels
    empty = [
        query
        for query, draws in record.panels.items()
        if not draws and not any(name in query.expr for name in ABSENT_WHERE_ALL_IS_WELL)
    ]
    assert not empty, "\n".join(f"{each.dashboard}, {each.panel}, {each.ref}: {each.expr}" for each in empty)


def test_promtool_accepts_exported_metrics(record: ChainRecord) -> None:
    for exposition in record.expositions:
        checked = run_required("promtool", "prometheus", "check", "metrics", input=exposition)
        assert checked.stdout + checked.stderr == ""


def test_only_shard_owner_exports_stream(record: ChainRecord) -> None:
    shown = [
        dict(labels)["stream"]
        for exposition in record.expositions
        for name, labels in Scrape.parse(exposition).samples
        if name == "driftgauge_window_events" and ("window", "1h") in labels
    ]
    assert sorted(shown) == sorted(STREAMS)
