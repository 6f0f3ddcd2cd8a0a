"""An events topic that gets more partitions while two replicas read it."""

import logging
import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka.admin import NewPartitions

from tests.harness.case import HOUR_MS, START_MS, Case, SourceEvent, make_events
from tests.harness.gauges import wait_until_shown
from tests.harness.service import NO_CHAIN_FAULTS
from tests.harness.topics import TIMEOUT_S
from tests.waiting import wait_for

pytestmark = pytest.mark.broker

_log = logging.getLogger(__name__)

BEFORE, AFTER = 4, 7
PER_PART = 840  # a multiple of both numbers of partitions
NOTICED_WITHIN_S = 30.0


def part(number: int, partitions: int) -> list[SourceEvent]:
    """Return three hours of events, evenly on all partitions."""
    events = make_events(
        "alpha", PER_PART, start_ms=START_MS + number * 3 * HOUR_MS, span_ms=3 * HOUR_MS, seed=50 + number
    )
    return [
        SourceEvent(event.stream, event.time_ms, event.vector, row % partitions)
        for row, event in enumerate(events)
    ]


def test_added_partitions_are_read_soon_and_completely(tmp_path: Path, bootstrap: str) -> None:
    # Event time advances without a new partition until the group knows of it.
    case = Case(tmp_path, bootstrap, partitions=BEFORE, stream_settings={"allowed_lateness": "1d"})
    parts = [part(0, BEFORE), part(1, AFTER), part(2, AFTER)]
    with case.serve_ready("a", "b") as replicas:
        case.publish(parts[0])
        wait_for("the first part", lambda: sum(replica.counted() for replica in replicas) == PER_PART)

        added = case.admin.create_partitions([NewPartitions(case.events_topic, AFTER)])
        added[case.events_topic].result(TIMEOUT_S)
        added_s = time.monotonic()
        wait_for("the broker to show them", lambda: partitions(case) == AFTER)
        case.publish(parts[1])
        wait_for(
            "all partitions to be assigned",
            lambda: sum(replica.assigned_partitions() for replica in replicas) == AFTER,
        )
        noticed_s = time.monotonic() - added_s
        case.publish(parts[2])

        case.wait_for_counts(replicas[1], case.counts_of([event for part in parts for event in part]))
        wait_until_shown(replicas, case.final_results())
        for replica in replicas:
            samples = replica.scrape()
            assert samples.value("driftgauge_topic_partitions", topic=case.events_topic) == AFTER
            assert replica.chain_faults() == NO_CHAIN_FAULTS
            replica.stop()
    _log.info("added partitions were assigned after %.1f s", noticed_s)
    assert noticed_s < NOTICED_WITHIN_S
    new = 2 * PER_PART // AFTER
    positions = case.positions()
    records = Counter(message.partition() or 0 for message in case.read(case.events_topic))
    assert records == {index: new if index >= BEFORE else new + PER_PART // BEFORE for index in range(AFTER)}
    assert positions == case.ends()
    assert case.dead_letters() == []


def partitions(case: Case) -> int:
    """Return the number of partitions of the events topic with a leader."""
    found = case.admin.list_topics(case.events_topic, timeout=TIMEOUT_S).topics[case.events_topic].partitions
    return sum(partition.error is None for partition in found.values())
