"""Restarts within a window: each event counts once, each result appears once, gauges stay."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness.case import DAY_MS, HOUR_MS, START_MS, Case, make_events
from tests.harness.gauges import wait_until_shown, window_gauges
from tests.harness.service import driftgauge

pytestmark = pytest.mark.broker


def test_streams_that_match_keep_gauges_after_a_kill_and_a_rebalance(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, stream_settings={"name": None, "match": "al*", "most": 1})
    # One stream of each shard; they share the baseline of the first.
    events = [
        event
        for stream in ("alpha", "alder")
        for event in make_events(stream, 400, start_ms=START_MS, span_ms=6 * HOUR_MS, seed=8)
    ]
    with case.serve("a") as first:
        case.publish(events)
        case.wait_for_counts(first, case.counts_of(events))
        case.publish(make_events("allotted", 3, start_ms=START_MS, span_ms=HOUR_MS, seed=9))
        # Each shard admits as many streams as the entry is for, and has one already.
        first.wait_for("surplus", lambda: first.scrape().total("driftgauge_surplus_events_total") == 3)
        first.kill()
    with case.serve_ready("a", "b") as services:
        services[0].wait_for("a shard each", lambda: [each.assigned_shards() for each in services] == [1, 1])
        wait_until_shown(services, case.final_results())


def test_restarts_within_a_window_reuse_no_revision_and_keep_gauges(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        windows=("1h", "1d"),
        stream_settings={"allowed_lateness": "2d", "idle_timeout": "5s"},
    )
    hour = make_events("alpha", 600, start_ms=START_MS, span_ms=HOUR_MS, seed=6)
    later = make_events("alpha", 100, start_ms=START_MS + DAY_MS, span_ms=4 * HOUR_MS, seed=7)
    published = hour[:300] + later
    with case.serve() as service:
        case.publish(published)
        case.wait_for_counts(service, case.counts_of(published))
        service.stop()
    case.publish(hour[300:])
    published += hour[300:]
    with case.serve() as service:
        case.wait_for_counts(service, case.counts_of(published))
        assert service.counted() == 300, "counted events are not read again"
        wait_until_shown([service], case.final_results())
        before = window_gauges(service.scrape())
        service.kill()
    with case.serve() as service:
        service.wait_for("the gauges to be shown again", lambda: window_gauges(service.scrape()) == before)
        assert service.counted() == 0
    # final_results fails on a repeated revision.
    first = min(case.final_results().items())[1]
    assert (first["start"], first["revision"] >= 1) == ("2025-11-03T00:00:00Z", True)


def test_alarm_of_a_removed_size_is_logged_and_stays_in_the_status(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=1)
    moved = make_events("alpha", 900, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=10)
    with case.serve() as service:
        case.publish([replace(event, vector=event.vector + 5) for event in moved])
        service.wait_for("an alarm", lambda: [each["verdict"] for each in case.results()].count("drift") == 2)
        service.stop()
    case.windows = ("2h",)
    case.write_config()
    with case.serve() as service:
        logged = service.wait_for_log("an alarm ends: the configuration has no windows of its size any more")
        assert (logged["stream"], logged["window"]) == ("alpha", "1h")
        service.stop()
    (status,) = json.loads(driftgauge("status", "--config", case.config, "--json").stdout)["streams"]
    assert (status["state"], [each["window"] for each in status["alarms"]]) == ("drift", ["1h"])
