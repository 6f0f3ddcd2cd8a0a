"""Killed or stopped at any point, the service counts every event once."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Consumer, KafkaError, Message

from driftgauge.core.durations import parse_duration
from driftgauge.kafka.state import OffsetState, Restored
from tests.integration.case import DAY_MS, HOUR_MS, START_MS, Case, Event, make_events

pytestmark = pytest.mark.integration

KILLS = 4


def test_a_kill_in_mid_window_loses_and_doubles_nothing(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, windows=("1h", "1d"), stream_settings={"allowed_disorder": "10m"})
    events = make_events(
        "alpha", 3_000, start_ms=START_MS, span_ms=30 * HOUR_MS, disorder_ms=HOUR_MS // 6, seed=2
    )
    with case.serve() as service:
        case.publish(events[:1_750])
        service.wait_for("the first part to be counted", lambda: service.counted() == 1_750)
        service.kill()
    case.publish(events[1_750:])

    with case.serve() as service:
        case.wait_for_counts(service, case.truth(events))
        service.wait_for("all to be read", lambda: service.outcomes("accepted") == 1_250)
        # The first day was open, so its events were all read again.
        assert service.outcomes("replayed") == 1_750
        assert service.is_ready()


def test_kills_at_random_points_leave_every_count_exact(tmp_path: Path, bootstrap: str) -> None:
    case = Case(
        tmp_path,
        bootstrap,
        windows=("1h", "1d"),
        streams=("alpha", "beta"),
        stream_settings={"allowed_disorder": "1h", "allowed_lateness": "3h", "idle_timeout": "5s"},
    )
    streams = [
        make_events(
            stream, 4_000, start_ms=START_MS - lag_ms, span_ms=60 * HOUR_MS, disorder_ms=HOUR_MS, seed=seed
        )
        for stream, lag_ms, seed in (("alpha", 0, 3), ("beta", 6 * HOUR_MS, 4))
    ]
    events = [event for pair in zip(*streams, strict=True) for event in pair]
    random = np.random.default_rng(5)

    with publishing(case, events, rate=700) as placed, watching(case) as commits:
        for _ in range(KILLS):
            with case.serve() as service:
                service.wait_until_ready()
                time.sleep(random.uniform(0, 2))
                service.kill()
    with case.serve() as service:
        case.wait_for_counts(service, case.truth(events))
        service.wait_until_ready()
        assert service.outcomes("late") == 0
    assert case.dead_letters() == []
    assert len(commits) > KILLS
    for restored in commits:
        assert_no_open_event_is_passed(case, placed, restored)


def test_a_stop_between_two_parts_of_a_window_never_reuses_a_revision(tmp_path: Path, bootstrap: str) -> None:
    case = Case(tmp_path, bootstrap, partitions=1, stream_settings={"allowed_lateness": "2d"})
    hour = make_events("alpha", 600, start_ms=START_MS, span_ms=HOUR_MS, seed=6)
    later = make_events("alpha", 10, start_ms=START_MS + DAY_MS, span_ms=HOUR_MS, seed=7)
    for part in (hour[:200] + later, hour[200:400], hour[400:]):
        case.publish(part)
        with case.serve() as service:
            service.wait_until_ready()
            service.wait_for("a result of the hour", lambda: last_count(case, hour[:1]) >= 200)
            service.stop()
    with case.serve() as service:
        case.wait_for_counts(service, case.truth(hour + later))

    counts = defaultdict(set)
    for record in case.results():
        counts[record["start"], record["revision"]].add(record["count"])
    assert {len(different) for different in counts.values()} == {1}, dict(counts)


def last_count(case: Case, events: list[Event]) -> int:
    (key,) = case.truth(events)
    return case.final_counts().get(key, 0)


@contextmanager
def publishing(
    case: Case, events: list[Event], *, rate: float
) -> Iterator[dict[int, list[tuple[int, Event]]]]:
    """Send the events from another thread at this rate; yields where they went: partition -> offset, event.

    What is yielded is whole at the end of the context, which waits for the last event.
    """
    placed: dict[int, list[tuple[int, Event]]] = defaultdict(list)
    failures: list[KafkaError] = []

    def send() -> None:
        producer = case.producer()
        started = time.monotonic()
        for number, event in enumerate(events):
            ahead_s = number / rate - (time.monotonic() - started)
            if ahead_s > 0:
                producer.poll(ahead_s)

            def delivered(error: KafkaError | None, message: Message, event: Event = event) -> None:
                if error is not None:
                    failures.append(error)
                else:
                    placed[message.partition() or 0].append((message.offset() or 0, event))

            producer.produce(case.events_topic, event.value, on_delivery=delivered)
        producer.flush(30)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield placed
    finally:
        thread.join()
    assert not failures
    assert sum(map(len, placed.values())) == len(events)


@contextmanager
def watching(case: Case) -> Iterator[list[Restored]]:
    """Collect what another client finds committed for the group, again and again meanwhile."""
    found: list[Restored] = []
    done = threading.Event()
    consumer = Consumer({"bootstrap.servers": case.bootstrap, "group.id": case.name})
    state = OffsetState(consumer)
    partitions = [(case.events_topic, partition) for partition in range(case.partitions or 0)]

    def look() -> None:
        while not done.wait(0.05):
            found.append(state.restore(partitions))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
        consumer.close()


def assert_no_open_event_is_passed(
    case: Case, placed: dict[int, list[tuple[int, Event]]], restored: Restored
) -> None:
    """Every event before a committed offset must be in windows that are past correction."""
    largest_ms = max(map(parse_duration, case.windows))
    for progress in restored.progress:
        assert progress.first_open <= progress.position
        for offset, event in placed[progress.partition]:
            if offset < progress.first_open:
                end_ms = event.time_ms - event.time_ms % largest_ms + largest_ms
                horizon_ms = restored.snapshots[event.stream].horizon_ms
                assert horizon_ms is not None
                assert end_ms <= horizon_ms
