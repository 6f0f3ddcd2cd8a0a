"""Bursts of panes on WINDOWS without a broker: rounds that fit, slow brokers, and windows that wait.

Session and worker are the service's own, over a simulated Kafka: a commit takes as long as its bytes need,
and fails if that is longer than its bound.
"""

from collections import Counter
from collections.abc import Callable
from random import Random
from unittest.mock import MagicMock

import orjson
import pytest

from driftgauge.core import commit_limit
from driftgauge.core.commit_limit import CommitLimit
from driftgauge.core.counting.interval import IntervalCounter, ShardDelta
from driftgauge.core.counting.partial import CommitId, PartitionProgress, shard_of
from driftgauge.core.windows import work_budget
from driftgauge.engine.session import Session
from driftgauge.engine.windows.window_worker import WindowWorker
from driftgauge.kafka.shared_admin import SharedAdmin
from driftgauge.records.partials import encode_commit
from driftgauge.telemetry.roles import RoleTelemetry
from tests.builders.batches import build_batch
from tests.builders.clocks import MINUTE_MS, MONDAY_MS
from tests.builders.specs import build_minute_spec
from tests.engine.parts import build_settings
from tests.simulation.kafka import (
    Sent,
    SimulatedAdmin,
    SimulatedConsumer,
    SimulatedKafka,
    SimulatedTransaction,
)
from tests.simulation.replicas import QUIET, sound

SPEC = build_minute_spec("images", idle_ms=10**9, incomplete_ms=10**9, give_up_ms=10**9)
SETTINGS = build_settings({"bootstrap.servers": "a:1", "group.id": "g"}, windows="w", letters="l", events="e")
PARTIALS, CHANGELOG = SETTINGS.partials_topic, SETTINGS.changelog_topic
SHARDS = SETTINGS.shards
LIMIT = 200_000
LEAST = LIMIT // 16
PER_COMMIT = 20  # panes of a commit of COUNT: a part of a shard's share


class Burst:
    """A replica of WINDOWS over logs that hold a burst.

    Attributes:
        results: Of each published result the start of its window, its revision, and its number of events.
    """

    def __init__(self, bytes_a_second: float = 10**6) -> None:
        self.kafka = SimulatedKafka(MONDAY_MS, Random(1))
        self.kafka.record_s, self.kafka.byte_s, self.kafka.on_end = 0.0, 1 / bytes_a_second, self._end
        for topic in (PARTIALS, CHANGELOG, "w"):
            self.kafka.create(topic, SHARDS)
        self.clock, self.group = self.kafka.clock(), SETTINGS.windows_group
        self.transaction = SimulatedTransaction(self.kafka, "p", self.group, self.clock)
        self.telemetry, self.limit = MagicMock(spec=RoleTelemetry), CommitLimit()
        self.results: list[tuple[str, int, int]] = []
        self.aborts = 0
        self.chain_errors: list[str] = []
        self.telemetry.closed.side_effect = lambda _, round_: self.chain_errors.extend(round_.chain_errors)
        self._counter, self._number, self._ends = IntervalCounter([SPEC]), 0, {0: 0, 1: 0}

    def count(self, minutes: range, partition: int) -> None:
        """Append a commit of COUNT with an event of each minute, read from a partition of the source."""
        now_ms = self.kafka.now_ms
        rows = [
            (partition, self._ends[partition] + row, MONDAY_MS + minute * MINUTE_MS, 0)
            for row, minute in enumerate(minutes)
        ]
        self._counter.count([build_batch(rows, SPEC.name)], now_ms)
        deltas = self._counter.take({0: ("e", 0), 1: ("e", 1)}, SHARDS)
        commit = CommitId("p", 1, self._number)
        starts = dict(self._ends)
        self._ends[partition] += len(rows)
        for shard in range(SHARDS):
            delta = deltas.get(shard, ShardDelta())
            progress = [
                PartitionProgress(
                    *("id", 2, self._number == 0, 0, now_ms, now_ms),
                    *(("e", at), starts[at], self._ends[at], 0, delta.times.get(at, {})),
                )
                for at in (0, 1)
            ]
            for part in encode_commit(commit, SHARDS, delta.panes, progress, 20_000, written_ms=now_ms):
                self.kafka.logs[PARTIALS, shard].append(now_ms, value=part)
        self._number += 1

    def publish(self, minutes: int, *, held: bool) -> None:
        """Let COUNT commit an event a minute of partition 0; partition 1 stands at the first, or follows."""
        self.count(range(1), 1)
        for first in range(0, minutes, PER_COMMIT):
            part = range(first, min(first + PER_COMMIT, minutes))
            self.count(part, 0)
            if not held:
                self.release(part.stop)

    def release(self, minutes: int) -> None:
        self.count(range(minutes - 1, minutes), 1)

    @property
    def lag(self) -> int:
        committed = self.kafka.group(self.group).committed
        ends = {at: log.end for at, log in self.kafka.logs.items() if at[0] == PARTIALS}
        return sum(end - (committed[at].offset if at in committed else 0) for at, end in ends.items())

    def run(self, until: Callable[[], bool], within_s: float = 600.0) -> None:
        """Run a session of the service until a condition holds."""
        ends_s = self.kafka.now_s + within_s
        consumer = SimulatedConsumer(self.kafka, self.group)
        worker = WindowWorker(
            SETTINGS,
            [SPEC],
            {},
            consumer=consumer,
            changelog=SimulatedConsumer(self.kafka),
            admin=SharedAdmin(lambda: SimulatedAdmin(self.kafka), self.clock),
            transaction=self.transaction,
            telemetry=self.telemetry,
            clock=self.clock,
            limit=self.limit,
            check_settings=sound,
        )
        parts = {"consumer": consumer, "transaction": self.transaction, "telemetry": self.telemetry}
        for pause_s in Session([PARTIALS], worker, **parts, **QUIET, clock=self.clock).steps(until):
            self.kafka.advance(pause_s)
            assert self.kafka.now_s < ends_s, "the burst is not worked off in time"
        consumer.close()

    def _end(self, sent: Sent) -> None:
        self.aborts += not sent.is_committed
        if sent.is_committed:
            records = [orjson.loads(each.value() or b"") for each in sent.records if each.topic() == "w"]
            self.results += [(each["start"], each["revision"], each["count"]) for each in records]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Let hundreds of panes be a burst."""
    monkeypatch.setattr(commit_limit, "MAX_COMMIT_BYTES", LIMIT)


@pytest.mark.parametrize(
    ("held", "bytes_a_second"),
    # The commit of a burst of panes, or of windows that close, takes some 20 s, and half of it fits.
    [pytest.param(True, LIMIT / 270, id="applied"), pytest.param(False, LIMIT / 80, id="closed")],
)
def test_rounds_shrink_until_slow_brokers_take_them_and_grow_again(held, bytes_a_second):
    burst = Burst(bytes_a_second)
    burst.publish(200, held=held)
    burst.run(lambda: burst.lag == 0, within_s=3_600)
    assert 1 <= burst.aborts <= 3
    assert LEAST <= burst.limit.bytes < LIMIT
    burst.kafka.byte_s = 80 / LIMIT
    burst.release(200)
    burst.run(lambda: len(burst.results) == 199, within_s=3_600)
    assert burst.aborts <= 4
    check(burst, 199)
    burst.kafka.byte_s = 1e-6

    def is_full_size():
        burst.count(range(200, 201), 0)
        return burst.limit.bytes == LIMIT

    burst.run(is_full_size)


def test_shard_is_read_on_after_handing_over_another_one_closed_its_last_due_windows(monkeypatch):
    burst = Burst()
    work = work_budget.window_work(SPEC.baselines[0].reference, ())
    monkeypatch.setattr(work_budget, "_MAX_WORK", 10 * work)
    burst.publish(20, held=False)
    own = shard_of(SPEC.name, SHARDS)

    def is_handed_over():
        # The second half is due, and waits for the next round; the paused shard does not read what follows.
        if len(burst.results) == 10 and len(burst.kafka.group(burst.group).members) == 1:
            join(burst, keeps=own)
            burst.count(range(20, 40), 0)
            burst.count(range(39, 40), 1)
        return len(burst.results) == 39

    burst.run(is_handed_over)
    check(burst, 39)


def join(burst, keeps):
    """Let another member join, which is to own the shards that the replica does not keep."""
    other = SimulatedConsumer(burst.kafka, burst.group)
    other.subscribe([PARTIALS], on_assign=lambda *_: None)
    other.consume(1, 0)
    group = burst.kafka.group(burst.group)
    members = [*group.members.values()]
    group.spread([members[shard != keeps] for shard in range(SHARDS)])


def check(burst, windows):
    """Check that each window was published once, and that all partials were applied."""
    assert burst.chain_errors == []
    starts = Counter(start for start, _, _ in burst.results)
    assert (len(starts), set(starts.values())) == (windows, {1})
    # The first minute has an event of either partition, and so has each at which partition 1 went along.
    assert {count for _, _, count in burst.results} <= {1, 2}
