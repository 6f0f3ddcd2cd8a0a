"""Several replicas of one group: each shows the whole streams, and any of them may go."""

import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from driftgauge.core.pipeline import choose_home
from driftgauge.core.state import FinalKey
from tests.integration.case import DIMENSION, HOUR_MS, MINUTE_MS, START_MS, Case, Event, WindowKey
from tests.integration.gauges import gauges_of, held_partitions, window_gauges, without_wall_time
from tests.integration.service import PATIENCE_S, Service, wait_for
from tests.integration.state import read_state
from tests.kafka.relay import Relay

pytestmark = pytest.mark.integration

PARTITIONS = 3
STREAMS = ("alpha", "beta")
HOURS = 3
"""So many are published at a time, and then the next is begun; it is what every larger window lasts."""
# From the start of the process, on a slow machine.
AGAIN_S = 15.0
FRESH_S = 15
"""So long may the table be unconfirmed; an answer on its way is believed for 5 s more."""
STALE_AFTER_S = (FRESH_S - 2, FRESH_S + 7)


class Traffic:
    """Hours of events on every partition, of which all but the last have ended."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._random = np.random.default_rng(40)
        self.end_ms = START_MS
        self.events: list[Event] = []

    def publish(self) -> None:
        start_ms, self.end_ms = self.end_ms, self.end_ms + HOURS * HOUR_MS
        times = [*range(start_ms, self.end_ms, 2 * MINUTE_MS), self.end_ms + 15 * MINUTE_MS]
        events = [
            Event(stream, time_ms, self._random.normal(size=DIMENSION).astype(np.float32), partition)
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
    return Case(
        folder,
        bootstrap,
        windows=("1h", f"{HOURS}h"),
        streams=STREAMS,
        partitions=PARTITIONS,
        stream_settings={"allowed_disorder": "10m", "allowed_lateness": "0s", "idle_timeout": "1h"},
    )


def wait_until_all_show(case: Case, replicas: Iterable[Service], truth: dict[WindowKey, int]) -> None:
    """Wait until each replica's gauges are what the results say; none may show nothing meanwhile."""
    first, *_ = replicas = list(replicas)
    case.wait_for_counts(first, truth)
    asked = gauges_of(case.final_results())

    def all_show() -> bool:
        shown = [window_gauges(replica.scrape()) for replica in replicas]
        return all(samples == shown[0] for samples in shown) and without_wall_time(shown[0]) == asked

    wait_for("every replica to show the newest results", all_show, within_s=15)


def last_final(case: Case) -> int | None:
    """The event time up to which the windows of every stream are final, ms."""
    finals = [value for (_, key), value in read_state(case).items() if isinstance(key, FinalKey)]
    return min(finals) if len(finals) == len(STREAMS) else None


def test_all_replicas_show_the_whole_streams_whichever_is_killed(tmp_path: Path, bootstrap: str) -> None:
    case = make_case(tmp_path, bootstrap)
    traffic = Traffic(case)
    traffic.publish()
    with ExitStack() as running:
        replicas = {name: running.enter_context(case.serve(name)) for name in "abcd"}

        def roles() -> dict[str, set[int]]:
            return {name: held_partitions(replica.scrape()) for name, replica in replicas.items()}

        def one_stands_by() -> bool:
            return sorted(map(len, roles().values())) == [0, 1, 1, 1]

        wait_for("one to stand by", one_stands_by)
        wait_until_all_show(case, replicas.values(), traffic.truth)
        assert all(replica.is_ready() for replica in replicas.values())

        _, home = choose_home("alpha", [(case.events_topic, index) for index in range(PARTITIONS)])
        other = (home + 1) % PARTITIONS
        for killed in ([{home}], [{other}, set()]):
            victims = [name for name, its in roles().items() if its in killed]
            for victim in victims:
                replicas.pop(victim).kill()
            traffic.publish()
            wait_until_all_show(case, replicas.values(), traffic.truth)
            # What is shown is past correction, so nothing brings it about a second time.
            wait_for("the windows to be final", lambda: last_final(case) == traffic.end_ms)

            current = window_gauges(next(iter(replicas.values())).scrape())
            again = {victim: running.enter_context(case.serve(victim)) for victim in victims}
            for replica in again.values():
                replica.wait_for(
                    "gauges", lambda r=replica: window_gauges(r.scrape()) != {}, within_s=AGAIN_S
                )
                assert window_gauges(replica.scrape()) == current
            replicas |= again
            wait_for("all but one to count again", one_stands_by)
    assert {record["revision"] for record in case.results()} == {0}
    assert case.dead_letters() == []


def test_a_replica_that_knows_the_state_no_longer_shows_no_windows(tmp_path: Path, bootstrap: str) -> None:
    case = make_case(tmp_path, bootstrap)
    traffic = Traffic(case)
    traffic.publish()
    with Relay(bootstrap) as relay, ExitStack() as running:
        through_relay = {"DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS": relay.bootstrap}
        near, asleep = (running.enter_context(case.serve(name)) for name in ("near", "asleep"))
        far = running.enter_context(case.serve("far", through_relay))
        for replica in (near, asleep, far):
            replica.wait_for("its partition to be held", lambda r=replica: r.held() == 1)
        wait_until_all_show(case, (near, asleep, far), traffic.truth)

        relay.cut()
        asleep.pause()
        cut_s = time.monotonic()
        traffic.publish()
        wait_until_all_show(case, [near], traffic.truth)
        current = window_gauges(near.scrape())

        far.wait_for("what it shows to go", lambda: not window_gauges(far.scrape()))
        assert STALE_AFTER_S[0] < time.monotonic() - cut_s < STALE_AFTER_S[1]
        assert far.get("/livez")[0] == 200
        status, body = far.get("/readyz")
        assert status == 503
        assert "table_fresh" in body

        near.wait_for("the other to be stale too", lambda: time.monotonic() > cut_s + FRESH_S + 1)
        asleep.resume()
        while (shown := window_gauges(asleep.scrape())) != current:
            assert shown == {}, "it shows windows that are no longer the newest"
            assert time.monotonic() < cut_s + PATIENCE_S
        relay.mend()
        while (shown := window_gauges(far.scrape())) != current:
            assert shown == {}, "it shows windows that are no longer the newest"
            assert time.monotonic() < cut_s + PATIENCE_S

        traffic.publish()
        for replica in (near, asleep, far):
            replica.wait_until_ready()
        wait_until_all_show(case, (near, asleep, far), traffic.truth)
    assert {record["revision"] for record in case.results()} == {0}
    assert case.dead_letters() == []
