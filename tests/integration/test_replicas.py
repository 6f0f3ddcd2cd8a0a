"""Several replicas of one group: each stream is shown by exactly one, and any of them may go."""

import time
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from driftgauge.core.counting.partial import shard_of
from tests.integration.case import (
    DIMENSION,
    HOUR_MS,
    MINUTE_MS,
    SHARDS,
    START_MS,
    Case,
    SourceEvent,
    WindowKey,
)
from tests.integration.gauges import gauges_of, shown_by, window_gauges, without_wall_time
from tests.integration.service import NO_CHAIN_FAULTS, ServiceProcess, wait_for
from tests.kafka.relay import Relay

pytestmark = pytest.mark.broker

PARTITIONS = 3
# One of each shard.
STREAMS = ("alpha", "beta")
HOURS = 3
"""So many are published at a time, and then the next is begun; it is what every larger window lasts."""
FRESH_S = 15.0
"""So long are gauges shown after a shard's last commit."""


class HourlyTraffic:
    """Hours of events on every partition, of which all but the last have ended."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._random = np.random.default_rng(40)
        self.end_ms = START_MS
        self.events: list[SourceEvent] = []

    def publish(self) -> None:
        start_ms, self.end_ms = self.end_ms, self.end_ms + HOURS * HOUR_MS
        times = [*range(start_ms, self.end_ms, 2 * MINUTE_MS), self.end_ms + 15 * MINUTE_MS]
        events = [
            SourceEvent(stream, time_ms, self._random.normal(size=DIMENSION).astype(np.float32), partition)
            for time_ms in times
            for stream in STREAMS
            for partition in range(PARTITIONS)
        ]
        self._case.publish(events)
        self.events += events

    @property
    def truth(self) -> dict[WindowKey, int]:
        """The counts of the windows that have ended."""
        ended = [event for event in self.events if event.time_ms < self.end_ms]
        return self._case.truth(ended)


def make_case(folder: Path, bootstrap: str) -> Case:
    """Windows close by the watermark alone, and none of them can be corrected."""
    assert {shard_of(stream, SHARDS) for stream in STREAMS} == set(range(SHARDS))
    return Case(
        folder,
        bootstrap,
        windows=("1h", f"{HOURS}h"),
        streams=STREAMS,
        partitions=PARTITIONS,
        stream_settings={"allowed_disorder": "10m", "allowed_lateness": "0s", "idle_timeout": "1h"},
    )


def wait_until_shown(case: Case, replicas: Collection[ServiceProcess], truth: dict[WindowKey, int]) -> None:
    """Wait until the replicas together show what the results say, and no stream twice."""
    first, *_ = replicas
    case.wait_for_counts(first, truth)
    asked = gauges_of(case.final_results())

    def is_shown() -> bool:
        shown = [without_wall_time(window_gauges(replica.scrape())) for replica in replicas]
        whole = {series: value for samples in shown for series, value in samples.items()}
        return whole == asked and sum(map(len, shown)) == len(asked)

    # Who lost a shard without being told shows it until it is no longer fresh.
    wait_for("each stream to be shown by one replica", is_shown, within_s=FRESH_S + 10)


def test_each_stream_is_shown_by_one_replica_whichever_is_killed(tmp_path: Path, bootstrap: str) -> None:
    case = make_case(tmp_path, bootstrap)
    traffic = HourlyTraffic(case)
    traffic.publish()
    with ExitStack() as running:
        replicas = {name: running.enter_context(case.serve(name)) for name in "abc"}

        def is_spread() -> bool:
            shards = sorted(replica.assigned_shards() for replica in replicas.values())
            partitions = sorted(replica.assigned_partitions() for replica in replicas.values())
            return (shards, partitions) == ([0, 1, 1], [1, 1, 1])

        wait_for("shards and partitions to be spread", is_spread)
        wait_until_shown(case, replicas.values(), traffic.truth)
        for replica in replicas.values():
            replica.wait_until_ready()

        for _ in range(2):
            (victim, *_) = (name for name, replica in replicas.items() if replica.assigned_shards() == 1)
            before = window_gauges(replicas[victim].scrape())
            replicas.pop(victim).kill()
            wait_for(
                "another to show its stream", lambda b=before: b.items() <= shown_by_any(replicas).items()
            )
            traffic.publish()
            wait_until_shown(case, replicas.values(), traffic.truth)
            replicas[victim] = running.enter_context(case.serve(victim))
            wait_for("shards and partitions to be spread again", is_spread)
            wait_until_shown(case, replicas.values(), traffic.truth)
        for replica in replicas.values():
            assert replica.chain_faults() == NO_CHAIN_FAULTS
    assert {record["revision"] for record in case.results()} == {0}
    assert case.dead_letters() == []


def shown_by_any(replicas: dict[str, ServiceProcess]) -> dict[object, float]:
    return {
        series: value
        for replica in replicas.values()
        for series, value in window_gauges(replica.scrape()).items()
    }


def test_a_replica_that_is_cut_off_shows_its_windows_no_longer(tmp_path: Path, bootstrap: str) -> None:
    case = make_case(tmp_path, bootstrap)
    traffic = HourlyTraffic(case)
    traffic.publish()
    with Relay(bootstrap) as relay, ExitStack() as running:
        through_relay = {"DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS": relay.bootstrap}
        near = running.enter_context(case.serve("near"))
        far = running.enter_context(case.serve("far", through_relay))
        for replica in (near, far):
            replica.wait_for("its shard to be held", lambda r=replica: r.assigned_shards() == 1)
        wait_until_shown(case, (near, far), traffic.truth)

        relay.cut()
        cut_s = time.monotonic()
        far.wait_for("what it shows to go", lambda: not window_gauges(far.scrape()))
        assert time.monotonic() - cut_s < FRESH_S + 5
        assert far.get("/livez")[0] == 200
        far.wait_for("it to be unready", lambda: far.get("/readyz")[0] == 503)
        traffic.publish()
        wait_until_shown(case, [near], traffic.truth)

        relay.mend()
        for replica in (near, far):
            replica.wait_for("its shard to be held", lambda r=replica: r.assigned_shards() == 1)
            replica.wait_until_ready()
        traffic.publish()
        wait_until_shown(case, (near, far), traffic.truth)
        assert shown_by((near, far))
    assert {record["revision"] for record in case.results()} == {0}
    assert case.dead_letters() == []
