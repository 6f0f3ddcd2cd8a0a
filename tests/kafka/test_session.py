"""The life of a session over stand-ins: what it does with what callbacks and commits meet."""

import threading
from unittest.mock import Mock

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from driftgauge.errors import AuthorizationError, ClientLost, StateError, TransactionAborted
from driftgauge.kafka.session import Closed, HandingOver, Joining, Session, Working
from driftgauge.kafka.transaction import State
from driftgauge.telemetry.roles import RoleTelemetry
from tests.kafka.parts import TOPIC, StandingClock

FIRST, SECOND = (TOPIC, 0), (TOPIC, 1)


class Group:
    """A consumer whose polls bring what a test has written down: a callback, then messages."""

    stopping: threading.Event

    def __init__(self, log):
        self.log = log
        self.polls = []
        self.closing = ()

    def subscribe(self, topics, *, on_assign, on_revoke, on_lost):
        self.topics = topics
        self.callbacks = {"assign": on_assign, "revoke": on_revoke, "lost": on_lost}

    def poll(self, messages=(), **callbacks):
        """Let the next poll bring these, after callbacks about these partitions."""
        self.polls.append((messages, callbacks))

    def consume(self, number, timeout_s):
        messages, callbacks = self.polls.pop(0) if self.polls else (None, {})
        for name, partitions in callbacks.items():
            for group in partitions if partitions and isinstance(partitions[0], list) else [partitions]:
                self.callbacks[name](self, [TopicPartition(*each) for each in group])
        if messages is None:
            self.stopping.set()
            return []
        return list(messages)

    def incremental_assign(self, partitions):
        assert partitions == []

    def incremental_unassign(self, partitions):
        assert partitions == []

    def close(self):
        self.log.append(("close",))
        self.callbacks["revoke"](self, [TopicPartition(*each) for each in self.closing])


class Worker:
    """Notes what it is told, and fails as it is told: an error for the next call of a name."""

    def __init__(self, log):
        self.log = log
        self.errors = {}
        self.commits = True

    def _note(self, name, *what):
        self.log.append((name, *what))
        errors = self.errors.get(name, [])
        if errors and (error := errors.pop(0)) is not None:
            raise error

    def assign(self, partitions):
        self._note("assign", *partitions)

    def process(self, messages):
        if messages:
            self._note("process", *messages)

    def step(self, bound_s):
        if self.errors.get("step"):
            self._note("step")
        return self.commits

    def hand_over(self, partitions, bound_s):
        self.bound_s = bound_s
        self._note("hand_over", *partitions)

    def drop(self, partitions):
        self._note("drop", *partitions)

    def rewind(self):
        self._note("rewind")

    def reset(self):
        self._note("reset")

    def handle_abort(self, error):
        self._note("handle_abort", error)


class Life:
    def __init__(self):
        self.log = []
        self.group, self.worker = Group(self.log), Worker(self.log)
        self.clock = StandingClock()
        self.transaction = Mock()
        self.transaction.abort.side_effect = lambda bound_s: self.log.append(("abort",))
        self.telemetry = Mock(spec=RoleTelemetry)
        self.stopping = self.group.stopping = threading.Event()
        self.session = Session(
            [TOPIC],
            self.worker,
            consumer=self.group,
            transaction=self.transaction,
            telemetry=self.telemetry,
            clock=self.clock.clock,
        )

    def run(self):
        assert self.session.state == Joining()
        self.session.run(self.stopping)
        assert self.session.state == Closed()
        return self.log


@pytest.fixture
def life():
    return Life()


@pytest.fixture
def worker(life):
    return life.worker


@pytest.fixture
def group(life):
    return life.group


def test_it_works_on_what_it_is_given_and_hands_it_over_at_the_end(life, group):
    group.poll(assign=[FIRST])
    group.poll("ab")
    group.poll("c", assign=[SECOND])
    group.closing = [FIRST, SECOND]
    assert life.run() == [
        ("assign", FIRST),
        ("process", "a", "b"),
        ("assign", SECOND),
        ("process", "c"),
        ("hand_over", FIRST, SECOND),
        ("close",),
    ]
    assert group.topics == [TOPIC]
    life.transaction.abort.assert_not_called()


def test_it_works_from_its_first_assignment_on_be_it_empty(life, group):
    states = []
    life.telemetry.polled.side_effect = lambda: states.append(life.session.state)
    group.poll()
    group.poll(assign=[])
    group.poll()
    life.run()
    assert states[:3] == [Joining(), Working(), Working()]


def test_a_hand_over_has_a_deadline(life, group, worker):
    states = []
    life.telemetry.revoked.side_effect = lambda _: states.append(life.session.state)
    group.poll(assign=[FIRST])
    group.poll(revoke=[FIRST])
    life.run()
    assert states[0] == HandingOver((FIRST,), worker.bound_s)
    assert worker.bound_s < 5, "the others of the group wait"


def test_what_is_revoked_without_having_been_assigned_is_passed_over(life, group):
    group.poll(revoke=[FIRST])
    assert ("hand_over", FIRST) not in life.run()


def test_what_is_revoked_is_handed_over_and_the_messages_beside_it_are_kept(life, group):
    group.poll(assign=[FIRST, SECOND])
    group.poll("ab", revoke=[FIRST])
    assert life.run()[1:4] == [("hand_over", FIRST), ("process", "a", "b"), ("hand_over", SECOND)]


def test_an_abort_in_a_callback_goes_back_and_drops_the_messages_of_that_poll(life, group, worker):
    aborted = TransactionAborted("no")
    worker.errors["hand_over"] = [aborted]
    group.poll(assign=[FIRST, SECOND])
    group.poll("ab", revoke=[FIRST])
    group.poll("cd")
    assert life.run() == [
        ("assign", FIRST, SECOND),
        ("hand_over", FIRST),
        ("handle_abort", aborted),
        ("rewind",),
        ("process", "c", "d"),
        ("hand_over", SECOND),
        ("close",),
    ]
    life.telemetry.aborted.assert_called_once_with("no")


def test_revocation_after_abort_commits_nothing(life, group, worker):
    aborted = TransactionAborted("no")
    worker.errors["step"] = [aborted]
    worker.commits = False
    group.poll(assign=[FIRST, SECOND])
    group.poll("ab")
    group.poll("cd", revoke=[FIRST])
    assert ("hand_over", FIRST) not in life.run()
    assert life.log[life.log.index(("drop", FIRST)) :][:3] == [("drop", FIRST), ("abort",), ("rewind",)]


def test_revocation_after_abort_and_commit_is_handed_over(life, group, worker):
    worker.errors["step"] = [TransactionAborted("no")]
    group.poll(assign=[FIRST, SECOND])
    group.poll("ab")
    group.poll("cd")
    group.poll("ef", revoke=[FIRST])
    assert ("hand_over", FIRST) in life.run()


def test_after_a_failure_in_a_callback_nothing_more_is_handed_over_but_given_up(life, group, worker):
    aborted = TransactionAborted("no")
    worker.errors["hand_over"] = [aborted]
    group.poll(assign=[FIRST, SECOND])
    group.poll("ab", revoke=[[FIRST], [SECOND]])
    assert life.run() == [
        ("assign", FIRST, SECOND),
        ("hand_over", FIRST),
        ("drop", SECOND),
        ("handle_abort", aborted),
        ("rewind",),
        ("close",),
    ]


@pytest.mark.parametrize("error", [ClientLost("lost"), StateError("odd"), AuthorizationError("no")])
def test_another_failure_in_a_callback_ends_the_session_and_commits_nothing(life, group, worker, error):
    worker.errors["hand_over"] = [error]
    group.poll(assign=[FIRST, SECOND])
    group.poll("ab", revoke=[FIRST])
    with pytest.raises(type(error)):
        life.run()
    assert life.log[1:] == [("hand_over", FIRST), ("drop", SECOND), ("abort",), ("rewind",), ("close",)]
    assert life.session.state == Closed()


def test_what_is_lost_is_given_up_uncommitted_and_the_rest_is_read_again(life, group):
    group.poll(assign=[FIRST, SECOND])
    group.poll("ab", lost=[FIRST])
    group.poll("cd")
    assert life.run() == [
        ("assign", FIRST, SECOND),
        ("drop", FIRST),
        ("abort",),
        ("rewind",),
        ("process", "c", "d"),
        ("hand_over", SECOND),
        ("close",),
    ]
    life.telemetry.lost.assert_called_once()


def test_what_cannot_be_dropped_after_a_loss_ends_the_session(life, group, worker):
    life.transaction.abort.side_effect = ClientLost("no answer")
    group.poll(assign=[FIRST])
    group.poll("ab", lost=[FIRST])
    with pytest.raises(ClientLost, match="could not be dropped"):
        life.run()


def test_an_abort_in_the_loop_goes_back(life, group, worker):
    aborted = TransactionAborted("no")
    worker.errors["step"] = [aborted]
    group.poll("a", assign=[FIRST])
    group.poll("b")
    assert life.run()[1:] == [
        ("process", "a"),
        ("step",),
        ("handle_abort", aborted),
        ("rewind",),
        ("process", "b"),
        ("hand_over", FIRST),
        ("close",),
    ]


def in_doubt(life, worker, *starts):
    """Let a commit be lost, and the new producer's starts come to these."""
    worker.errors["step"] = [ClientLost("no answer")]
    life.transaction.state = State.LOST
    outcomes = iter(starts)

    def start(_):
        if (outcome := next(outcomes)) is not None:
            raise outcome
        life.transaction.state = State.CLOSED

    life.transaction.start.side_effect = start


def test_a_commit_in_doubt_is_settled_by_a_new_producer_and_the_group_is_kept(life, group, worker):
    in_doubt(life, worker, ClientLost("not yet"), None)
    group.poll("a", assign=[FIRST])
    group.poll("b")
    group.poll("c")
    assert life.run()[1:] == [
        ("process", "a"),
        ("step",),
        ("reset",),
        ("process", "c"),
        ("hand_over", FIRST),
        ("close",),
    ]
    assert life.telemetry.aborted.call_count == 1


def test_a_commit_in_doubt_in_a_hand_over_is_settled_too(life, group, worker):
    worker.errors["hand_over"] = [ClientLost("no answer")]
    life.transaction.state = None
    life.telemetry.revoked.side_effect = lambda _: setattr(life.transaction, "state", State.LOST)
    group.poll(assign=[FIRST, SECOND])
    group.poll("ab", revoke=[FIRST])
    group.poll("cd")
    assert life.run() == [
        ("assign", FIRST, SECOND),
        ("hand_over", FIRST),
        ("reset",),
        ("process", "c", "d"),
        ("drop", SECOND),
        ("abort",),
        ("rewind",),
        ("close",),
    ]


def test_nothing_is_committed_in_a_hand_over_while_the_producer_is_lost(life, group, worker):
    life.transaction.state = State.LOST
    group.poll(assign=[FIRST, SECOND])
    group.poll("ab", revoke=[FIRST])
    assert life.run()[1:4] == [("drop", FIRST), ("abort",), ("rewind",)]


def test_doubts_in_a_row_end_the_session(life, group, worker):
    life.transaction.state = State.LOST
    worker.commits = False
    worker.errors["step"] = [ClientLost(f"no {number}") for number in range(5)]
    for _ in range(9):
        group.poll("a")
    with pytest.raises(ClientLost, match="5 transactions in a row failed, the last because no 4"):
        life.run()


def test_a_doubt_that_lasts_ends_the_session(life, group, worker):
    in_doubt(life, worker, ClientLost("not yet"), ClientLost("nor now"))
    life.telemetry.polled.side_effect = lambda: life.clock.move(31)
    for _ in range(3):
        group.poll("a")
    with pytest.raises(ClientLost, match="nor now"):
        life.run()


def test_a_producer_that_is_fenced_ends_the_session(life, group, worker):
    in_doubt(life, worker, None)
    worker.errors["step"] = [ClientLost("fenced", is_fenced=True)]
    group.poll("a", assign=[FIRST])
    with pytest.raises(ClientLost, match="fenced"):
        life.run()


def test_a_client_that_is_lost_outside_a_transaction_ends_the_session(life, group, worker):
    worker.errors["step"] = [ClientLost("the reader")]
    life.transaction.state = State.CLOSED
    group.poll("a", assign=[FIRST])
    with pytest.raises(ClientLost, match="the reader"):
        life.run()


def test_five_aborts_in_a_row_end_the_session(life, group, worker):
    worker.errors["step"] = [TransactionAborted(f"no {number}") for number in range(5)]
    for _ in range(9):
        group.poll("a")
    with pytest.raises(ClientLost, match="5 transactions in a row failed, the last because no 4"):
        life.run()
    assert life.telemetry.aborted.call_count == 5


def test_steps_without_a_commit_do_not_end_a_row_of_aborts(life, group, worker):
    worker.commits = False
    worker.errors["step"] = [TransactionAborted("no") if number % 2 else None for number in range(20)]
    for _ in range(20):
        group.poll("a")
    with pytest.raises(ClientLost, match="in a row"):
        life.run()


def test_a_commit_ends_a_row_of_aborts(life, group, worker):
    worker.errors["step"] = [None if number == 4 else TransactionAborted("no") for number in range(9)]
    for _ in range(9):
        group.poll("a")
    # Four, a commit, four.
    assert life.run().count(("rewind",)) == 8


def test_a_failure_of_the_last_hand_over_is_not_passed_over(life, group, worker):
    worker.errors["hand_over"] = [ClientLost("in doubt")]
    group.poll(assign=[FIRST])
    with pytest.raises(ClientLost, match="in doubt"):
        life.run()


def test_an_abort_of_the_last_hand_over_leaves_it_to_the_next_owner(life, group, worker):
    worker.errors["hand_over"] = [TransactionAborted("no")]
    group.poll(assign=[FIRST])
    assert life.run()[-2:] == [("rewind",), ("close",)]


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        (KafkaError._ALL_BROKERS_DOWN, ClientLost),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, AuthorizationError),
    ],
)
def test_what_a_client_raises_is_told_by_who_must_mend_it(life, group, worker, code, raised):
    worker.errors["process"] = [KafkaException(KafkaError(code))]
    group.poll("a", assign=[FIRST])
    with pytest.raises(raised):
        life.run()
    assert life.log[-4:] == [("drop", FIRST), ("abort",), ("rewind",), ("close",)]


def test_any_other_error_is_nobodys_to_wait_out_and_commits_nothing(life, group, worker):
    worker.errors["process"] = [KeyError("a fault of ours")]
    group.poll("a", assign=[FIRST])
    with pytest.raises(KeyError):
        life.run()
    assert life.log[-4:] == [("drop", FIRST), ("abort",), ("rewind",), ("close",)]
