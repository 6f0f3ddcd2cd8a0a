"""Restarts after kills and stops at any point: each event counts once, each result appears once."""

from pathlib import Path

import numpy as np
import pytest

from tests.integration.case import DAY_MS, HOUR_MS, START_MS, Case, SourceEvent, make_events
from tests.integration.gauges import wait_until_shown, window_gauges
from tests.integration.service import NO_CHAIN_FAULTS
from tests.integration.traffic import publishing, rejected_sources, with_rejected

pytestmark = pytest.mark.broker

KILLS = 3


def test_kill_within_window_keeps_counts_exact(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        windows=("1h", "1d"),
        stream_settings={"allowed_disorder": "10m", "idle_timeout": "1h"},
    )
    events = make_events(
        "alpha", 3_000, start_ms=START_MS, span_ms=30 * HOUR_MS, disorder_ms=HOUR_MS // 6, seed=2
    )
    with case.serve() as service:
        case.publish(events[:1_750])
        service.wait_for("the first part to be counted", lambda: service.counted() == 1_750)
        service.kill()
    rest = case.publish_last(events[1_750:])

    with case.serve() as service:
        case.wait_for_counts(service, case.counts_of(events))
        # Counted events are not read again.
        assert service.counted() == rest
        service.wait_until_ready()


def test_kills_at_random_points_keep_counts_exact(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        windows=("1h", "1d"),
        streams=("alpha", "beta"),
        stream_settings={"allowed_disorder": "1h", "allowed_lateness": "3h", "idle_timeout": "1h"},
    )
    streams = [
        make_events(
            stream, 2_500, start_ms=START_MS - lag_ms, span_ms=60 * HOUR_MS, disorder_ms=HOUR_MS, seed=seed
        )
        for stream, lag_ms, seed in (("alpha", 0, 3), ("beta", 6 * HOUR_MS, 4))
    ]
    events = [event for pair in zip(*streams, strict=True) for event in pair]
    random = np.random.default_rng(5)

    with publishing(case, with_rejected(events, every=50), rate=500):
        case.kill_at_random_points(KILLS, random, within_s=1.5)
    case.close_windows()
    with case.serve() as service:
        case.wait_for_counts(service, case.counts_of(events))
        service.wait_until_ready()
        assert service.late() == 0
        assert service.chain_faults() == NO_CHAIN_FAULTS
    letters = rejected_sources(case)
    assert len(letters) == len(set(letters)) == len(events) // 50


def test_stops_within_window_never_reuse_revision(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        partitions=1,
        stream_settings={"allowed_lateness": "2d", "idle_timeout": "5s"},
    )
    hour = make_events("alpha", 600, start_ms=START_MS, span_ms=HOUR_MS, seed=6)
    later = make_events("alpha", 10, start_ms=START_MS + DAY_MS, span_ms=HOUR_MS, seed=7)
    for part, total in ((hour[:200] + later, 200), (hour[200:400], 400), (hour[400:], 600)):
        case.publish(part)
        with case.serve() as service:
            service.wait_for("a result of the hour", lambda: last_count(case, hour[:1]) == total)  # noqa: B023
            service.stop()
    # final_results fails on a repeated revision.
    (key,) = case.counts_of(hour)
    assert case.final_results()[key]["revision"] >= 2


def last_count(case: Case, events: list[SourceEvent]) -> int:
    (key,) = case.counts_of(events)
    return case.final_counts().get(key, 0)


def test_restart_without_events_keeps_newest_gauges(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        windows=("1h", "1d"),
        stream_settings={"idle_timeout": "1h", "allowed_lateness": "0s"},
    )
    events = make_events("alpha", 500, start_ms=START_MS, span_ms=30 * HOUR_MS, seed=8)
    case.publish_last(events)
    with case.serve() as service:
        case.wait_for_counts(service, case.counts_of(events))
        wait_until_shown([service], case.final_results())
        before = window_gauges(service.scrape())
        service.kill()

    with case.serve() as service:
        service.wait_for("the gauges to be shown again", lambda: window_gauges(service.scrape()) == before)
        assert service.counted() == 0
