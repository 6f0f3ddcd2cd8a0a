"""A topic that is missing at the start, and two processes with one name."""

from pathlib import Path

import pytest

from tests.harness.case import HOUR_MS, START_MS, Case, make_events
from tests.harness.service import ReplicaProcess
from tests.harness.traffic import publishing

pytestmark = pytest.mark.broker

SESSION_LOST = "session lost; the Kafka clients are replaced"
# A generous lateness: the tests assert that no event is lost.
PATIENT = {"allowed_lateness": "20d", "idle_timeout": "1h"}


def test_service_waits_for_missing_topic(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=None, stream_settings=PATIENT)
    events = make_events("alpha", 200, start_ms=START_MS, span_ms=2 * HOUR_MS, seed=21)
    case.create(case.events_topic[:-1], 1)
    with case.serve() as service:
        waits = service.wait_for_log("waiting for topics to be created")
        assert f"{case.events_topic} (did you mean {case.events_topic[:-1]}?)" in str(waits["error"])
        assert [service.get(path)[0] for path in ("/livez", "/readyz")] == [200, 503]
        case.create(case.events_topic, 3)
        service.wait_until_ready()
        case.partitions = 3
        case.publish_last(events)
        case.wait_for_counts(service, case.counts_of(events))


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
