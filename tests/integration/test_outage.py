"""Broker outages and restarts: no replica ends, and no event is lost or counted twice."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.broker import Broker
from tests.harness.case import DAY_MS, HOUR_MS, START_MS, Case, make_events
from tests.harness.fixtures import ExternalCluster
from tests.harness.traffic import publishing
from tests.waiting import wait_for

pytestmark = pytest.mark.broker

_log = logging.getLogger(__name__)

AnyBroker = Broker | ExternalCluster

# Longer than the service retries a commit (12 s), so that it replaces its clients without a broker.
OUTAGE_S = 20.0


def test_outage_under_load_ends_no_replica_and_loses_no_event(
    tmp_path: Path, kafka_broker: AnyBroker, bootstrap: str
) -> None:
    # A generous lateness: the test asserts that no event is lost.
    case = Case(tmp_path, bootstrap, stream_settings={"allowed_lateness": "20d", "idle_timeout": "1h"})
    events = make_events("alpha", 3_200, start_ms=START_MS, span_ms=9 * HOUR_MS, seed=28)
    later = make_events("alpha", 300, start_ms=START_MS + DAY_MS, span_ms=HOUR_MS, seed=32)
    with case.serve("a") as first, case.serve("b") as second:
        services = (first, second)
        with publishing(case, events, rate=100):
            wait_for("both to count", lambda: all(service.counted() > 0 for service in services))
            with stopped(kafka_broker):
                stopped_s = time.monotonic()
                while time.monotonic() < stopped_s + OUTAGE_S:
                    assert {service.get("/livez")[0] for service in services} == {200}
                    time.sleep(0.2)
                assert {service.get("/readyz")[0] for service in services} == {503}
            back_s = time.monotonic()
        wait_for("all to be counted", lambda: case.positions() == case.ends())
        _log.info("all counted %.1f s after the broker was back", time.monotonic() - back_s)
        for service in services:
            service.wait_until_ready()

        case.publish(later)
        with stopped(kafka_broker):
            away_s = time.monotonic()
            first.wait_for("two seconds without a broker", lambda: time.monotonic() > away_s + 2)
            took_s = first.stop()
        _log.info("ended %.1f s after SIGTERM without a broker", took_s)
        assert took_s < 25, "supervisors wait 30 s"
        case.close_windows()
        case.wait_for_counts(second, case.counts_of(events + later))


@contextmanager
def stopped(broker: AnyBroker) -> Iterator[None]:
    """Stop the broker until the context ends."""
    broker.stop()
    try:
        yield
    finally:
        broker.restart()
