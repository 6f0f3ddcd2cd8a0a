"""Rolls versions over each other, one replica at a time, there and back, while events flow."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.chaos.background_thread import BackgroundThread
from tests.harness.case import CLUSTERS, HOUR_MS, REFERENCE, START_MS, Case, SourceEvent, make_events
from tests.harness.service import NO_CHAIN_FAULTS, STOPPED, ReplicaProcess
from tests.processes import run_command
from tests.waiting import wait_for

__all__ = ["LATER", "MUTANT", "NAMES", "WITHOUT_NUMBERS", "make_case", "roll_over"]

MUTANT = str(Path(__file__).parents[1] / "chaos" / "mutant.py")
LATER = (MUTANT, "further_fields", "none")
WITHOUT_NUMBERS = (MUTANT, "without_numbers", "none")
# A stream of each shard.
STREAMS = ("alpha", "delta")
CHUNK = 20  # events sent at once
PAUSE_S = 0.05
NAMES = ("one", "two")


class Publisher(BackgroundThread):
    """Publishes events, a few at a time, over and over an hour of event time.

    Attributes:
        sent: The events so far.
    """

    def __init__(self, case: Case) -> None:
        super().__init__("publishing events")
        self._case = case
        self.sent: list[SourceEvent] = []

    def _run(self) -> None:
        for number in range(100_000):
            # Every other event has the number; its values would alert.
            events = [
                replace(each, confidence=0.5) if row % 2 else each
                for stream in STREAMS
                for row, each in enumerate(
                    make_events(
                        stream,
                        CHUNK,
                        start_ms=START_MS + number * HOUR_MS // 100,
                        span_ms=HOUR_MS // 100,
                        seed=number,
                    )
                )
            ]
            self._case.publish(events, keyed=True)
            self.sent += events
            if self._done.wait(PAUSE_S):
                return


def make_case(folder: Path, bootstrap: str) -> Case:
    """Return a case whose baselines the later version has written."""
    settings = {"allowed_lateness": "1d", "numbers": {"confidence": {"range": [0, 1], "alert_below": 0.8}}}
    case = Case(folder, bootstrap, streams=STREAMS, stream_settings=settings)
    vectors = folder / "vectors.npy"
    np.save(vectors, REFERENCE)
    for stream in STREAMS:
        fit = ("baseline", "fit", vectors, "--stream", stream, "--clusters", str(CLUSTERS))
        done = run_command(sys.executable, *LATER, *fit, "--out", folder / f"{stream}.safetensors")
        assert done.returncode == 0, done.stderr
    return case


def roll_over(
    case: Case,
    earlier: Mapping[str, Sequence[str]],
    later: Mapping[str, Sequence[str]],
    *,
    forgets_numbers: bool = False,
) -> None:
    """Replace each replica by its later version, and back, under load; check counts, shards and fields.

    Args:
        case: From `make_case`.
        earlier: The program by the replica's name.
        later: The same of the version of which `LATER` is one.
        forgets_numbers: The later version does not know the numbers beside the vectors.
    """
    replicas = {name: case.serve(name, program=program) for name, program in earlier.items()}
    try:
        for replica in replicas.values():
            replica.wait_until_ready()
        with Publisher(case) as publisher:
            for programs in (later, earlier):
                for name, program in programs.items():
                    replicas[name] = _replace(case, name, replicas[name], program)
            # Whole windows, however fast the versions replaced each other.
            over_ms = publisher.sent[-1].time_ms + 2 * HOUR_MS
            wait_for("two more hours of events", lambda: publisher.sent[-1].time_ms > over_ms)
        case.close_windows()
        case.wait_for_counts(next(iter(replicas.values())), case.counts_of(publisher.sent))
        for replica in replicas.values():
            assert (replica.logged(STOPPED), replica.chain_faults()) == ([], NO_CHAIN_FAULTS)
            replica.stop()
    finally:
        for replica in replicas.values():
            replica.kill()
    results = case.final_results().values()
    assert not any(each["events_lost"] or each["incomplete_reason"] for each in results)
    # What all versions know is exact. Where one that does not know the number took part, less is counted.
    numbers = [
        (each["numbers"]["confidence"], each["count"])
        for each in results
        # A window that such a version has closed last names none.
        if each["numbers"] or not forgets_numbers
    ]
    halves = {(count // 2, count - count // 2) for _, count in numbers}
    whole = [own for own, count in numbers if (own["count"], own["missing"]) in halves and not own["partial"]]
    partial = [own for own, count in numbers if own["partial"] and own["count"] + own["missing"] < count]
    assert len(whole) + len(partial) == len(numbers)
    assert bool(partial) == forgets_numbers
    assert any(own["exceeds"] for own in whole)
    assert not any(own["exceeds"] for own in partial)
    for topic in (case.partials_topic, case.changelog_topic, case.windows_topic):
        assert any(b"further" in (each.value() or b"") for each in case.read(topic)), topic


def _replace(case: Case, name: str, old: ReplicaProcess, program: Sequence[str]) -> ReplicaProcess:
    """Replace a replica by one of a version, and wait until it counts and closes windows."""
    old.stop()
    assert old.logged(STOPPED) == []
    new = case.serve(name, program=program)
    new.wait_until_ready()
    new.wait_for("a partition and a shard", lambda: bool(new.assigned_partitions() and new.assigned_shards()))
    before = new.counted()
    new.wait_for("its events", lambda: new.counted() > before)
    return new
