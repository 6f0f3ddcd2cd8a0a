"""Two versions replace each other one replica at a time, there and back, while events flow."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.chaos.background_thread import BackgroundThread
from tests.harness.case import CLUSTERS, DIMENSION, HOUR_MS, START_MS, Case, SourceEvent, make_events
from tests.harness.service import DRIFTGAUGE, NO_CHAIN_FAULTS, ReplicaProcess
from tests.processes import run_command

pytestmark = pytest.mark.broker

MUTANT = str(Path(__file__).parents[1] / "chaos" / "mutant.py")
LATER = (MUTANT, "further_fields", "none")
STOPPED = "shard stopped; the others go on"
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
            events = [
                each
                for stream in STREAMS
                for each in make_events(
                    stream,
                    CHUNK,
                    start_ms=START_MS + number * HOUR_MS // 100,
                    span_ms=HOUR_MS // 100,
                    seed=number,
                )
            ]
            self._case.publish(events, keyed=True)
            self.sent += events
            if self._done.wait(PAUSE_S):
                return


@pytest.fixture
def case(tmp_path: Path, bootstrap: str) -> Case:
    """A case whose baselines the later version has written."""
    case = Case(tmp_path, bootstrap, streams=STREAMS, stream_settings={"allowed_lateness": "1d"})
    vectors = tmp_path / "vectors.npy"
    np.save(vectors, np.random.default_rng(7).normal(size=(800, DIMENSION)).astype(np.float32))
    for stream in STREAMS:
        fit = ("baseline", "fit", vectors, "--stream", stream, "--clusters", str(CLUSTERS))
        done = run_command(sys.executable, *LATER, *fit, "--out", tmp_path / f"{stream}.safetensors")
        assert done.returncode == 0, done.stderr
    return case


def replace(case: Case, name: str, old: ReplicaProcess, program: Sequence[str]) -> ReplicaProcess:
    """Replace a replica by one of a version, and wait until it counts and closes windows."""
    old.stop()
    assert old.logged(STOPPED) == []
    new = case.serve(name, program=program)
    new.wait_until_ready()
    new.wait_for("a partition and a shard", lambda: bool(new.assigned_partitions() and new.assigned_shards()))
    before = new.counted()
    new.wait_for("its events", lambda: new.counted() > before)
    return new


def test_versions_replace_each_other_there_and_back(case: Case) -> None:
    replicas = {name: case.serve(name) for name in NAMES}
    try:
        for replica in replicas.values():
            replica.wait_until_ready()
        with Publisher(case) as publisher:
            for program in (LATER, DRIFTGAUGE):
                for name in NAMES:
                    replicas[name] = replace(case, name, replicas[name], program)
        case.close_windows()
        case.wait_for_counts(replicas["one"], case.counts_of(publisher.sent))
        for replica in replicas.values():
            assert (replica.logged(STOPPED), replica.chain_faults()) == ([], NO_CHAIN_FAULTS)
            replica.stop()
    finally:
        for replica in replicas.values():
            replica.kill()
    results = case.final_results().values()
    assert not any(each["events_lost"] or each["incomplete_reason"] for each in results)
    for topic in (case.partials_topic, case.changelog_topic, case.windows_topic):
        assert any(b"further" in (each.value() or b"") for each in case.read(topic)), topic


def test_version_that_must_understand_a_field_stops_by_its_name(case: Case) -> None:
    events = make_events("alpha", 100, start_ms=START_MS, span_ms=2 * HOUR_MS, seed=3)
    later = (MUTANT, "field_to_understand", "none")
    with case.serve(program=later, role="count") as counting:
        sent = case.publish_last(events)
        counting.wait_for("the events to be counted", lambda: counting.counted() == sent)
        counting.stop()
    with case.serve(role="windows") as earlier:
        stopped = earlier.wait_for_log(STOPPED)
        assert "event_weight, which a reader must understand" in str(stopped["reason"])
        earlier.stop()
    assert case.results() == []
    with case.serve(program=later, role="windows") as windows:
        case.wait_for_counts(windows, case.counts_of(events))
        windows.stop()
