"""Late events: counted plus late events equal the sent events, through kills, and their share shows."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.harness.case import DAY_MS, HOUR_MS, START_MS, Case, SourceEvent, make_events
from tests.harness.service import NO_CHAIN_FAULTS, ReplicaProcess
from tests.harness.traffic import publishing

pytestmark = pytest.mark.broker

WINDOWS = ("1h", "1d")
KILLS = 3
LATE = 40
MESSAGE = "events came after their window was final; they are counted as late"


def counted(case: Case, window: str) -> int:
    return sum(count for (_, size, _), count in case.final_counts().items() if size == window)


def watermark_ms(service: ReplicaProcess) -> float:
    """Return the stream's watermark, event time in ms; 0 without one."""
    return 1_000 * (service.scrape().value("driftgauge_watermark_timestamp_seconds", stream="alpha") or 0)


def applied(service: ReplicaProcess) -> int:
    return int(service.scrape().total("driftgauge_applied_events_total", stream="alpha"))


def late_sizes(service: ReplicaProcess) -> set[str]:
    """Return the window sizes of which the page says that events come too late."""
    (stream,) = json.loads(service.get("/api/v1/streams")[1])["streams"]
    return {each["window"] for each in stream["concerns"] if each["name"] == "late"}


def shows_all(case: Case, service: ReplicaProcess, sent: int) -> Callable[[], bool]:
    return lambda: all(counted(case, size) + service.late(window=size) == sent for size in WINDOWS)


def test_counted_and_late_events_equal_sent_events_after_kills(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        windows=WINDOWS,
        stream_settings={"allowed_disorder": "5m", "allowed_lateness": "10m", "idle_timeout": "1h"},
    )
    random = np.random.default_rng(6)
    events = make_events("alpha", 3_000, start_ms=START_MS, span_ms=60 * HOUR_MS, seed=3)
    # One of eight is up to two days old; many of these are late, most for the hour only.
    old = random.random(len(events)) < 0.125
    events = [
        SourceEvent(
            event.stream, event.time_ms - int(random.uniform(0, 2 * DAY_MS)) * bool(is_old), event.vector
        )
        for event, is_old in zip(events, old, strict=True)
    ]
    with publishing(case, events, rate=600):
        case.kill_at_random_points(KILLS, random, within_s=1.0)
    with case.serve() as service:
        service.wait_for("all to be read", lambda: case.positions() == case.ends())
        service.wait_for("the third day", lambda: watermark_ms(service) >= START_MS + 50 * HOUR_MS)
        old = make_events("alpha", LATE, start_ms=START_MS, span_ms=HOUR_MS, seed=7)
        case.publish(old)
        service.wait_for("events that are late for every size", lambda: service.late(window="1d") >= LATE)
        case.close_windows()
        sent = len(events) + LATE
        service.wait_for("counted + late = sent", shows_all(case, service, sent))
        late = {size: service.late(window=size) for size in WINDOWS}
        assert late["1h"] >= late["1d"] >= LATE
        # With the events that close the windows.
        published = sum(case.ends().values())
        assert applied(service) == published
        for size in WINDOWS:
            newest = max(result["applied_total"] for result in case.results() if result["window"] == size)
            assert sent - LATE < newest <= published
        service.wait_for("the page to say so", lambda: "1h" in late_sizes(service))
        assert service.chain_faults() == NO_CHAIN_FAULTS
        service.kill()
    assert case.dead_letters() == []
    with case.serve() as service:
        service.wait_for("the totals to be shown again", lambda: service.late() > 0)
        assert {size: service.late(window=size) for size in WINDOWS} == late
        assert applied(service) == published


def test_notice_of_late_events_names_first_offset(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        partitions=1,
        stream_settings={"allowed_disorder": "0s", "allowed_lateness": "0s"},
    )
    on_time = make_events("alpha", 100, start_ms=START_MS + DAY_MS, span_ms=3 * HOUR_MS, seed=4)
    late = make_events("alpha", 5, start_ms=START_MS, span_ms=HOUR_MS // 2, seed=5)
    with case.serve() as service:
        case.publish(on_time)
        service.wait_for("windows", lambda: len(case.final_counts()) >= 2)
        case.publish(late)
        service.wait_for("the late events to be counted", lambda: service.late("alpha", "1h") == 5)
        assert service.counted() == 105
        notices = service.logged(MESSAGE)
        service.stop()
    assert sum(int(str(notice["events"])) for notice in notices) == 5
    assert notices[0]["first"] == f"{case.events_topic}[0]@100"
    assert notices[0]["stream"] == "alpha"
    assert case.dead_letters() == []
