"""Event time on a real log: transactions, silent partitions, lagging streams."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness.case import HOUR_MS, START_MS, Case, SourceEvent, make_events
from tests.harness.topics import TIMEOUT_S
from tests.harness.traffic import open_transaction, publishing

pytestmark = pytest.mark.broker

# Longer than a slow machine may delay the publication.
IDLE_S = 6


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
        assert service.counted() == 400
        service.stop()
    # 200 committed and 150 aborted records and two markers on each.
    assert case.positions() == {0: 352, 1: 352}


def test_silent_partitions_close_last_windows(tmp_path: Path, bootstrap: str) -> None:
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
