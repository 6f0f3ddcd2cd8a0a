"""Broker outages and restarts: no replica ends, and no event is lost or counted twice."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.case import DAY_MS, HOUR_MS, START_MS, Case, make_events
from tests.integration.traffic import publishing
from tests.kafka.broker import Broker
from tests.kafka.fixtures import ExternalCluster
from tests.waiting import wait_for

pytestmark = pytest.mark.broker

_log = logging.getLogger(__name__)

AnyBroker = Broker | ExternalCluster

# Longer than the service retries a commit (12 s), so that it replaces its clients without a broker.
OUTAGE_S = 20.0


def make_case(folder: Path, bootstrap: str) -> Case:
    # A generous lateness: the tests assert that no event is lost.
    return Case(
        folder,
        bootstrap,
        stream_settings={"allowed_lateness": "20d", "idle_timeout": "1h"},
    )


def test_outage_under_load_ends_no_replica_and_loses_no_event(
    tmp_path: Path, kafka_broker: AnyBroker, bootstrap: str
) -> None:
    case = make_case(tmp_path, bootstrap)
    events = make_events("alpha", 3_200, start_ms=START_MS, span_ms=9 * HOUR_MS, seed=28)
    with case.serve("a") as first, case.serve("b") as second:
        services = (first, second)
        with publishing(case, events, rate=100):
            wait_for("both to count", lambda: all(service.counted() > 0 for service in services))
            kafka_broker.stop()
            try:
                stopped_s = time.monotonic()
                while time.monotonic() < stopped_s + OUTAGE_S:
                    assert {service.get("/livez")[0] for service in services} == {200}
                    time.sleep(0.2)
                assert {service.get("/readyz")[0] for service in services} == {503}
                before = {service: service.counted() for service in services}
            finally:
                kafka_broker.restart()
            back_s = time.monotonic()
            wait_for(
                "both to count again",
                lambda: all(service.counted() > before[service] for service in services),
            )
            _log.info("both counted %.1f s after the broker was back", time.monotonic() - back_s)
        case.close_windows()
        case.wait_for_counts(first, case.counts_of(events))
        for service in services:
            service.wait_until_ready()
            # The session settles a commit in doubt; other failures replace it.
            lost = service.logged("session lost; the Kafka clients are replaced")
            assert lost or service.logged("transaction aborted")
            assert service.stop() < 5.0


@pytest.mark.parametrize("end", [Broker.stop, Broker.kill], ids=["SIGTERM", "kill -9"])
def test_broker_restart_under_load_loses_no_event(
    tmp_path: Path, kafka_broker: AnyBroker, bootstrap: str, end: Callable[[AnyBroker], None]
) -> None:
    case = make_case(tmp_path, bootstrap)
    events = make_events("alpha", 1_200, start_ms=START_MS, span_ms=9 * HOUR_MS, seed=29)
    with case.serve() as service:
        service.wait_until_ready()
        with publishing(case, events, rate=150):
            service.wait_for("events to be counted", lambda: service.counted() > 0)
            end(kafka_broker)
            kafka_broker.restart()
            counted, back_s = service.counted(), time.monotonic()
            service.wait_for("the service to count again", lambda: service.counted() > counted)
            _log.info("counted %.1f s after the broker was back", time.monotonic() - back_s)
        case.close_windows()
        case.wait_for_counts(service, case.counts_of(events))
        service.wait_until_ready()
        assert service.stop() < 5.0


def test_sigterm_without_broker_ends_service_in_time(
    tmp_path: Path, kafka_broker: AnyBroker, bootstrap: str
) -> None:
    case = make_case(tmp_path, bootstrap)
    events = make_events("alpha", 300, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=31)
    later = make_events("alpha", 300, start_ms=START_MS + DAY_MS, span_ms=HOUR_MS, seed=32)
    with case.serve() as service:
        service.wait_until_ready()
        case.publish(events)
        service.wait_for("the events to be counted", lambda: service.counted() == 300)
        case.publish(later)
        try:
            kafka_broker.stop()
            stopped = time.monotonic()
            service.wait_for("two seconds without a broker", lambda: time.monotonic() > stopped + 2)
            assert service.get("/livez")[0] == 200
            took_s = service.stop()
        finally:
            kafka_broker.restart()
    _log.info("ended %.1f s after SIGTERM", took_s)
    assert took_s < 25, "supervisors wait 30 s"
    case.close_windows()
    with case.serve() as service:
        case.wait_for_counts(service, case.counts_of(events + later))
