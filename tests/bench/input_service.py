"""One run of the service, or of an earlier version of it, with its time an event."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic
from tests.bench.input_case import Case
from tests.harness.service import DRIFTGAUGE, ReplicaProcess

BEFORE = Path(__file__).with_name("input_before.py")
LIMIT_S = 120
# Each scrape takes about 5 ms of processor time.
POLL_S = 0.5

Spent = Mapping[str, float]
"""Microseconds an event: `processor` and `wall`; of the service also `memory` in MiB."""


def run_service(bootstrap: str, case: Case, run: str) -> Spent:
    """Return the time of the service, both roles in one process, and its memory."""
    group = f"{case.topic}-{run}"
    return _watch_service(bootstrap, case, case.config(bootstrap, group), group, DRIFTGAUGE)


def run_before(bootstrap: str, case: Case, run: str) -> Spent:
    """Return the time of the service of the earlier checkout, and its memory."""
    group = f"{case.topic}-before-{run}"
    config = case.config(bootstrap, group, is_before=True)
    return _watch_service(bootstrap, case, config, group, [str(BEFORE), str(case.before)])


def _watch_service(
    bootstrap: str, case: Case, config: Path, group: str, program: Sequence[str]
) -> dict[str, float]:
    """Return the time from the assignment of the partitions to the last event, by the service's own metrics.

    The start counts a little. Left out is what was done before the first sample with assigned partitions,
    about `POLL_S` after the assignment at most.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topics = [NewTopic(f"{group}.{name}", 1) for name in ("windows", "dead-letters")]
    for created in admin.create_topics(topics).values():
        created.result(30)
    with ReplicaProcess(config, config.with_suffix(".log"), program=program) as service:
        first, last = _watch(service, case)
        service.stop()
    events = last["driftgauge_events_total"] - first["driftgauge_events_total"]
    names = {"processor": "process_cpu_seconds_total", "wall": "time"}
    spent = {own: (last[name] - first[name]) / events * 1e6 for own, name in names.items()}
    return {**spent, "memory": last["process_resident_memory_bytes"] / 2**20}


def _watch(service: ReplicaProcess, case: Case) -> tuple[dict[str, float], dict[str, float]]:
    """Return the metrics and the time, once partitions are assigned and when all events are counted."""
    first: dict[str, float] = {}
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        time.sleep(POLL_S)
        sample = {"time": time.monotonic(), "driftgauge_events_total": 0.0, **_scrape(service, case.topic)}
        if not sample["driftgauge_consumer_assigned_partitions"]:
            continue
        first = first or sample
        if sample["driftgauge_events_total"] == case.events:
            return first, sample
    sys.exit(f"not all of {case.events} events were counted in {LIMIT_S} s:\n{service.log_tail()}")


def _scrape(service: ReplicaProcess, topic: str) -> dict[str, float]:
    expected = {"outcome": "accepted", "topic": topic, "role": "count"}
    return {
        name: value
        for (name, labels), value in service.scrape().samples.items()
        if all(expected.get(label, text) == text for label, text in labels)
    }
