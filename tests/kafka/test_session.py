"""Sessions of COUNT: every polled record is processed once, whatever fails; and which failures end a session.

Session and worker are the service's own; the group's coordinator, the log and the producer are simulated.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing, suppress
from operator import attrgetter
from typing import Any
from unittest.mock import MagicMock, Mock

import orjson
import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftgauge.core.counting.partial import CommitId, Part
from driftgauge.core.partition import Partition
from driftgauge.errors import (
    AuthorizationError,
    BrokerError,
    ClientLost,
    StateError,
    TransactionAborted,
)
from driftgauge.events.decoder import Decoded
from driftgauge.events.records import Records
from driftgauge.kafka.dead_letters import DeadLetters
from driftgauge.kafka.login import LoginWatch
from driftgauge.kafka.pulse import Pulse
from driftgauge.kafka.session import Session
from driftgauge.kafka.transaction import Headers, State
from driftgauge.records.partials import decode_part
from driftgauge.telemetry.roles import RoleTelemetry
from tests.builders.clocks import ManualClock
from tests.builders.messages import TOPIC, FakeMessage
from tests.builders.references import CLUSTERS
from tests.examples import examples
from tests.harness.running_service import DECODER, STREAM
from tests.kafka.fakes import QuickAdmin, build_count_worker

LETTERS = "letters"
Place = tuple[Partition, int]
PARTITIONS: list[Partition] = [(TOPIC, 0), (TOPIC, 1)]
EVENT = orjson.dumps(
    {"stream": STREAM, "timestamp": "2025-11-03T00:00:00Z", "embedding": [1.0, *[0.0] * (CLUSTERS - 1)]}
)
RECORDS = 24
POLLED = 2
# Enough polls without a failure to read all records after the longest series of failures.
QUIET_POLLS = 80
POLL_S = 0.6
# The callbacks of a poll and their partitions.
CALLBACKS: dict[str, list[tuple[str, list[Partition]]]] = {
    "revoke": [("revoke", PARTITIONS[:1]), ("assign", PARTITIONS[:1])],
    "lost": [("lost", PARTITIONS[:1]), ("assign", PARTITIONS[:1])],
    "lost, revoke": [("lost", PARTITIONS[:1]), ("revoke", PARTITIONS[1:]), ("assign", PARTITIONS)],
    "all revoked": [("revoke", PARTITIONS)],
    "all lost": [("lost", PARTITIONS)],
    "lost, all revoked": [("lost", PARTITIONS[:1]), ("revoke", PARTITIONS[1:])],
}


class Stopping(threading.Event):
    """An event whose waits are over at once."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


class Log:
    """A topic of two partitions, the group's committed offsets, and the records committed with them."""

    def __init__(self) -> None:
        self.committed: dict[Partition, int] = {}
        self.parts: list[bytes] = []
        self.letters: list[Place] = []

    def check(self) -> None:
        """Check that the commits cover the log without gap or overlap, and count or refuse each record."""
        commits: dict[CommitId, list[Part]] = {}
        for value in self.parts:
            part = decode_part(value)
            commits.setdefault(part.commit, []).append(part)
        reached, counted = dict.fromkeys(PARTITIONS, 0), 0
        for parts in commits.values():
            counted += sum(pane.events for part in parts for pane in part.panes)
            progress = {each.partition: each for part in parts for each in part.partitions}
            for partition, each in progress.items():
                assert (each.start, each.skipped, each.lost) == (reached[partition], 0, 0)
                reached[partition] = each.end
            covered = sum(reached.values())
            assert counted + len({place for place in self.letters if place[1] < reached[place[0]]}) == covered
        assert reached == dict.fromkeys(PARTITIONS, RECORDS)


class SimulatedConsumer:
    """A member of the group that reads from its positions; polls run the callbacks that are due, or fail."""

    def __init__(
        self, log: Log, clock: ManualClock, stopping: threading.Event, events: list[str | Exception]
    ) -> None:
        self._log, self._clock, self._stopping, self._events = log, clock, stopping, events
        self._positions: dict[Partition, int] = {}
        self._callbacks: dict[str, Callable[[Any, list[TopicPartition]], None]] = {}

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        self._callbacks = {name.removeprefix("on_"): callback for name, callback in callbacks.items()}
        self._call("assign", PARTITIONS)

    def consume(self, number: int, timeout_s: float) -> list[FakeMessage]:
        if not self._events:
            self._stopping.set()
            return []
        event = self._events.pop(0)
        if isinstance(event, Exception):
            raise event
        # After a quick poll no commit is due.
        self._clock.advance(0.0 if event == "quick" else POLL_S)
        # The client may have taken messages from its queue before it runs a callback in the same call.
        messages = self._pop()
        for name, partitions in CALLBACKS.get(event, ()):
            self._call(name, partitions)
        return messages

    def incremental_assign(self, partitions: Sequence[TopicPartition]) -> None:
        for each in partitions:
            assert each.offset >= 0
            self._positions[each.topic, each.partition] = each.offset

    def incremental_unassign(self, partitions: Sequence[TopicPartition]) -> None:
        for each in partitions:
            del self._positions[each.topic, each.partition]

    def seek(self, partition: TopicPartition) -> None:
        self._positions[partition.topic, partition.partition] = partition.offset

    def committed(self, asked: Sequence[TopicPartition], *, timeout: float) -> list[TopicPartition]:
        return [
            TopicPartition(
                at.topic, at.partition, self._log.committed.get((at.topic, at.partition), OFFSET_INVALID)
            )
            for at in asked
        ]

    def get_watermark_offsets(self, partition: TopicPartition, *, cached: bool) -> tuple[int, int]:
        return 0, RECORDS

    def memberid(self) -> str:
        return "member"

    def unsubscribe(self) -> None:
        assert not self._positions, "partitions are handed over first"

    def close(self) -> None:
        self._call("revoke", PARTITIONS)
        assert not self._positions, "a partition is read that is not assigned any more"

    def _call(self, name: str, partitions: Iterable[Partition]) -> None:
        self._callbacks[name](self, [TopicPartition(*partition) for partition in partitions])

    def _pop(self) -> list[FakeMessage]:
        messages = []
        for (topic, index), position in self._positions.items():
            end = min(position + POLLED, RECORDS)
            messages += [
                Message(EVENT, topic=topic, partition=index, offset=offset) for offset in range(position, end)
            ]
            if end == RECORDS:
                error = KafkaError(KafkaError._PARTITION_EOF)
                messages.append(Message(topic=topic, partition=index, offset=end, error=error))
            self._positions[topic, index] = end
        return messages


class Message(FakeMessage):
    def leader_epoch(self) -> int:
        return 3


class SimulatedTransaction:
    """A transaction whose commits and whose new producers fail as the script says, one word or error each."""

    producer = "p"
    append = None

    def __init__(self, log: Log) -> None:
        self._log = log
        self._sent: list[tuple[str, bytes, Headers]] = []
        self._in_doubt: Callable[[], None] | None = None
        self.state = State.CLOSED
        self.epoch = 0
        self.failures: list[str | Exception] = []
        self.failed_starts: list[int] = []
        self._starts_to_fail = 0
        self.bounds_s: list[float] = []
        self.bound_members = 0

    def bind(self, consumer: object) -> None:
        self.bound_members += 1

    def start(self, bound_s: float) -> None:
        self.state = State.LOST
        if self._starts_to_fail:
            self._starts_to_fail -= 1
            raise ClientLost("init_transactions was not answered within 5 s")
        if self._in_doubt is not None:
            self._in_doubt()
        self._in_doubt = None
        self.epoch += 1
        self.state = State.CLOSED

    def begin(self, bound_s: float) -> None:
        if self.state is State.LOST:
            self.start(bound_s)
        self._sent, self.state = [], State.OPEN

    def produce(
        self, topic: str, partition: int, key: object, value: bytes, headers: Headers | None = None
    ) -> bool:
        self._sent.append((topic, value, headers or []))
        return True

    def commit(self, offsets: Sequence[TopicPartition], bound_s: float) -> None:
        sent = self._sent
        self.bounds_s.append(bound_s)

        def take_effect() -> None:
            self._log.parts += [value for topic, value, _ in sent if topic != LETTERS]
            self._log.letters += [place_of(dict(headers)) for topic, _, headers in sent if topic == LETTERS]
            self._log.committed |= {(each.topic, each.partition): each.offset for each in offsets}

        failure = self.failures.pop(0) if self.failures else "none"
        self.state = State.CLOSED
        if isinstance(failure, Exception):
            self.state = State.LOST if getattr(failure, "is_fenced", False) else State.CLOSED
            raise failure
        if failure == "abort":
            raise TransactionAborted("a partition is not writable")
        if failure == "none":
            take_effect()
            return
        # The producer is lost: a new one settles the transaction.
        self.state = State.LOST
        self._starts_to_fail = self.failed_starts.pop(0) if self.failed_starts else 0
        if failure == "no offsets":
            raise TransactionAborted("send_offsets_to_transaction did not return")
        self._in_doubt = take_effect if failure == "unknown, committed" else None
        raise ClientLost("commit_transaction did not return")

    def abort(self, bound_s: float) -> None:
        if self.state is State.OPEN:
            self.state = State.CLOSED


def place_of(headers: dict[str, Any]) -> Place:
    """Return the partition and offset of the record that a dead letter holds."""
    partition, offset = (int(headers[f"driftgauge.{name}"]) for name in ("partition", "offset"))
    return (TOPIC, partition), offset


class FailingDecoder:
    """The service's decoder, which fails on the records at some places."""

    def __init__(self, fails_at: Collection[Place]) -> None:
        self._fails_at = set(fails_at)

    def decode(self, records: Records) -> Decoded:
        for record in records.raw:
            if ((record.topic(), record.partition()), record.offset()) in self._fails_at:
                raise RecursionError("a fault of a library")
        return DECODER.decode(records)


class Simulation:
    """The simulated clients of sessions that run one after another.

    Attributes:
        events: What the next polls bring; after the last one the session is stopped.
        telemetry: That of every session.
        login, pulse: Those of every session.
    """

    def __init__(
        self,
        events: Sequence[str | Exception],
        failures: Sequence[str | Exception] = (),
        failed_starts: Sequence[int] = (),
        fails_at: Collection[Place] = (),
    ) -> None:
        self.log, self.clock, self.stopping, self.events = Log(), ManualClock(), Stopping(), [*events]
        self.telemetry = MagicMock(spec=RoleTelemetry)
        self.login = Mock(spec=LoginWatch)
        self.login.needs_new_clients.return_value = False
        self.pulse = Mock(spec=Pulse)
        self.transaction = SimulatedTransaction(self.log)
        self.transaction.failures, self.transaction.failed_starts = [*failures], [*failed_starts]
        self._decoder = FailingDecoder(fails_at)

    def run_session(self) -> None:
        """Run the service's session and worker of COUNT over these clients."""
        consumer = SimulatedConsumer(self.log, self.clock, self.stopping, self.events)
        # As the service does: what is in doubt is settled before the offsets are asked for.
        self.transaction.start(POLL_S)
        worker = build_count_worker(
            self._decoder,
            self.clock.clock,
            consumer=consumer,
            admin=QuickAdmin(0, RECORDS),
            transaction=self.transaction,
            letters=DeadLetters(self.transaction, LETTERS, 10**6),
            telemetry=self.telemetry,
        )
        session = Session(
            [TOPIC],
            worker,
            consumer=consumer,
            transaction=self.transaction,
            login=self.login,
            pulse=self.pulse,
            telemetry=self.telemetry,
            clock=self.clock.clock,
        )
        with closing(consumer):
            session.run(self.stopping)


def run(
    polls: Sequence[str],
    failures: Sequence[str],
    failed_starts: Sequence[int],
    fails_at: Collection[Place] = (),
) -> Log:
    """Run sessions over these polls and quiet ones, one after another as the service does; check commits."""
    simulation = Simulation([*polls, *["quiet"] * QUIET_POLLS], failures, failed_starts, fails_at)
    while not simulation.stopping.is_set():
        with suppress(ClientLost):
            simulation.run_session()
    simulation.log.check()
    return simulation.log


@settings(max_examples=examples(60), deadline=None)
@given(
    polls=st.lists(st.sampled_from(["quiet", "quick", "revoke", "lost", "lost, revoke"]), max_size=12),
    failures=st.lists(
        st.sampled_from(["none", "none", "abort", "no offsets", "unknown, committed", "unknown, aborted"]),
        max_size=8,
    ),
    failed_starts=st.lists(st.integers(0, 4), max_size=4),
)
@example(polls=[], failures=["none", "no offsets"], failed_starts=[3])
@example(polls=["quiet", "quiet", "quick", "quick", "lost"], failures=[], failed_starts=[])
@example(polls=["quiet", "quiet", "quick", "quick", "lost, revoke"], failures=[], failed_starts=[])
@example(polls=["quiet"] * 4 + ["lost"], failures=["none", "no offsets"], failed_starts=[4])
def test_every_record_is_counted_once_whatever_fails(polls, failures, failed_starts):
    run(polls, failures, failed_starts)


@pytest.mark.parametrize("watch", ["login.require_accepted", "pulse.require_joined"])
def test_client_without_effect_ends_session_without_partitions_alone(watch):
    simulation = Simulation(["quiet", "all revoked", "quiet"])
    attrgetter(watch)(simulation).side_effect = BrokerError("refused")
    with pytest.raises(BrokerError, match="refused"):
        simulation.run_session()
    assert simulation.events == ["quiet"]


def test_session_that_needs_new_clients_ends_and_the_next_goes_on():
    simulation = Simulation(["quiet"] * QUIET_POLLS)
    simulation.login.needs_new_clients.side_effect = [*[False] * 9, True]
    simulation.run_session()
    assert not simulation.stopping.is_set()
    simulation.login.needs_new_clients.side_effect = None
    simulation.run_session()
    simulation.log.check()


@pytest.mark.parametrize("failures", [[], ["none", "abort"], ["none", "no offsets", "unknown, aborted"]])
@pytest.mark.parametrize(
    "fails_at", [{((TOPIC, 0), 0)}, {((TOPIC, 0), 3), ((TOPIC, 1), 3)}, {((TOPIC, 1), RECORDS - 1)}]
)
def test_record_on_which_the_code_fails_is_refused_once_and_the_others_counted(fails_at, failures):
    assert sorted(run([], failures, [], fails_at).letters) == sorted(fails_at)


@pytest.mark.parametrize("partitions", [PARTITIONS[:1], PARTITIONS])
def test_code_that_fails_on_every_record_refuses_each_once_and_goes_on(partitions):
    fails_at = [(partition, offset) for partition in partitions for offset in range(RECORDS)]
    assert sorted(run([], ["none", "abort"], [], fails_at).letters) == fails_at


def kafka_error(code: int) -> KafkaException:
    return KafkaException(KafkaError(code))


READER_LOST = ClientLost("the reader, outside of a transaction")
FENCED = ClientLost("fenced", is_fenced=True)
# The first commit is due at the second poll.
WORKING = ["quiet", "quick", "quick"]


@pytest.mark.parametrize(
    ("polls", "failures", "raised"),
    [
        # In the work that is due, in a hand-over, and in the last one.
        *(
            (polls, [*before, error], type(error))
            for polls, before in (
                (["quiet"] * 5, []),
                ([*WORKING, "revoke", "quick"], ["none"]),
                (WORKING, ["none"]),
            )
            for error in (READER_LOST, StateError("odd"), AuthorizationError("no"))
        ),
        (["quiet"] * 5, [FENCED], ClientLost),
        ([*WORKING, kafka_error(KafkaError._ALL_BROKERS_DOWN)], ["none"], ClientLost),
        ([*WORKING, kafka_error(KafkaError.GROUP_AUTHORIZATION_FAILED)], ["none"], AuthorizationError),
        ([*WORKING, KeyError("a fault of ours")], ["none"], KeyError),
    ],
)
def test_other_failure_ends_session_without_a_commit(
    polls: Sequence[str | Exception], failures: Sequence[str | Exception], raised: type[Exception]
) -> None:
    simulation = Simulation(polls, [*failures, "a commit after it"])
    with pytest.raises(raised):
        simulation.run_session()
    assert simulation.transaction.failures == ["a commit after it"]


def test_failed_abort_of_lost_partitions_ends_session() -> None:
    simulation = Simulation([*WORKING, "lost", "quick"])
    simulation.transaction.abort = Mock(side_effect=ClientLost("no answer"))
    with pytest.raises(ClientLost, match="could not be dropped"):
        simulation.run_session()


@pytest.mark.parametrize("polls", [["quiet"], ["quiet", "revoke"]])
@pytest.mark.parametrize("failure", ["abort", "no offsets", "unknown, aborted"])
def test_five_failures_in_a_row_end_session(failure: str, polls: Sequence[str]) -> None:
    for failures in ([failure] * 5, [*[failure] * 4, "none", *[failure] * 5]):
        simulation = Simulation(polls * QUIET_POLLS, failures)
        with pytest.raises(ClientLost, match="5 transactions in a row failed, the last because "):
            simulation.run_session()
        assert simulation.transaction.failures == []


def test_unknown_commit_unsettled_for_a_minute_ends_session() -> None:
    simulation = Simulation(["quiet"] * 1_000, ["unknown, aborted"], [1_000])
    with pytest.raises(ClientLost, match="init_transactions was not answered"):
        simulation.run_session()
    assert 60 < POLL_S * (1_000 - len(simulation.events)) < 70
    assert simulation.telemetry.aborted.call_count == 1


@pytest.mark.parametrize(
    ("event", "failures", "revoked"),
    [
        ("revoke", [], [PARTITIONS[:1], PARTITIONS, []]),
        ("all revoked", [], [PARTITIONS, [], []]),
        ("all revoked", ["unknown, aborted"], [PARTITIONS, [], []]),
        ("all lost", [], [[], []]),
        ("lost, all revoked", [], [PARTITIONS[1:], [], []]),
    ],
)
def test_partitions_are_released_once_and_commits_are_of_the_member_of_the_first(
    event: str, failures: Sequence[str], revoked: Sequence[Sequence[Partition]]
) -> None:
    simulation = Simulation([*WORKING, event, *["quiet"] * 4], failures, [2])
    simulation.run_session()
    assert [each.args[0] for each in simulation.telemetry.revoked.call_args_list] == revoked
    assert simulation.transaction.bound_members == 1
    assert simulation.telemetry.polled.call_count == 9


def test_session_without_partitions_is_ready_again_once_settled() -> None:
    simulation = Simulation([*WORKING, "all revoked", "quiet", "quiet"], ["none", "no offsets"], [1])
    simulation.run_session()
    assert simulation.transaction.bounds_s[-1] < 5, "the others of the group wait for a hand-over"
    lost, settled = (each.kwargs for each in simulation.telemetry.set_ready.call_args_list)
    assert lost == {"is_ready": False, "why": "send_offsets_to_transaction did not return"}
    assert settled == {"is_ready": True}
