"""Sessions over fakes: what follows what, how each failure ends, and how many failures end a session."""

from unittest.mock import call

import pytest
from confluent_kafka import KafkaError, KafkaException

from driftgauge.errors import AuthorizationError, ClientLost, StateError, TransactionAborted
from driftgauge.kafka.session import Closed, HandingOver, Joining, Working
from driftgauge.kafka.transaction import State
from tests.builders.messages import TOPIC
from tests.kafka.session_fakes import FIRST, SECOND, SessionHarness

ABORTED = TransactionAborted("no")
BOTH = {"assign": [FIRST, SECOND]}
STORIES = {
    "partitions are handed over at the end": (
        [("", {"assign": [FIRST]}), ("ab", {}), ("c", {"assign": [SECOND]})],
        {},
        "assign 0 | process ab | assign 1 | process c | hand_over 0 1 | close",
    ),
    "a partition that was not assigned is not handed over": ([("", {"revoke": [FIRST]})], {}, "close"),
    "a revoked partition is handed over before the messages of its poll": (
        [("", BOTH), ("ab", {"revoke": [FIRST]})],
        {},
        "assign 0 1 | hand_over 0 | process ab | hand_over 1 | close",
    ),
    "an abort in a callback begins again before the messages of its poll": (
        [("", BOTH), ("ab", {"revoke": [FIRST]}), ("cd", {})],
        {"hand_over": [ABORTED]},
        "assign 0 1 | hand_over 0 | handle_abort | begin_again | process ab | process cd"
        " | hand_over 1 | close",
    ),
    "a second revocation after a failed one drops its partitions": (
        [("", BOTH), ("ab", {"revoke": [[FIRST], [SECOND]]})],
        {"hand_over": [ABORTED]},
        "assign 0 1 | hand_over 0 | drop 1 | handle_abort | begin_again | process ab | close",
    ),
    "a lost partition is dropped, and the others begin again": (
        [("", BOTH), ("ab", {"lost": [FIRST]}), ("cd", {})],
        {},
        "assign 0 1 | drop 0 | abort | begin_again | process ab | process cd | hand_over 1 | close",
    ),
    "an abort in a step begins again": (
        [("a", {"assign": [FIRST]}), ("b", {})],
        {"step": [ABORTED]},
        "assign 0 | process a | step | handle_abort | begin_again | process b | hand_over 0 | close",
    ),
    "an abort of the last hand-over ends the session": (
        [("", {"assign": [FIRST]})],
        {"hand_over": [ABORTED]},
        "assign 0 | hand_over 0 | handle_abort | begin_again | close",
    ),
}


@pytest.fixture
def harness():
    return SessionHarness()


@pytest.mark.parametrize(("polls", "errors", "expected"), STORIES.values(), ids=STORIES)
def test_calls_of_the_worker_follow_polls_and_failures(harness, polls, errors, expected):
    harness.worker.errors = {name: list(each) for name, each in errors.items()}
    harness.poll(*polls)
    assert harness.run() == expected
    assert harness.consumer.topics == [TOPIC]


def test_session_that_needs_new_clients_hands_over(harness):
    harness.login.needs_new_clients.side_effect = [False, True]
    harness.poll(("a", {"assign": [FIRST]}), ("b", {}))
    assert harness.run() == "assign 0 | process a | hand_over 0 | close"


def test_states_and_deadline_of_a_hand_over(harness):
    states = []
    harness.telemetry.polled.side_effect = lambda: states.append(harness.session.state)
    harness.telemetry.revoked.side_effect = lambda _: states.append(harness.session.state)
    harness.poll(("", {}), ("", {"assign": []}), ("", {"assign": [FIRST]}), ("", {"revoke": [FIRST]}))
    harness.run()
    handing_over = HandingOver((FIRST,), harness.worker.bound_s)
    assert states[:5] == [Joining(), Working(), Working(), handing_over, Working()]
    assert harness.worker.bound_s < 5, "the others of the consumer wait"


def test_commits_are_bound_to_the_member_of_the_first_assignment(harness):
    """Partitions from before a new membership must not be committed by the new member."""
    harness.poll(("", {"assign": [FIRST]}), ("", {"assign": [SECOND]}))
    harness.poll(("", {"revoke": [FIRST, SECOND]}), ("", {"assign": [FIRST]}))
    harness.run()
    assert harness.transaction.bind.call_args_list == [call(harness.consumer)] * 2


def kafka_error(code):
    return KafkaException(KafkaError(code))


@pytest.mark.parametrize(
    ("method", "error", "state", "raised"),
    [
        ("hand_over", ClientLost("in doubt"), State.CLOSED, ClientLost),
        ("hand_over", StateError("odd"), State.CLOSED, StateError),
        ("hand_over", AuthorizationError("no"), State.CLOSED, AuthorizationError),
        ("step", ClientLost("fenced", is_fenced=True), State.LOST, ClientLost),
        ("step", ClientLost("the reader, outside of a transaction"), State.CLOSED, ClientLost),
        ("process", kafka_error(KafkaError._ALL_BROKERS_DOWN), State.CLOSED, ClientLost),
        ("process", kafka_error(KafkaError.GROUP_AUTHORIZATION_FAILED), State.CLOSED, AuthorizationError),
        ("process", KeyError("a fault of ours"), State.CLOSED, KeyError),
    ],
)
def test_other_failure_ends_session_without_a_commit(harness, method, error, state, raised):
    harness.worker.errors[method] = [error]
    harness.transaction.state = state
    harness.poll(("", BOTH), ("ab", {"revoke": [FIRST]} if method == "hand_over" else {}))
    with pytest.raises(raised):
        harness.run()
    held = "1" if method == "hand_over" else "0 1"
    assert harness.text.endswith(f"drop {held} | abort | close")
    assert harness.session.state == Closed()


def test_failure_of_the_last_hand_over_and_of_an_abort_are_raised(harness):
    harness.worker.errors["hand_over"] = [ClientLost("in doubt")]
    harness.poll(("", {"assign": [FIRST]}))
    with pytest.raises(ClientLost, match="in doubt"):
        harness.run()
    other = SessionHarness()
    other.transaction.abort.side_effect = ClientLost("no answer")
    other.poll(("", {"assign": [FIRST]}), ("ab", {"lost": [FIRST]}))
    with pytest.raises(ClientLost, match="could not be dropped"):
        other.run()


def lose_producer(harness, *starts):
    """Make the first commit's outcome unknown; each new producer's start raises one of these or succeeds."""
    harness.worker.errors.setdefault("step", [ClientLost("no answer")])
    harness.transaction.state = State.LOST
    outcomes = iter(starts)

    def start(_):
        if (outcome := next(outcomes)) is not None:
            raise outcome
        harness.transaction.state = State.CLOSED

    harness.transaction.start.side_effect = start


def test_unknown_commit_is_settled_within_the_group(harness):
    lose_producer(harness, ClientLost("not yet"), None)
    harness.poll(("a", {"assign": [FIRST]}), ("b", {}), ("c", {}))
    expected = "assign 0 | process a | step | begin_again | process b | process c | hand_over 0 | close"
    assert harness.run() == expected
    assert harness.telemetry.aborted.call_count == 1
    assert [each.kwargs["is_ready"] for each in harness.telemetry.set_ready.call_args_list][-1]


def test_session_without_partitions_is_ready_again_once_settled(harness):
    harness.worker.errors["step"] = [TransactionAborted("no answer")]
    harness.worker.commits = False
    lose_producer(harness, ClientLost("not yet"), None)
    harness.poll(("", {"assign": [FIRST]}), ("", {"revoke": [FIRST]}), ("", {}))
    harness.run()
    ready = [each.kwargs["is_ready"] for each in harness.telemetry.set_ready.call_args_list]
    assert ready == [False, True]


def test_hand_over_with_a_lost_producer_commits_nothing(harness):
    harness.transaction.state = State.LOST
    harness.poll(("", BOTH), ("ab", {"revoke": [FIRST]}))
    assert harness.run().startswith("assign 0 1 | drop 0 | abort | begin_again")


def test_unknown_commit_unsettled_for_a_minute_ends_session(harness):
    lose_producer(harness, ClientLost("not yet"), ClientLost("nor now"))
    harness.telemetry.polled.side_effect = lambda: harness.clock.advance(31)
    harness.poll(*[("a", {})] * 3)
    with pytest.raises(ClientLost, match="nor now"):
        harness.run()


@pytest.mark.parametrize(
    ("errors", "commits", "state"),
    [
        ([ABORTED] * 5, True, State.CLOSED),
        ([ClientLost("no")] * 5, False, State.LOST),
        ([None, ABORTED] * 5, False, State.CLOSED),
    ],
    ids=["aborted", "unknown", "aborted, with steps that commit nothing between"],
)
def test_five_failures_in_a_row_end_session(harness, errors, commits, state):
    harness.worker.errors["step"], harness.worker.commits = list(errors), commits
    harness.transaction.state = state
    harness.poll(*[("a", {})] * 20)
    with pytest.raises(ClientLost, match="5 transactions in a row failed, the last because no"):
        harness.run()


def test_commit_resets_the_number_of_failures(harness):
    harness.worker.errors["step"] = [*[ABORTED] * 4, None, *[ABORTED] * 4]
    harness.poll(*[("a", {})] * 9)
    assert harness.run().count("begin_again") == 8
