"""The whole chain, for real: events, broker, two replicas, Debian's Prometheus and Alertmanager, a receiver.

One story is played once (`chain/scenario.py`), and every test looks at what was seen of it. Rules and routes
are the shipped ones with two changes: each wait (`for`, `keep_firing_for`, `group_wait`, `group_interval`,
`repeat_interval`) is divided by 60 and at least a second, and a server of the test stands in for PagerDuty
and Slack. Ranges in expressions stay as they are. Scrapes and evaluations come every second, an hour of event
time every half second.
"""

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from deploy.demo.scrape import Scrape

from tests.deploy.chain.description import Told
from tests.deploy.chain.scenario import DOWN, DRIFT, Story, play
from tests.deploy.chain.shipped import ROUTING_KEY
from tests.deploy.chain.stage import FACTOR, STREAMS
from tests.needed import required

pytestmark = pytest.mark.stack

README = Path(__file__).parents[2] / "README.md"
TICKETS, PAGE = "tickets", "page"
ABSENT_WHERE_ALL_IS_WELL = ("driftgauge_stable_offset_stalled_seconds", "driftgauge_unwritable_partitions")

# Several times what it takes on two cores that are not busy.
SOON_S = 40.0
# A blind monitor is a ticket until then.
PAGED_AFTER_S = 1_800 / FACTOR


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, bootstrap: str) -> Story:
    return play(tmp_path_factory.mktemp("chain"), bootstrap)


def test_nobody_is_told_of_anything_while_all_is_well(story: Story) -> None:
    assert story.calm == ()


def test_drift_is_a_ticket_that_names_the_stream_and_the_window(story: Story) -> None:
    notice = story.drift.notice
    assert notice.receiver == TICKETS
    assert notice.labels == {
        "alertname": DRIFT,
        "job": "driftgauge",
        "stream": "alpha",
        "window": "1h",
        "severity": "warning",
    }
    assert notice.annotations["summary"] == "The inputs of a model have drifted from its baseline."
    assert notice.annotations["dashboard"].endswith("?var-job=driftgauge&var-stream=alpha&var-window=1h")
    assert notice.annotations["runbook_url"].endswith(f"/{DRIFT}.md")


@pytest.mark.parametrize("passage", ["drift", "page"])
def test_a_notice_says_of_its_window_what_the_results_topic_says(story: Story, passage: str) -> None:
    told = Told.parse(getattr(story, passage).notice.annotations["description"])
    drifted = {
        datetime.fromisoformat(result["end"]): result
        for result in story.results
        if (result["stream"], result["window"], result["verdict"]) == (told.stream, told.window, "drift")
    }
    assert told.end in drifted
    about = [result for end, result in drifted.items() if abs(end - told.end) <= timedelta(hours=6)]
    assert told.faults(about) == [], told


def test_drift_that_was_seen_is_not_said_to_have_passed_unseen(story: Story) -> None:
    passed = [notice for notice in story.notices if notice.labels["alertname"] == "DriftgaugeDriftPassed"]
    assert "1h" not in {notice.labels["window"] for notice in passed}


def test_whoever_had_the_ticket_is_told_that_the_drift_is_over(story: Story) -> None:
    firing, resolved = story.drift.notice, story.recovery.notice
    assert (resolved.status, resolved.receiver, resolved.labels) == ("resolved", TICKETS, firing.labels)


def test_drift_of_a_stream_that_is_configured_so_is_a_page(story: Story) -> None:
    assert story.page.notice.receiver == PAGE
    assert story.page.notice.labels["severity"] == "critical"
    drifts = [notice for notice in story.notices if notice.labels["alertname"] == DRIFT]
    assert {(each.labels["stream"], each.receiver) for each in drifts} == {("alpha", TICKETS), ("beta", PAGE)}


def test_a_monitor_that_is_blind_is_a_ticket_and_then_a_page_until_it_sees_again(story: Story) -> None:
    (ticket, *_) = [
        each for each in story.notices if each.labels["alertname"] == DOWN and each.receiver == TICKETS
    ]
    assert ticket.at_s < story.blindness.notice.at_s
    killed, started = story.blindness.notice, story.sight.notice
    assert (killed.receiver, killed.labels["severity"]) == (PAGE, "critical")
    assert (started.receiver, started.labels) == (PAGE, killed.labels)


def test_a_monitor_that_is_blind_tells_of_no_drift(story: Story) -> None:
    hushed = [
        alert
        for alert in story.hushed.values()
        if {"alertname": DRIFT, "stream": "beta"}.items() <= alert["labels"].items()
    ]
    assert "1h" in {alert["labels"]["window"] for alert in hushed}
    for alert in hushed:
        assert set(alert["status"]["inhibitedBy"]) <= story.hushers
    blind = (
        notice
        for notice in story.notices
        if story.blindness.notice.at_s < notice.at_s < story.sight.notice.changed_s
    )
    assert {notice.labels["alertname"] for notice in blind} <= {DOWN}


def test_slack_is_sent_a_ticket_that_can_be_read(story: Story) -> None:
    description = story.drift.notice.annotations["description"]
    tickets = [letter.body["attachments"][0] for letter in story.letters if letter.to == "slack"]
    (ticket, *_) = [each for each in tickets if f"*{DRIFT}* is firing. {description}" in each["text"]]
    assert ticket["title"].startswith(f"[firing] alpha: {story.drift.notice.annotations['summary']}")
    assert ticket["title_link"].startswith("http://localhost:3000/d/driftgauge-drift?var-job=driftgauge&")
    assert any(f"*{DRIFT}* is resolved. " in each["text"] for each in tickets)


def test_pagerduty_is_sent_a_page_and_then_that_it_is_over(story: Story) -> None:
    pages = [letter.body for letter in story.letters if letter.to == "pagerduty"]
    assert {page["routing_key"] for page in pages} == {ROUTING_KEY}
    (page, *_) = [
        each for each in pages if f"{DOWN} is firing. " in each["payload"]["custom_details"]["alerts"]
    ]
    assert page["event_action"] == "trigger"
    assert page["payload"]["summary"] == f"[firing] {story.blindness.notice.annotations['summary']}"
    (over, *_) = [
        each for each in pages if f"{DOWN} is resolved. " in each["payload"]["custom_details"]["alerts"]
    ]
    assert over["dedup_key"] == page["dedup_key"]


def test_every_notice_comes_soon_after_its_cause(story: Story, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [
        f"{passage.cause:28}{passage.notice.labels['alertname']:16}{passage.notice.status:9}"
        f"{passage.notice.receiver:12}{passage.alert_after_s:7.1f}{passage.notice_after_s:8.1f}"
        for passage in story.passages
    ]
    heading = f"{'after':28}{'alert':16}{'is':9}{'for':12}{'rule, s':>7}{'told, s':>8}"
    # Also where the tests run in several processes, which have no other way to the terminal.
    with capfd.disabled():
        sys.stderr.write("\n".join(["", f"The chain, every wait divided by {FACTOR}:", heading, *rows, ""]))
    for passage in story.passages:
        soon_s = SOON_S + (PAGED_AFTER_S if passage is story.blindness else 0)
        assert 0 < passage.alert_after_s <= passage.notice_after_s < soon_s, passage


def test_every_panel_has_something_to_draw(story: Story) -> None:
    assert story.panels
    empty = [
        query
        for query, draws in story.panels.items()
        if not draws and not any(name in query.expr for name in ABSENT_WHERE_ALL_IS_WELL)
    ]
    assert not empty, "\n".join(f"{each.dashboard}, {each.panel}, {each.ref}: {each.expr}" for each in empty)


def test_promtool_finds_no_fault_with_what_the_service_exports(story: Story) -> None:
    promtool = required("promtool", "prometheus")
    for exposition in story.expositions:
        checked = subprocess.run(
            [promtool, "check", "metrics"],
            input=exposition.text,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_each_stream_is_shown_by_the_one_replica_that_owns_its_shard(story: Story) -> None:
    shown = [
        dict(labels)["stream"]
        for exposition in story.expositions
        for name, labels in Scrape.parse(exposition.text).samples
        if name == "driftgauge_window_revision" and ("window", "1h") in labels
    ]
    assert sorted(shown) == sorted(STREAMS)
