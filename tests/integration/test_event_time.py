"""Event time on a real log: transactions, partitions without events, streams that lag."""

from collections import defaultdict
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import orjson
import pytest

from tests.integration.case import HOUR_MS, START_MS, Case, SourceEvent, make_events
from tests.integration.traffic import publishing

pytestmark = pytest.mark.broker

# Longer than a slow machine may hold up the publishing.
IDLE_S = 6
# COUNT says every 2 s how far a silent partition is read: of the last event, and once more after silence
# was seen there. The rest is for a slow machine.
CLOSED_WITHIN_S = IDLE_S + 2 * 2.0 + 6.0


def send_transaction(case: Case, events: list[SourceEvent], *, commit: bool) -> None:
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
        send_transaction(case, committed, commit=True)
        # The aborted events are the last records, and their markers what the log ends with.
        send_transaction(case, aborted, commit=False)

        case.wait_for_counts(service, case.truth(committed))
        assert service.outcomes("accepted") == 400
        service.stop()
    # 200 committed and 150 aborted records and two markers on each.
    assert case.positions() == {0: 352, 1: 352}


def test_silence_of_any_kind_closes_the_last_windows_within_a_bound(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        streams=("brief", "steady", "limping"),
        partitions=6,
        stream_settings={"idle_timeout": f"{IDLE_S}s", "allowed_disorder": "0s"},
    )
    # By its key on one partition alone, and silent while others go on there.
    brief = make_events("brief", 90, start_ms=START_MS, span_ms=HOUR_MS, seed=15)
    # One goes on everywhere, one is soon heard on one partition of two; in the end both are silent.
    others = [
        SourceEvent(stream, START_MS + step * HOUR_MS // 6, brief[step].vector, partition)
        for step in range(45)
        for stream, partitions in (("steady", range(6)), ("limping", range(2 if step < 6 else 1)))
        for partition in partitions
    ]
    with ExitStack() as running:
        replicas = [running.enter_context(case.serve(name)) for name in "ab"]
        for replica in replicas:
            replica.wait_until_ready()
        case.publish(brief, keyed=True)
        with publishing(case, others, rate=40):
            pass
        case.wait_for_counts(replicas[0], case.truth(brief + others))
    assert {record["revision"] for record in case.results()} == {0}
    waited_s = closing_times(case)
    assert max(map(max, waited_s.values())) < CLOSED_WITHIN_S


def closing_times(case: Case) -> dict[str, list[float]]:
    """How long it took to publish each window, s, from what let it be closed on.

    That is the stream's next event beyond the window's end or, where there is none, its last event.
    """
    sent: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for message in case.read(case.events_topic):
        event = orjson.loads(message.value() or b"")
        sent[event["stream"]].append((message.timestamp()[1], event["timestamp"]))
    waited_s = defaultdict(list)
    for message in case.read(case.windows_topic):
        record = orjson.loads(message.value() or b"")
        end_ms = datetime.fromisoformat(record["end"]).timestamp() * 1_000
        its = sent[record["stream"]]
        beyond = [wall_ms for wall_ms, time_ms in its if time_ms >= end_ms]
        wall_ms = min(beyond) if beyond else max(its)[0]
        waited_s[record["stream"]].append((message.timestamp()[1] - wall_ms) / 1_000)
    return waited_s


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
        assert service.late() == 0
        assert service.outcomes("accepted") == 4_800
    assert {record["revision"] for record in case.results()} == {0}
    assert case.dead_letters() == []
