"""How a transaction that hangs has to end, by the evidence alone."""

from dataclasses import replace

import pytest

from driftgauge.kafka.hanging.decision import Evidence, decide
from driftgauge.kafka.hanging.model import Coordinator, OffsetMove, TransactionOutcome

SOURCE, SHARD, SIBLING, OFFSETS = (
    ("embeddings", 3),
    ("partials", 0),
    ("partials", 1),
    ("__consumer_offsets", 2),
)
LAST = Coordinator(1, "count-1", "CompleteCommit", 4, 30_000, 1_000, frozenset())
NOTHING = Evidence(
    moves=frozenset({OffsetMove("watch", SOURCE, 25)}),
    is_whole=True,
    elsewhere=frozenset({(SHARD, TransactionOutcome.OPEN)}),
    unread=frozenset(),
    committed={},
    holds_offsets=False,
    first_ms=None,
    epoch=4,
    coordinator=None,
)


def told(*outcomes):
    return frozenset({(SHARD, TransactionOutcome.OPEN), *outcomes})


@pytest.mark.parametrize("outcome", [TransactionOutcome.COMMIT, TransactionOutcome.ABORT])
@pytest.mark.parametrize("where", [SIBLING, OFFSETS])
def test_transaction_ends_as_it_ended_elsewhere(outcome, where):
    decision = decide(replace(NOTHING, elsewhere=told((where, outcome))))
    assert decision.outcome is outcome
    assert f"{where[0]}[{where[1]}]" in decision.reason


def test_elsewhere_wins_over_coordinators_last_word():
    evidence = replace(
        NOTHING, elsewhere=told((SIBLING, TransactionOutcome.ABORT)), first_ms=2_000, coordinator=LAST
    )
    assert decide(evidence).outcome is TransactionOutcome.ABORT


def test_offset_below_the_end_means_abort():
    decision = decide(replace(NOTHING, committed={("watch", SOURCE): 24}))
    assert decision.outcome is TransactionOutcome.ABORT
    assert decision.reason.startswith(
        "group watch is at embeddings[3]@24, and a commit would have moved it to 25"
    )


@pytest.mark.parametrize("offset", [25, 26])
def test_offset_at_or_past_the_end_proves_nothing(offset):
    """Whoever counts again after an abort may come to the same end."""
    assert decide(replace(NOTHING, committed={("watch", SOURCE): offset})).outcome is None


def test_offset_of_another_group_proves_nothing():
    assert decide(replace(NOTHING, committed={("another", SOURCE): 0})).outcome is None


@pytest.mark.parametrize(
    "contradicting",
    [
        replace(
            NOTHING, elsewhere=told((SIBLING, TransactionOutcome.COMMIT), (OFFSETS, TransactionOutcome.ABORT))
        ),
        replace(
            NOTHING, elsewhere=told((SIBLING, TransactionOutcome.COMMIT)), committed={("watch", SOURCE): 10}
        ),
    ],
)
def test_contradiction_is_left_alone(contradicting):
    decision = decide(contradicting)
    assert decision.outcome is None
    assert "contradicts itself" in decision.reason


def test_torn_transaction_was_never_committed():
    decision = decide(replace(NOTHING, is_whole=False))
    assert decision.outcome is TransactionOutcome.ABORT
    assert "never committed" in decision.reason


def test_torn_shard_of_committed_transaction_is_committed():
    evidence = replace(NOTHING, is_whole=False, elsewhere=told((SIBLING, TransactionOutcome.COMMIT)))
    assert decide(evidence).outcome is TransactionOutcome.COMMIT


def test_commit_without_events_is_aborted():
    assert decide(replace(NOTHING, moves=frozenset())).outcome is TransactionOutcome.ABORT


def test_transaction_that_hangs_everywhere_is_aborted():
    decision = decide(replace(NOTHING, holds_offsets=True))
    assert decision.outcome is TransactionOutcome.ABORT
    assert "nobody has continued from it" in decision.reason


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("CompleteCommit", TransactionOutcome.COMMIT),
        ("CompleteAbort", TransactionOutcome.ABORT),
        ("Empty", None),
    ],
)
def test_coordinators_word_counts_for_producers_last_transaction(state, outcome):
    evidence = replace(NOTHING, first_ms=1_000, coordinator=replace(LAST, state=state))
    assert decide(evidence).outcome is outcome


@pytest.mark.parametrize(
    "evidence",
    [
        replace(NOTHING, first_ms=999, coordinator=LAST),
        replace(NOTHING, first_ms=1_000, epoch=3, coordinator=LAST),
        replace(NOTHING, first_ms=1_000, coordinator=replace(LAST, start_ms=-1)),
        replace(NOTHING, first_ms=None, coordinator=LAST),
        replace(NOTHING, first_ms=1_000, coordinator=None),
    ],
    ids=["began later", "another epoch", "unknown start", "unknown time", "unknown producer"],
)
def test_coordinators_word_may_be_about_another_transaction(evidence):
    assert decide(evidence).outcome is None
