"""Start, stop and group membership of the service."""

from pathlib import Path

import pytest

from tests.integration.case import HOUR_MS, START_MS, Case, make_events
from tests.integration.service import ReplicaProcess, driftgauge
from tests.integration.traffic import publishing
from tests.kafka.node import free_ports
from tests.waiting import wait_for

pytestmark = pytest.mark.broker

SESSION_LOST = "session lost; the Kafka clients are replaced"
# A generous lateness: the tests assert that no event is lost.
PATIENT = {"allowed_lateness": "20d", "idle_timeout": "1h"}


def test_sigterm_ends_service_at_once_and_leaves_group(tmp_path: Path, bootstrap: str) -> None:
    # The group would keep a member that does not leave for 30 s.
    case = Case(tmp_path, bootstrap, kafka={"session.timeout.ms": 30_000})
    events = make_events("alpha", 2_000, start_ms=START_MS, span_ms=6 * HOUR_MS, seed=20)
    with case.serve() as service:
        service.wait_until_ready()
        case.publish(events)
        service.wait_for("the events to be counted", lambda: service.counted() == 2_000)
        assert case.members() == 2, "one of each group"

        assert service.stop() < 4.0, "two, and a busy machine"

        assert case.members() == 0
        assert sum(case.positions().values()) == 2_000


def test_service_waits_for_missing_topic(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=None, stream_settings=PATIENT)
    events = make_events("alpha", 200, start_ms=START_MS, span_ms=2 * HOUR_MS, seed=21)
    with case.serve() as service:
        service.wait_for(
            "the missing topic to be reported",
            lambda: bool(service.logged("waiting for topics to be created")),
        )
        assert service.get("/livez")[0] == 200
        assert service.get("/readyz")[0] == 503
        case.create_topic(case.events_topic, 3)
        service.wait_until_ready()
        case.partitions = 3
        case.publish_last(events)
        case.wait_for_counts(service, case.counts_of(events))


def test_sigterm_ends_wait_for_missing_topic(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=None)
    with case.serve() as service:
        service.wait_for(
            "the missing topic to be reported",
            lambda: bool(service.logged("waiting for topics to be created")),
        )
        assert service.stop() < 5.0


def test_second_replica_counts_its_share(tmp_path: Path, bootstrap: str) -> None:
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
                member.wait_for("both to share", lambda replica=member: replica.assigned_partitions() == 2)
                member.wait_until_ready()
            case.publish(parts[1])
            wait_for("the second part to be counted", lambda: first.counted() + second.counted() == 800)
            assert min(first.counted() - 400, second.counted()) > 100
            assert second.stop() < 5.0
        first.wait_for("all partitions to return", lambda: first.assigned_partitions() == 4)
        case.publish_last(parts[2])
        case.wait_for_counts(first, case.counts_of([event for part in parts for event in part]))
        first.wait_until_ready()


def test_two_processes_with_one_name_report_it_and_count_once(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, stream_settings=PATIENT)
    events = make_events("alpha", 1_200, start_ms=START_MS, span_ms=9 * HOUR_MS, seed=30)
    with case.serve("driftgauge-0") as first, publishing(case, [*events, *case.closing_events()], rate=200):
        first.wait_for("events to be counted", lambda: first.counted() > 0)
        with case.serve("driftgauge-0") as second:
            for service in (first, second):
                service.wait_for(
                    "each process to be fenced", lambda process=service: has_been_fenced(process)
                )
            first.stop()
            case.wait_for_counts(second, case.counts_of(events))
            second.wait_until_ready()


def has_been_fenced(service: ReplicaProcess) -> bool:
    """Return whether the log names another process with the same name as the cause."""
    errors = [str(entry["error"]) for entry in service.logged(SESSION_LOST)]
    return any("another process uses this replica's name" in error for error in errors)


def test_start_without_broker_is_reported_and_waits(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=None)
    (port,) = free_ports(1)
    case.kafka = {"bootstrap.servers": f"127.0.0.1:{port}"}
    case.write_config()

    with case.serve() as service:
        service.wait_for(
            "the missing cluster to be reported", lambda: bool(service.logged("waiting for the cluster"))
        )
        assert "check kafka.bootstrap.servers" in str(service.logged("waiting for the cluster")[0]["error"])
        assert service.get("/livez")[0] == 200
        assert service.get("/readyz")[0] == 503
        service.stop()
        assert len(service.log_tail().splitlines()) < 20, "librdkafka must not flood the log"


def test_invalid_kafka_property_is_named_and_ends_start(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path, bootstrap, partitions=None, kafka={"fetch.wait.max.ms": "soon", "no.such.property": 1}
    )

    done = driftgauge("serve", "--config", case.config)

    assert done.returncode == 2
    assert "kafka.fetch.wait.max.ms" in done.stderr
    assert "kafka.no.such.property" in done.stderr
    assert "Traceback" not in done.stderr
