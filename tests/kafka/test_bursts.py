"""Bursts of panes on WINDOWS without a broker: rounds that fit, slow brokers, and windows that wait.

Session and worker are the service's own. The group, the logs and the producer are simulated; a commit takes
as long as its bytes need, and fails if that is longer than its bound.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import MagicMock

import orjson
import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, TopicPartition
from confluent_kafka.admin import OffsetSpec

from driftgauge.core import commit_limit
from driftgauge.core.commit_limit import CommitLimit
from driftgauge.core.counting.interval import IntervalCounter, ShardDelta
from driftgauge.core.counting.partial import CommitId, PartitionProgress, shard_of
from driftgauge.core.partition import Partition
from driftgauge.core.windows import work_budget
from driftgauge.core.windows.shard import ShardState
from driftgauge.errors import TransactionAborted
from driftgauge.kafka.login import LoginWatch
from driftgauge.kafka.pulse import Pulse
from driftgauge.kafka.session import Session
from driftgauge.kafka.transaction import State
from driftgauge.kafka.window_worker import WindowWorker
from driftgauge.records.partials import encode_commit
from driftgauge.telemetry.roles import RoleTelemetry
from tests.builders.batches import build_batch
from tests.builders.clocks import MINUTE_MS, MONDAY_MS, ManualClock
from tests.builders.messages import FakeMessage
from tests.builders.specs import build_minute_spec
from tests.harness.running_service import build_settings
from tests.kafka.fakes import QuickAdmin
from tests.kafka.slow_admin import Answer

SPEC = build_minute_spec("images", idle_ms=10**9, incomplete_ms=10**9, give_up_ms=10**9)
SETTINGS = build_settings({"bootstrap.servers": "a:1", "group.id": "g"}, windows="w", letters="l", events="e")
PARTIALS, CHANGELOG = SETTINGS.partials_topic, SETTINGS.changelog_topic
SHARDS = SETTINGS.shards
LIMIT = 200_000
LEAST = LIMIT // 16
PER_COMMIT = 20  # panes of a commit of COUNT: a part of a shard's share


class Stopping(threading.Event):
    """An event whose waits are over at once."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


@dataclass
class Logs:
    """The logs of partials and changelogs, by topic and shard, and what was committed.

    Attributes:
        results: Of each published result the start of its window, its revision, and its number of events.
    """

    records: dict[Partition, list[tuple[int, bytes | None, bytes | None]]] = field(default_factory=dict)
    committed: dict[Partition, int] = field(default_factory=dict)
    results: list[tuple[str, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.records = {(topic, at): [] for topic in (PARTIALS, CHANGELOG) for at in range(SHARDS)}
        self._counter, self._number = IntervalCounter([SPEC]), 0
        self._ends = {0: 0, 1: 0}

    def count(self, minutes: range, partition: int, now_ms: int) -> None:
        """Append a commit of COUNT with an event of each minute, read from a partition of the source."""
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
            parts = encode_commit(commit, SHARDS, delta.panes, progress, 20_000, written_ms=now_ms)
            self.records[PARTIALS, shard] += [(now_ms, None, part) for part in parts]
        self._number += 1

    @property
    def lag(self) -> int:
        return sum(
            len(log) - self.committed.get(at, 0) for at, log in self.records.items() if at[0] == PARTIALS
        )


class SimulatedConsumer:
    """Reads logs from assigned positions; `poll_s` passes with each call that finds nothing."""

    def __init__(self, logs: Logs, clock: ManualClock, at_end: Callable[[], None] | None = None) -> None:
        self._logs, self._clock, self._at_end = logs, clock, at_end
        self._positions: dict[Partition, int] = {}
        self._ended: set[Partition] = set()
        self._on_revoke: Callable[[Any, list[TopicPartition]], None] = lambda *_: None

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        self._on_revoke = callbacks["on_revoke"]
        callbacks["on_assign"](self, [TopicPartition(PARTIALS, shard) for shard in range(SHARDS)])

    def revoke(self, shard: int) -> None:
        """Let the group give a shard to another member; only while the consumer is asked for messages."""
        self._on_revoke(self, [TopicPartition(PARTIALS, shard)])

    def unsubscribe(self) -> None:
        pass

    def consume(self, number: int, timeout_s: float) -> list[FakeMessage]:
        found: list[FakeMessage] = []
        for at, position in self._positions.items():
            log = self._logs.records[at]
            new = log[position : position + number - len(found)]
            for offset, (append_ms, key, value) in enumerate(new, position):
                found.append(
                    FakeMessage(
                        value, topic=at[0], partition=at[1], offset=offset, key=key, stamp=(2, append_ms)
                    )
                )
            self._positions[at] = position + len(new)
            if len(new) or at in self._ended or len(found) == number:
                continue
            self._ended.add(at)
            error = KafkaError(KafkaError._PARTITION_EOF)
            found.append(FakeMessage(topic=at[0], partition=at[1], offset=len(log), error=error))
        if not found and self._at_end is not None:
            self._clock.advance(0.1)
            self._at_end()
        return found

    def incremental_assign(self, partitions: Sequence[TopicPartition]) -> None:
        for each in partitions:
            at = each.topic, each.partition
            assert at not in self._positions, "a partition is assigned twice"
            self._positions[at] = max(each.offset, 0)
            self._ended.discard(at)

    def incremental_unassign(self, partitions: Sequence[TopicPartition]) -> None:
        for each in partitions:
            del self._positions[each.topic, each.partition]

    def committed(self, asked: Sequence[TopicPartition], *, timeout: float) -> list[TopicPartition]:
        return [
            TopicPartition(
                at.topic, at.partition, self._logs.committed.get((at.topic, at.partition), OFFSET_INVALID)
            )
            for at in asked
        ]

    def memberid(self) -> str:
        return "member"


class LogAdmin(QuickAdmin):
    """Answers with the ends of the logs."""

    def __init__(self, logs: Logs) -> None:
        super().__init__()
        self._logs = logs

    def list_offsets(self, asked: Any, **named: object) -> Any:
        answers: dict[TopicPartition, Future[Answer]] = {at: Future() for at in asked}
        for at, spec in asked.items():
            end = len(self._logs.records[at.topic, at.partition])
            answers[at].set_result(Answer(0 if spec is OffsetSpec.earliest() else end))
        return answers


class SlowTransaction:
    """A transaction whose commits take a time by their bytes, and abort if they take longer than they may.

    Attributes:
        took_s: What each took, or would have taken.
        sizes: The bytes of each.
    """

    producer, epoch, append = "p", 0, None

    def __init__(self, logs: Logs, clock: ManualClock, bytes_a_second: float) -> None:
        self._logs, self._clock, self.bytes_a_second = logs, clock, bytes_a_second
        self.state = State.CLOSED
        self.sizes: list[int] = []
        self.took_s: list[float] = []
        self.aborts = 0

    def bind(self, consumer: object) -> None:
        pass

    def begin(self, bound_s: float) -> None:
        self._sent: list[tuple[str, int, bytes | None, bytes | None]] = []
        self.state = State.OPEN

    def produce(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: object = None
    ) -> bool:
        self._sent.append((topic, partition, key, value))
        return True

    def abort(self, bound_s: float) -> None:
        self.state = State.CLOSED

    def commit(self, offsets: Sequence[TopicPartition], bound_s: float) -> None:
        self.state = State.CLOSED
        size = sum(len(key or b"") + len(value or b"") for _, _, key, value in self._sent)
        self.sizes.append(size)
        self.took_s.append(size / self.bytes_a_second)
        self._clock.advance(min(self.took_s[-1], bound_s))
        if self.took_s[-1] > bound_s:
            self.aborts += 1
            raise TransactionAborted("not in time", is_slow=True)
        for topic, shard, key, value in self._sent:
            if topic == CHANGELOG:
                self._logs.records[CHANGELOG, shard].append((self._clock.wall_ms, key, value))
            else:
                record = orjson.loads(value or b"")
                self._logs.results.append((record["start"], record["revision"], record["count"]))
        self._logs.committed |= {(each.topic, each.partition): each.offset for each in offsets}


def sound() -> Future[None]:
    """Answer that the settings of the changelog are sound."""
    answer: Future[None] = Future()
    answer.set_result(None)
    return answer


class Burst:
    """A replica of WINDOWS over logs that hold a burst."""

    def __init__(self, bytes_a_second: float = 10**6) -> None:
        self.clock, self.logs, self.stopping = ManualClock(), Logs(), Stopping()
        self.transaction = SlowTransaction(self.logs, self.clock, bytes_a_second)
        self.telemetry, self.limit = MagicMock(spec=RoleTelemetry), CommitLimit()
        self.panes: list[int] = []  # in memory after each commit
        self.telemetry.show.side_effect = self._keep_panes
        self.chain_errors: list[str] = []
        self.telemetry.closed.side_effect = lambda _, round_: self.chain_errors.extend(round_.chain_errors)

    def publish(self, minutes: int, *, held: bool) -> None:
        """Let COUNT commit an event a minute of partition 0; partition 1 stands at the first, or follows."""
        self.logs.count(range(1), 1, self.clock.wall_ms)
        for first in range(0, minutes, PER_COMMIT):
            part = range(first, min(first + PER_COMMIT, minutes))
            self.logs.count(part, 0, self.clock.wall_ms)
            if not held:
                self.logs.count(range(part.stop - 1, part.stop), 1, self.clock.wall_ms)

    def release(self, minutes: int) -> None:
        self.logs.count(range(minutes - 1, minutes), 1, self.clock.wall_ms)

    def run(self, until: Callable[[], bool], within_s: float = 600.0) -> None:
        """Run sessions of the service, one after another, until a condition holds."""
        ends_s = self.clock.monotonic_s + within_s

        def stop_if_done() -> None:
            assert self.clock.monotonic_s < ends_s, "the burst is not worked off in time"
            if until():
                self.stopping.set()

        consumer = SimulatedConsumer(self.logs, self.clock, stop_if_done)
        worker = WindowWorker(
            SETTINGS,
            [SPEC],
            {},
            consumer=consumer,
            changelog=SimulatedConsumer(self.logs, self.clock),
            admin=LogAdmin(self.logs),
            transaction=self.transaction,
            telemetry=self.telemetry,
            clock=self.clock.clock,
            limit=self.limit,
            check_settings=sound,
        )
        self.stopping.clear()
        self.worker, self.consumer = worker, consumer
        Session(
            [PARTIALS],
            worker,
            consumer=consumer,
            transaction=self.transaction,
            login=MagicMock(LoginWatch, needs_new_clients=lambda: False),
            pulse=MagicMock(Pulse),
            telemetry=self.telemetry,
            clock=self.clock.clock,
        ).run(self.stopping)

    def _keep_panes(self, shard: int, state: ShardState) -> None:
        self.panes.append(sum(len(stream.panes) for stream in state.streams.values()))


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Let hundreds of panes be a burst."""
    monkeypatch.setattr(commit_limit, "MAX_COMMIT_BYTES", LIMIT)
    monkeypatch.setattr(commit_limit, "_LEAST_BYTES", LEAST)


def test_burst_behind_held_watermark_is_committed_in_rounds_that_fit():
    burst = Burst()
    burst.publish(300, held=True)
    burst.run(lambda: burst.logs.lag == 0)
    assert burst.logs.results == []
    burst.release(300)
    burst.run(lambda: len(burst.logs.results) == 299)
    assert max(burst.transaction.sizes) < LIMIT
    assert burst.transaction.aborts == 0
    check(burst, 299)


@pytest.mark.parametrize(
    ("held", "bytes_a_second"),
    # The commit of a burst of panes, or of windows that close, takes some 20 s, and half of it fits.
    [pytest.param(True, LIMIT / 270, id="applied"), pytest.param(False, LIMIT / 80, id="closed")],
)
def test_rounds_shrink_until_slow_brokers_take_them_and_grow_again(held, bytes_a_second):
    burst = Burst(bytes_a_second)
    burst.publish(200, held=held)
    burst.run(lambda: burst.logs.lag == 0, within_s=3_600)
    assert 1 <= burst.transaction.aborts <= 3
    assert LEAST <= burst.limit.bytes < LIMIT
    burst.transaction.bytes_a_second = LIMIT / 80
    burst.release(200)
    burst.run(lambda: len(burst.logs.results) == 199, within_s=3_600)
    assert burst.transaction.aborts <= 4
    check(burst, 199)
    burst.transaction.bytes_a_second = 10**6

    def is_full_size():
        burst.logs.count(range(200, 201), 0, burst.clock.wall_ms)
        return burst.limit.bytes == LIMIT

    burst.run(is_full_size)


def test_due_windows_are_closed_before_more_partials_are_read(monkeypatch):
    burst = Burst()
    work = work_budget.window_work(SPEC.baselines[0].reference, ())
    monkeypatch.setattr(work_budget, "_MAX_WORK", 10 * work)
    burst.publish(300, held=False)
    burst.run(lambda: len(burst.logs.results) == 299)
    # One commit of COUNT, what it brought to the one before, and the newest pane.
    assert max(burst.panes) <= 3 * PER_COMMIT
    check(burst, 299)


def test_shard_is_read_on_after_handing_over_another_one_closed_its_last_due_windows(monkeypatch):
    burst = Burst()
    work = work_budget.window_work(SPEC.baselines[0].reference, ())
    monkeypatch.setattr(work_budget, "_MAX_WORK", 10 * work)
    burst.publish(20, held=False)
    other = 1 - shard_of(SPEC.name, SHARDS)

    def is_handed_over():
        # The second half is due, and waits for the next round.
        if len(burst.logs.results) == 10:
            burst.consumer.revoke(other)
            assert len(burst.logs.results) == 19
            burst.logs.count(range(20, 40), 0, burst.clock.wall_ms)
            burst.logs.count(range(39, 40), 1, burst.clock.wall_ms)
        return len(burst.logs.results) == 39

    burst.run(is_handed_over)
    check(burst, 39)


def check(burst, windows):
    """Check that each window was published once, and that all partials were applied."""
    assert burst.chain_errors == []
    starts = Counter(start for start, _, _ in burst.logs.results)
    assert (len(starts), set(starts.values())) == (windows, {1})
    # The first minute has an event of either partition, and so has each at which partition 1 went along.
    assert {count for _, _, count in burst.logs.results} <= {1, 2}
