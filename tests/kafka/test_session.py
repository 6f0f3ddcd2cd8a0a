"""Sessions over fakes: assignment, hand-over, aborts, unknown commits, failures."""

from unittest.mock import call

import pytest
from confluent_kafka import KafkaError, KafkaException

from driftgauge.errors import AuthorizationError, ClientLost, StateError, TransactionAborted
from driftgauge.kafka.session import Closed, HandingOver, Joining, Working
from driftgauge.kafka.transaction import State
from tests.builders.messages import TOPIC
from tests.kafka.session_fakes import FIRST, SECOND, SessionHarness


@pytest.fixture
def harness():
    return SessionHarness()


@pytest.fixture
def worker(harness):
    return harness.worker


@pytest.fixture
def consumer(harness):
    return harness.consumer


def test_session_processes_messages_and_hands_over_at_end(harness, consumer):
    consumer.poll(assign=[FIRST])
    consumer.poll("ab")
    consumer.poll("c", assign=[SECOND])
    consumer.closing = [FIRST, SECOND]
    assert harness.run() == [
        ("assign", FIRST),
        ("process", "a", "b"),
        ("assign", SECOND),
        ("process", "c"),
        ("hand_over", FIRST, SECOND),
        ("close",),
    ]
    assert consumer.topics == [TOPIC]
    harness.transaction.abort.assert_not_called()


def test_state_is_working_after_first_assignment_even_if_empty(harness, consumer):
    states = []
    harness.telemetry.polled.side_effect = lambda: states.append(harness.session.state)
    consumer.poll()
    consumer.poll(assign=[])
    consumer.poll()
    harness.run()
    assert states[:3] == [Joining(), Working(), Working()]


def test_hand_over_has_deadline(harness, consumer, worker):
    states = []
    harness.telemetry.revoked.side_effect = lambda _: states.append(harness.session.state)
    consumer.poll(assign=[FIRST])
    consumer.poll(revoke=[FIRST])
    harness.run()
    assert states[0] == HandingOver((FIRST,), worker.bound_s)
    assert worker.bound_s < 5, "the others of the consumer wait"


def test_revoke_of_unassigned_partition_is_ignored(harness, consumer):
    consumer.poll(revoke=[FIRST])
    assert ("hand_over", FIRST) not in harness.run()


def test_revoke_hands_over_and_keeps_messages_of_poll(harness, consumer):
    consumer.poll(assign=[FIRST, SECOND])
    consumer.poll("ab", revoke=[FIRST])
    assert harness.run()[1:4] == [("hand_over", FIRST), ("process", "a", "b"), ("hand_over", SECOND)]


def test_abort_in_callback_begins_again_before_messages_of_poll(harness, consumer, worker):
    aborted = TransactionAborted("no")
    worker.errors["hand_over"] = [aborted]
    consumer.poll(assign=[FIRST, SECOND])
    consumer.poll("ab", revoke=[FIRST])
    consumer.poll("cd")
    assert harness.run() == [
        ("assign", FIRST, SECOND),
        ("hand_over", FIRST),
        ("handle_abort", aborted),
        ("begin_again",),
        ("process", "a", "b"),
        ("process", "c", "d"),
        ("hand_over", SECOND),
        ("close",),
    ]
    harness.telemetry.aborted.assert_called_once_with("no")


def test_commits_are_bound_to_member_of_first_assignment(harness, consumer):
    """Partitions from before a new membership must not be committed by the new member."""
    consumer.poll(assign=[FIRST])
    consumer.poll(assign=[SECOND])
    consumer.poll(revoke=[FIRST, SECOND])
    consumer.poll(assign=[FIRST])
    harness.run()
    assert harness.transaction.bind.call_args_list == [call(consumer)] * 2


def test_revoke_after_failed_callback_drops_partitions(harness, consumer, worker):
    aborted = TransactionAborted("no")
    worker.errors["hand_over"] = [aborted]
    consumer.poll(assign=[FIRST, SECOND])
    consumer.poll("ab", revoke=[[FIRST], [SECOND]])
    assert harness.run() == [
        ("assign", FIRST, SECOND),
        ("hand_over", FIRST),
        ("drop", SECOND),
        ("handle_abort", aborted),
        ("begin_again",),
        ("process", "a", "b"),
        ("close",),
    ]


@pytest.mark.parametrize("error", [ClientLost("lost"), StateError("odd"), AuthorizationError("no")])
def test_other_failure_in_callback_ends_session_without_commit(harness, consumer, worker, error):
    worker.errors["hand_over"] = [error]
    consumer.poll(assign=[FIRST, SECOND])
    consumer.poll("ab", revoke=[FIRST])
    with pytest.raises(type(error)):
        harness.run()
    assert harness.log[1:] == [("hand_over", FIRST), ("drop", SECOND), ("abort",), ("close",)]
    assert harness.session.state == Closed()


def test_lost_partition_is_dropped_and_others_begin_again(harness, consumer):
    consumer.poll(assign=[FIRST, SECOND])
    consumer.poll("ab", lost=[FIRST])
    consumer.poll("cd")
    assert harness.run() == [
        ("assign", FIRST, SECOND),
        ("drop", FIRST),
        ("abort",),
        ("begin_again",),
        ("process", "a", "b"),
        ("process", "c", "d"),
        ("hand_over", SECOND),
        ("close",),
    ]
    harness.telemetry.lost.assert_called_once()


def test_failed_abort_after_loss_ends_session(harness, consumer, worker):
    harness.transaction.abort.side_effect = ClientLost("no answer")
    consumer.poll(assign=[FIRST])
    consumer.poll("ab", lost=[FIRST])
    with pytest.raises(ClientLost, match="could not be dropped"):
        harness.run()


def test_abort_in_step_begins_again(harness, consumer, worker):
    aborted = TransactionAborted("no")
    worker.errors["step"] = [aborted]
    consumer.poll("a", assign=[FIRST])
    consumer.poll("b")
    assert harness.run()[1:] == [
        ("process", "a"),
        ("step",),
        ("handle_abort", aborted),
        ("begin_again",),
        ("process", "b"),
        ("hand_over", FIRST),
        ("close",),
    ]


def fail_commit(harness, worker, *starts):
    """Make the first commit's outcome unknown; each new producer's start raises one of these or succeeds."""
    worker.errors["step"] = [ClientLost("no answer")]
    harness.transaction.state = State.LOST
    outcomes = iter(starts)

    def start(_):
        if (outcome := next(outcomes)) is not None:
            raise outcome
        harness.transaction.state = State.CLOSED

    harness.transaction.start.side_effect = start


def test_unknown_commit_is_settled_within_group(harness, consumer, worker):
    fail_commit(harness, worker, ClientLost("not yet"), None)
    consumer.poll("a", assign=[FIRST])
    consumer.poll("b")
    consumer.poll("c")
    assert harness.run()[1:] == [
        ("process", "a"),
        ("step",),
        ("begin_again",),
        ("process", "b"),
        ("process", "c"),
        ("hand_over", FIRST),
        ("close",),
    ]
    assert harness.telemetry.aborted.call_count == 1


def test_abort_with_lost_producer_is_settled_without_partitions(harness, consumer, worker):
    fail_commit(harness, worker, ClientLost("not yet"), None)
    worker.errors["step"] = [TransactionAborted("no answer")]
    worker.commits = False
    consumer.poll(assign=[FIRST])
    consumer.poll(revoke=[FIRST])
    consumer.poll()
    harness.run()
    assert [call.kwargs["is_ready"] for call in harness.telemetry.set_ready.call_args_list] == [False, True]
    assert harness.transaction.start.call_count == 2


def test_unknown_commit_in_hand_over_is_settled(harness, consumer, worker):
    worker.errors["hand_over"] = [ClientLost("no answer")]
    harness.transaction.state = None
    harness.telemetry.revoked.side_effect = lambda _: setattr(harness.transaction, "state", State.LOST)
    consumer.poll(assign=[FIRST, SECOND])
    consumer.poll("ab", revoke=[FIRST])
    consumer.poll("cd")
    assert harness.run() == [
        ("assign", FIRST, SECOND),
        ("hand_over", FIRST),
        ("begin_again",),
        ("process", "a", "b"),
        ("process", "c", "d"),
        ("drop", SECOND),
        ("abort",),
        ("begin_again",),
        ("close",),
    ]


def test_hand_over_with_lost_producer_commits_nothing(harness, consumer, worker):
    harness.transaction.state = State.LOST
    consumer.poll(assign=[FIRST, SECOND])
    consumer.poll("ab", revoke=[FIRST])
    assert harness.run()[1:4] == [("drop", FIRST), ("abort",), ("begin_again",)]


def test_five_unknown_commits_in_a_row_end_session(harness, consumer, worker):
    harness.transaction.state = State.LOST
    worker.commits = False
    worker.errors["step"] = [ClientLost(f"no {number}") for number in range(5)]
    for _ in range(9):
        consumer.poll("a")
    with pytest.raises(ClientLost, match="5 transactions in a row failed, the last because no 4"):
        harness.run()


def test_unknown_commit_unsettled_for_a_minute_ends_session(harness, consumer, worker):
    fail_commit(harness, worker, ClientLost("not yet"), ClientLost("nor now"))
    harness.telemetry.polled.side_effect = lambda: harness.clock.advance(31)
    for _ in range(3):
        consumer.poll("a")
    with pytest.raises(ClientLost, match="nor now"):
        harness.run()


def test_fenced_producer_ends_session(harness, consumer, worker):
    fail_commit(harness, worker, None)
    worker.errors["step"] = [ClientLost("fenced", is_fenced=True)]
    consumer.poll("a", assign=[FIRST])
    with pytest.raises(ClientLost, match="fenced"):
        harness.run()


def test_client_lost_outside_transaction_ends_session(harness, consumer, worker):
    worker.errors["step"] = [ClientLost("the reader")]
    harness.transaction.state = State.CLOSED
    consumer.poll("a", assign=[FIRST])
    with pytest.raises(ClientLost, match="the reader"):
        harness.run()


def test_five_aborts_in_a_row_end_session(harness, consumer, worker):
    worker.errors["step"] = [TransactionAborted(f"no {number}") for number in range(5)]
    for _ in range(9):
        consumer.poll("a")
    with pytest.raises(ClientLost, match="5 transactions in a row failed, the last because no 4"):
        harness.run()
    assert harness.telemetry.aborted.call_count == 5


def test_steps_without_commit_do_not_reset_count_of_aborts(harness, consumer, worker):
    worker.commits = False
    worker.errors["step"] = [TransactionAborted("no") if number % 2 else None for number in range(20)]
    for _ in range(20):
        consumer.poll("a")
    with pytest.raises(ClientLost, match="in a row"):
        harness.run()


def test_commit_resets_count_of_aborts(harness, consumer, worker):
    worker.errors["step"] = [None if number == 4 else TransactionAborted("no") for number in range(9)]
    for _ in range(9):
        consumer.poll("a")
    # Four, a commit, four.
    assert harness.run().count(("begin_again",)) == 8


def test_failure_of_last_hand_over_is_raised(harness, consumer, worker):
    worker.errors["hand_over"] = [ClientLost("in doubt")]
    consumer.poll(assign=[FIRST])
    with pytest.raises(ClientLost, match="in doubt"):
        harness.run()


def test_abort_of_last_hand_over_ends_session_normally(harness, consumer, worker):
    worker.errors["hand_over"] = [TransactionAborted("no")]
    consumer.poll(assign=[FIRST])
    assert harness.run()[-2:] == [("begin_again",), ("close",)]


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        (KafkaError._ALL_BROKERS_DOWN, ClientLost),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, AuthorizationError),
    ],
)
def test_client_error_is_raised_by_its_remedy(harness, consumer, worker, code, raised):
    worker.errors["process"] = [KafkaException(KafkaError(code))]
    consumer.poll("a", assign=[FIRST])
    with pytest.raises(raised):
        harness.run()
    assert harness.log[-3:] == [("drop", FIRST), ("abort",), ("close",)]


def test_unexpected_error_is_raised_without_commit(harness, consumer, worker):
    worker.errors["process"] = [KeyError("a fault of ours")]
    consumer.poll("a", assign=[FIRST])
    with pytest.raises(KeyError):
        harness.run()
    assert harness.log[-3:] == [("drop", FIRST), ("abort",), ("close",)]
