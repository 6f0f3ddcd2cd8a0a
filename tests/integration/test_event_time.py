"""Event time on a real log: transactions, silent partitions, lagging streams."""

from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import orjson
import pytest

from tests.integration.case import HOUR_MS, START_MS, TIMEOUT_S, Case, SourceEvent, make_events
from tests.integration.traffic import open_transaction, publishing

pytestmark = pytest.mark.broker

# Longer than a slow machine may delay the publication.
IDLE_S = 6
# COUNT reports the progress of a silent partition every 2 s: after the last event, and again once it is
# idle. The rest is for a slow machine.
CLOSED_WITHIN_S = IDLE_S + 2 * 2.0 + 6.0


def on_both_partitions(events: list[SourceEvent]) -> list[SourceEvent]:
    return [replace(event, partition=number % 2) for number, event in enumerate(events)]


def test_committed_events_alone_count_and_markers_delay_no_window(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        partitions=2,
        stream_settings={"allowed_disorder": "10m"},
    )
    committed = make_events("alpha", 400, start_ms=START_MS, span_ms=3 * HOUR_MS, seed=11)
    aborted = make_events("alpha", 300, start_ms=START_MS, span_ms=6 * HOUR_MS, seed=12)
    with case.serve() as service:
        service.wait_until_ready()
        open_transaction(case, on_both_partitions(committed)).commit_transaction(TIMEOUT_S)
        # The log ends with the aborted events and their markers.
        open_transaction(case, on_both_partitions(aborted)).abort_transaction(TIMEOUT_S)

        case.wait_for_counts(service, case.counts_of(committed))
        assert service.outcomes("accepted") == 400
        service.stop()
    # 200 committed and 150 aborted records and two markers on each.
    assert case.positions() == {0: 352, 1: 352}


def test_silent_partitions_close_last_windows_in_time(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        streams=("brief", "steady", "limping"),
        partitions=6,
        stream_settings={"idle_timeout": f"{IDLE_S}s", "allowed_disorder": "0s"},
    )
    # Keyed, so that one partition has the whole stream; other streams continue there.
    brief = make_events("brief", 90, start_ms=START_MS, span_ms=HOUR_MS, seed=15)
    # One stream continues on all partitions, one soon on one of two; in the end both are silent.
    others = [
        SourceEvent(stream, START_MS + step * HOUR_MS // 6, brief[step].vector, partition)
        for step in range(45)
        for stream, partitions in (("steady", range(6)), ("limping", range(2 if step < 6 else 1)))
        for partition in partitions
    ]
    with case.serve_ready("a", "b") as replicas:
        case.publish(brief, keyed=True)
        with publishing(case, others, rate=40):
            pass
        case.wait_for_counts(replicas[0], case.counts_of(brief + others))
    assert {record["revision"] for record in case.results()} == {0}
    waited_s = closing_times(case)
    assert max(map(max, waited_s.values())) < CLOSED_WITHIN_S


def closing_times(case: Case) -> dict[str, list[float]]:
    """Return each stream's closing delays, s.

    A delay runs from the stream's first event beyond the window's end, or from its last event if there is
    none, to the publication of the window.
    """
    sent: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for message in case.read(case.events_topic):
        event = orjson.loads(message.value() or b"")
        sent[event["stream"]].append((message.timestamp()[1], event["timestamp"]))
    waited_s = defaultdict(list)
    for message in case.read(case.windows_topic):
        record = orjson.loads(message.value() or b"")
        end_ms = datetime.fromisoformat(record["end"]).timestamp() * 1_000
        events = sent[record["stream"]]
        beyond = [wall_ms for wall_ms, time_ms in events if time_ms >= end_ms]
        wall_ms = min(beyond) if beyond else max(events)[0]
        waited_s[record["stream"]].append((message.timestamp()[1] - wall_ms) / 1_000)
    return waited_s


def test_stream_that_lags_by_six_hours_loses_nothing(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        streams=("alpha", "beta"),
        stream_settings={"allowed_disorder": "1m", "allowed_lateness": "0s", "idle_timeout": "1h"},
    )
    ahead = make_events("alpha", 2_400, start_ms=START_MS + 6 * HOUR_MS, span_ms=12 * HOUR_MS, seed=16)
    behind = make_events("beta", 2_400, start_ms=START_MS, span_ms=12 * HOUR_MS, seed=17)
    events = [event for pair in zip(ahead, behind, strict=True) for event in pair]
    with case.serve() as service:
        service.wait_until_ready()
        published = case.publish_last(events)
        case.wait_for_counts(service, case.counts_of(events))
        assert service.late() == 0
        assert service.outcomes("accepted") == published
    assert {record["revision"] for record in case.results()} == {0}
    assert case.dead_letters() == []
