"""Sessions: which failures end one, and what becomes of partitions and uncommitted work.

Clients and worker do as a script says. The simulation runs the same session over the service's own workers.
"""

from operator import attrgetter
from unittest.mock import MagicMock, Mock

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from driftgauge.engine.session import Session, Worker
from driftgauge.errors import (
    AuthorizationError,
    BrokerError,
    ClientLost,
    StateError,
    TransactionFailed,
)
from driftgauge.kafka.login import LoginWatch
from driftgauge.telemetry.roles import RoleTelemetry
from driftgauge.watchdog import Pulse
from tests.builders.clocks import ManualClock
from tests.builders.messages import TOPIC

PARTITIONS = [(TOPIC, 0), (TOPIC, 1)]
FIRST, SECOND = PARTITIONS[:1], PARTITIONS[1:]
POLL_S = 0.6
# The callbacks of a poll and their partitions.
CALLBACKS = {
    "quiet": [],
    "revoke": [("on_revoke", FIRST), ("on_assign", FIRST)],
    "lost": [("on_lost", FIRST), ("on_assign", FIRST)],
    "lost, revoke": [("on_lost", FIRST), ("on_revoke", SECOND), ("on_assign", PARTITIONS)],
    "all revoked": [("on_revoke", PARTITIONS)],
    "all lost": [("on_lost", PARTITIONS)],
    "lost, all revoked": [("on_lost", FIRST), ("on_revoke", SECOND)],
}
ABORTED = TransactionFailed("a topic takes none of the records", reason="MSG_SIZE_TOO_LARGE")
# What the producer does not survive.
NO_OFFSETS = TransactionFailed("send_offsets_to_transaction did not return")
UNKNOWN = TransactionFailed("commit_transaction did not return")
FENCED = TransactionFailed("fenced", is_fenced=True)
READER_LOST = ClientLost("the reader, outside of a transaction")


class Scripted:
    """A session whose polls and commits bring these callbacks and errors; each step commits.

    Attributes:
        polls: The polls to come; the session stops after the last one.
        commits: What the next commits raise, None if nothing.
    """

    def __init__(self, polls, commits=()):
        self.clock, self.polls, self.commits = ManualClock(), [*polls], [*commits]
        self.consumer = Mock(**{"consume.side_effect": self._poll, "subscribe.side_effect": self._subscribe})
        self.transaction = Mock(needs_producer=False, **{"start.side_effect": self._start})
        self.worker = Mock(spec=Worker, batch=10, is_full=False)
        self.worker.step.side_effect = self._commit
        self.worker.hand_over.side_effect = lambda _, bound_s: self._commit(bound_s)
        self.telemetry, self.login, self.pulse = (
            MagicMock(spec=RoleTelemetry),
            Mock(spec=LoginWatch),
            Mock(spec=Pulse),
        )
        self.login.needs_new_clients.return_value = False

    def run(self):
        clients = {"consumer": self.consumer, "transaction": self.transaction}
        watches = {"login": self.login, "pulse": self.pulse, "telemetry": self.telemetry}
        session = Session([TOPIC], self.worker, **clients, **watches, clock=self.clock.clock)
        for _ in session.steps(lambda: not self.polls):
            pass
        self._call("on_revoke", PARTITIONS)  # as the consumer does that is closed then

    def _subscribe(self, _, **callbacks):
        self._callbacks = callbacks
        self._call("on_assign", PARTITIONS)

    def _call(self, name, partitions):
        self._callbacks[name](self.consumer, [TopicPartition(*each) for each in partitions])

    def _poll(self, *_):
        self.clock.advance(POLL_S)
        poll = self.polls.pop(0)
        if isinstance(poll, Exception):
            raise poll
        for name, partitions in CALLBACKS[poll]:
            self._call(name, partitions)
        return []

    def _commit(self, _):
        failure = self.commits.pop(0) if self.commits else None
        if failure in (NO_OFFSETS, UNKNOWN, FENCED):
            self.transaction.needs_producer = True
        if failure is not None:
            raise failure
        return True

    def _start(self, _):
        self.transaction.needs_producer = False


@pytest.mark.parametrize("watch", ["login.require_accepted", "pulse.require_joined"])
def test_client_without_effect_ends_session_without_partitions_alone(watch):
    scripted = Scripted(["quiet", "all revoked", "quiet"])
    attrgetter(watch)(scripted).side_effect = BrokerError("refused")
    with pytest.raises(BrokerError, match="refused"):
        scripted.run()
    assert scripted.polls == ["quiet"]


@pytest.mark.parametrize(
    ("polls", "commits", "raised"),
    [
        # In the work that is due, in a hand-over, and in the last one.
        *(
            (polls, [*before, error], type(error))
            for polls, before in ((["quiet"] * 5, []), (["revoke", "quiet"], []), (["quiet"], [None]))
            for error in (READER_LOST, StateError("odd"), AuthorizationError("no"))
        ),
        (["quiet"] * 5, [FENCED], TransactionFailed),
        (["quiet", KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))], [None], ClientLost),
        (
            ["quiet", KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))],
            [None],
            AuthorizationError,
        ),
        (["quiet", KeyError("a fault of ours")], [None], KeyError),
    ],
)
def test_other_failure_ends_session_without_a_commit(polls, commits, raised):
    scripted = Scripted(polls, [*commits, "a commit after it"])
    with pytest.raises(raised):
        scripted.run()
    assert scripted.commits == ["a commit after it"]
    assert scripted.worker.drop.called
    assert scripted.transaction.abort.called


def test_failed_abort_of_lost_partitions_ends_session():
    scripted = Scripted(["lost", "quiet"])
    scripted.transaction.abort.side_effect = ClientLost("no answer")
    with pytest.raises(ClientLost, match="could not be dropped"):
        scripted.run()


@pytest.mark.parametrize("polls", [["quiet"], ["quiet", "revoke"]])
@pytest.mark.parametrize("failure", [ABORTED, NO_OFFSETS, UNKNOWN])
def test_five_failures_in_a_row_end_session(failure, polls):
    for commits in ([failure] * 5, [*[failure] * 4, None, *[failure] * 5]):
        scripted = Scripted(polls * 20, commits)
        with pytest.raises(ClientLost, match="5 transactions in a row failed, the last because ") as lost:
            scripted.run()
        assert lost.value.reason == failure.reason
        assert scripted.commits == []
        assert scripted.worker.begin_again.call_count >= len(commits) - commits.count(None)


def test_producer_that_is_not_replaced_for_a_minute_ends_session():
    scripted = Scripted(["quiet"] * 1_000, [UNKNOWN])
    scripted.transaction.start.side_effect = TransactionFailed("no answer")
    with pytest.raises(TransactionFailed, match="no answer"):
        scripted.run()
    assert 60 < POLL_S * (1_000 - len(scripted.polls)) < 70
    assert scripted.worker.step.call_count == 1, "without a producer nothing is committed"
    scripted.telemetry.set_ready.assert_called_with(is_ready=False, why="no answer")


@pytest.mark.parametrize(
    ("poll", "commits", "handed_over", "bound"),
    [
        ("revoke", [], [FIRST, PARTITIONS], 1),
        ("all revoked", [], [PARTITIONS], 1),
        # A new producer takes longer than the group waits.
        ("all revoked", [UNKNOWN], [], 1),
        ("all lost", [], [], 1),
        # What was lost is in the uncommitted counts.
        ("lost, all revoked", [], [], 1),
        ("lost, revoke", [], [PARTITIONS], 2),
    ],
)
def test_partitions_are_handed_over_once_and_never_after_a_loss(poll, commits, handed_over, bound):
    scripted = Scripted(["quiet", poll, *["quiet"] * 4], commits)
    scripted.run()
    assert [each.args[0] for each in scripted.worker.hand_over.call_args_list] == handed_over
    assert all(each.args[1] < 5 for each in scripted.worker.hand_over.call_args_list), "the group waits"
    assert scripted.worker.begin_again.called == (bool(commits) or "lost" in poll)
    # Commits are those of the member that was given the first partitions.
    assert scripted.transaction.bind.call_count == bound
    assert scripted.telemetry.settled.called == bool(commits), "also without partitions"
