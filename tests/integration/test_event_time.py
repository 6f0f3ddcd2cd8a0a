"""Event time on a real log: transactions, partitions without events, streams that lag."""

from pathlib import Path

import pytest

from tests.integration.case import HOUR_MS, START_MS, Case, Event, make_events

pytestmark = pytest.mark.integration


def send_transaction(case: Case, events: list[Event], *, commit: bool) -> None:
    producer = case.producer(**{"transactional.id": case.name})
    producer.init_transactions(30)
    producer.begin_transaction()
    for number, event in enumerate(events):
        producer.produce(case.events_topic, event.value, partition=number % (case.partitions or 1))
    producer.flush(30)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


def test_only_committed_events_count_and_markers_do_not_keep_the_last_window_open(
    tmp_path: Path, bootstrap: str
) -> None:
    case = Case(tmp_path, bootstrap, partitions=2, stream_settings={"allowed_disorder": "10m"})
    committed = make_events("alpha", 400, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=11)
    aborted = make_events("alpha", 300, start_ms=START_MS, span_ms=6 * HOUR_MS, seed=12)
    with case.serve() as service:
        service.wait_until_ready()
        send_transaction(case, committed, commit=True)
        # The aborted events are the last records, and their markers what the log ends with.
        send_transaction(case, aborted, commit=False)

        case.wait_for_counts(service, case.truth(committed))
        assert service.outcomes("accepted") == 400
        service.stop()
    # 200 committed and 150 aborted records and two markers on each.
    assert case.positions() == {0: 352, 1: 352}


def test_an_open_transaction_holds_its_window_back_until_it_is_committed(
    tmp_path: Path, bootstrap: str
) -> None:
    case = Case(tmp_path, bootstrap, partitions=1, stream_settings={"idle_timeout": "1s"})
    hours = [
        make_events("alpha", 100, start_ms=START_MS + hour * HOUR_MS, span_ms=HOUR_MS, seed=13 + hour)
        for hour in (0, 1)
    ]
    with case.serve() as service:
        service.wait_until_ready()
        case.publish(hours[0])
        producer = case.producer(**{"transactional.id": case.name})
        producer.init_transactions(30)
        producer.begin_transaction()
        for event in hours[1]:
            producer.produce(case.events_topic, event.value, partition=0)
        producer.flush(30)
        service.wait_for("the first hour to be counted", lambda: service.counted() == 100)
        # Long enough that silence alone would have closed the first hour.
        started = service.scrape().value("driftgauge_last_poll_timestamp_seconds")
        assert started is not None
        service.wait_for(
            "three times the idle timeout",
            lambda: (service.scrape().value("driftgauge_last_poll_timestamp_seconds") or 0) > started + 3,
        )
        assert case.results() == []

        producer.commit_transaction(30)
        case.wait_for_counts(service, case.truth(hours[0] + hours[1]))
        assert {record["revision"] for record in case.results()} == {0}


def test_partitions_without_events_hold_windows_back_no_longer_than_the_idle_timeout(
    tmp_path: Path, bootstrap: str
) -> None:
    case = Case(tmp_path, bootstrap, partitions=6)
    events = make_events("alpha", 300, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=15)
    with case.serve() as service:
        service.wait_until_ready()
        case.publish([Event(event.stream, event.time_ms, event.vector, partition=2) for event in events])
        # Two seconds of silence, a second's commit interval; the rest is for a slow machine.
        service.wait_for("a closed window", lambda: bool(case.results()), within_s=15)
        case.wait_for_counts(service, case.truth(events))
        service.stop()
    assert case.positions() == {0: 0, 1: 0, 2: 300, 3: 0, 4: 0, 5: 0}


def test_a_stream_that_lags_another_by_six_hours_loses_nothing(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        streams=("alpha", "beta"),
        stream_settings={"allowed_disorder": "1m", "allowed_lateness": "0s", "idle_timeout": "5s"},
    )
    ahead = make_events("alpha", 2_400, start_ms=START_MS + 6 * HOUR_MS, span_ms=12 * HOUR_MS, seed=16)
    behind = make_events("beta", 2_400, start_ms=START_MS, span_ms=12 * HOUR_MS, seed=17)
    events = [event for pair in zip(ahead, behind, strict=True) for event in pair]
    with case.serve() as service:
        service.wait_until_ready()
        case.publish(events)
        case.wait_for_counts(service, case.truth(events))
        assert service.outcomes("late") == 0
        assert service.outcomes("accepted") == 4_800
    assert {record["revision"] for record in case.results()} == {0}
    assert case.dead_letters() == []
