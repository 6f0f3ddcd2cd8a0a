"""How the service comes, goes, and lives through what happens to its cluster."""

import time
from pathlib import Path

import pytest
from confluent_kafka.admin import NewPartitions

from tests.integration.case import DAY_MS, HOUR_MS, START_MS, Case, make_events
from tests.integration.service import Service, driftgauge
from tests.kafka.broker import Broker, free_ports
from tests.kafka.fixtures import ExternalCluster

pytestmark = pytest.mark.integration

# Corrections are welcome however late in event time: what is asserted is that nothing is lost.
PATIENT = {"allowed_lateness": "20d"}
ONE_REPLICA = (
    "another member is in the consumer group; this version supports one replica, and reads nothing until "
    "it holds every partition"
)


def test_sigterm_ends_it_within_two_seconds_and_leaves_the_group(tmp_path: Path, bootstrap: str) -> None:
    # A member that does not leave would be seen for 45 s.
    case = Case(tmp_path, bootstrap, kafka={"session.timeout.ms": 45_000})
    events = make_events("alpha", 2_000, start_ms=START_MS, span_ms=6 * HOUR_MS, seed=20)
    with case.serve() as service:
        service.wait_until_ready()
        case.publish(events)
        service.wait_for("the events to be counted", lambda: service.counted() == 2_000)
        assert case.members() == 1

        assert service.stop() < 2.0

        assert case.members() == 0
        assert sum(case.positions().values()) == 2_000


def test_it_waits_for_a_topic_that_is_still_to_be_created(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=None)
    events = make_events("alpha", 200, start_ms=START_MS, span_ms=2 * HOUR_MS, seed=21)
    with case.serve() as service:
        service.wait_for(
            "it to say what it waits for", lambda: bool(service.logged("waiting for topics to be created"))
        )
        assert service.get("/livez")[0] == 200
        assert service.get("/readyz")[0] == 503
        case.create_topic(case.events_topic, 3)
        service.wait_until_ready()
        case.publish(events)
        case.wait_for_counts(service, case.truth(events))


def test_sigterm_is_heeded_while_it_waits_for_a_topic(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=None)
    with case.serve() as service:
        service.wait_for(
            "it to say what it waits for", lambda: bool(service.logged("waiting for topics to be created"))
        )
        assert service.stop() < 2.0


def test_a_second_member_makes_both_stand_back_until_it_leaves(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=4, stream_settings=PATIENT)
    parts = [
        make_events("alpha", 400, start_ms=START_MS + part * 2 * HOUR_MS, span_ms=2 * HOUR_MS, seed=22 + part)
        for part in range(3)
    ]
    with case.serve() as first:
        case.publish(parts[0])
        first.wait_for("the first part to be counted", lambda: first.counted() == 400)
        with case.serve() as second:
            for member in (first, second):
                member.wait_for("both to stand back", lambda m=member: bool(m.logged(ONE_REPLICA)))
            case.publish(parts[1])
            for member in (first, second):
                status, body = member.get("/readyz")
                assert status == 503
                assert "partitions_assigned" in body
            assert second.counted() == 0
            assert second.stop() < 2.0
        first.wait_until_ready()
        case.publish(parts[2])
        case.wait_for_counts(first, case.truth([event for part in parts for event in part]))
        first.wait_for("all to be read", lambda: first.outcomes("accepted") == 1_200)


def test_partitions_that_are_added_are_read_from_their_beginning(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        partitions=1,
        kafka={"topic.metadata.refresh.interval.ms": 300},
        stream_settings=PATIENT,
    )
    parts = [
        make_events("alpha", 600, start_ms=START_MS + part * 3 * HOUR_MS, span_ms=3 * HOUR_MS, seed=25 + part)
        for part in range(3)
    ]
    with case.serve() as service:
        for part, total in zip(parts, (1, 3, 4), strict=True):
            if total > 1:
                # Publishing goes on while the group takes note.
                added = case.admin.create_partitions([NewPartitions(case.events_topic, total)])
                added[case.events_topic].result(30)
            case.publish(part)
        case.wait_for_counts(service, case.truth([event for part in parts for event in part]))
        service.wait_for("the new partitions to be held", lambda: held(service, case) == 4)
        service.wait_for("all to be read", lambda: service.outcomes("accepted") == 1_800)
        service.wait_until_ready()
        service.stop()
    assert sum(case.positions().values()) == 1_800


def held(service: Service, case: Case) -> float | None:
    return service.scrape().value("driftgauge_consumer_assigned_partitions", topic=case.events_topic)


def test_a_broker_that_restarts_costs_no_event(
    tmp_path: Path, kafka_broker: Broker | ExternalCluster, bootstrap: str
) -> None:
    case = Case(tmp_path, bootstrap, stream_settings=PATIENT)
    before, during, after = (
        make_events("alpha", 600, start_ms=START_MS + part * 3 * HOUR_MS, span_ms=3 * HOUR_MS, seed=28 + part)
        for part in range(3)
    )
    with case.serve() as service:
        service.wait_until_ready()
        case.publish(before)
        service.wait_for("the first part to be counted", lambda: service.counted() >= 600)
        case.publish(during)
        kafka_broker.restart()
        case.publish(after)
        case.wait_for_counts(service, case.truth([*before, *during, *after]))
        service.wait_for("all to be read", lambda: service.outcomes("accepted") == 1_800)
        assert service.stop() < 2.0


def test_sigterm_ends_it_in_bounded_time_while_the_broker_is_away(
    tmp_path: Path, kafka_broker: Broker | ExternalCluster, bootstrap: str
) -> None:
    case = Case(tmp_path, bootstrap)
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
            service.wait_for("some turns without a broker", lambda: time.monotonic() > stopped + 2)
            assert service.get("/livez")[0] == 200
            assert service.stop() < 10.0
        finally:
            kafka_broker.restart()
    with case.serve() as service:
        case.wait_for_counts(service, case.truth(events + later))


def test_without_a_broker_at_the_start_it_says_so_and_waits(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=None)
    (port,) = free_ports(1)
    case.kafka = {"bootstrap.servers": f"127.0.0.1:{port}"}
    case.write_config()

    with case.serve() as service:
        service.wait_for("it to say so", lambda: bool(service.logged("waiting for the cluster")))
        assert "check kafka.bootstrap.servers" in str(service.logged("waiting for the cluster")[0]["error"])
        assert service.get("/livez")[0] == 200
        assert service.get("/readyz")[0] == 503
        service.stop()
        assert len(service.log_tail().splitlines()) < 20, "librdkafka's complaints must not drown it"


def test_a_property_that_librdkafka_refuses_is_named_and_ends_it_at_once(
    tmp_path: Path, bootstrap: str
) -> None:
    case = Case(
        tmp_path, bootstrap, partitions=None, kafka={"fetch.wait.max.ms": "soon", "no.such.property": 1}
    )

    done = driftgauge("serve", "--config", case.config)

    assert done.returncode == 2
    assert "kafka.fetch.wait.max.ms" in done.stderr
    assert "kafka.no.such.property" in done.stderr
    assert "Traceback" not in done.stderr
