"""The decision to commit or abort a hanging transaction, from evidence alone."""

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
UNDECIDED = Evidence(
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


def elsewhere(*outcomes):
    return frozenset({(SHARD, TransactionOutcome.OPEN), *outcomes})


@pytest.mark.parametrize("outcome", [TransactionOutcome.COMMIT, TransactionOutcome.ABORT])
@pytest.mark.parametrize("where", [SIBLING, OFFSETS])
def test_outcome_elsewhere_decides(outcome, where):
    decision = decide(replace(UNDECIDED, elsewhere=elsewhere((where, outcome))))
    assert decision.outcome is outcome
    assert f"{where[0]}[{where[1]}]" in decision.reason


def test_outcome_elsewhere_precedes_coordinators_state():
    evidence = replace(
        UNDECIDED, elsewhere=elsewhere((SIBLING, TransactionOutcome.ABORT)), first_ms=2_000, coordinator=LAST
    )
    assert decide(evidence).outcome is TransactionOutcome.ABORT


def test_group_offset_below_move_decides_abort():
    decision = decide(replace(UNDECIDED, committed={("watch", SOURCE): 24}))
    assert decision.outcome is TransactionOutcome.ABORT
    assert decision.reason.startswith(
        "group watch is at embeddings[3]@24, and a commit would have moved it to 25"
    )


@pytest.mark.parametrize("offset", [25, 26])
def test_group_offset_at_or_past_move_decides_nothing(offset):
    """A replica that counts again after an abort may commit the same offset."""
    assert decide(replace(UNDECIDED, committed={("watch", SOURCE): offset})).outcome is None


def test_offset_of_another_group_decides_nothing():
    assert decide(replace(UNDECIDED, committed={("another", SOURCE): 0})).outcome is None


@pytest.mark.parametrize(
    "contradicting",
    [
        replace(
            UNDECIDED,
            elsewhere=elsewhere((SIBLING, TransactionOutcome.COMMIT), (OFFSETS, TransactionOutcome.ABORT)),
        ),
        replace(
            UNDECIDED,
            elsewhere=elsewhere((SIBLING, TransactionOutcome.COMMIT)),
            committed={("watch", SOURCE): 10},
        ),
    ],
)
def test_contradicting_evidence_decides_nothing(contradicting):
    decision = decide(contradicting)
    assert decision.outcome is None
    assert "contradicts itself" in decision.reason


def test_transaction_without_last_record_is_aborted():
    decision = decide(replace(UNDECIDED, is_whole=False))
    assert decision.outcome is TransactionOutcome.ABORT
    assert "never committed" in decision.reason


def test_partial_shard_of_committed_transaction_is_committed():
    evidence = replace(UNDECIDED, is_whole=False, elsewhere=elsewhere((SIBLING, TransactionOutcome.COMMIT)))
    assert decide(evidence).outcome is TransactionOutcome.COMMIT


def test_commit_without_events_is_aborted():
    assert decide(replace(UNDECIDED, moves=frozenset())).outcome is TransactionOutcome.ABORT


def test_transaction_hanging_in_all_partitions_is_aborted():
    decision = decide(replace(UNDECIDED, holds_offsets=True))
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
def test_coordinators_state_decides_producers_last_transaction(state, outcome):
    evidence = replace(UNDECIDED, first_ms=1_000, coordinator=replace(LAST, state=state))
    assert decide(evidence).outcome is outcome


@pytest.mark.parametrize(
    "evidence",
    [
        replace(UNDECIDED, first_ms=999, coordinator=LAST),
        replace(UNDECIDED, first_ms=1_000, epoch=3, coordinator=LAST),
        replace(UNDECIDED, first_ms=1_000, coordinator=replace(LAST, start_ms=-1)),
        replace(UNDECIDED, first_ms=None, coordinator=LAST),
        replace(UNDECIDED, first_ms=1_000, coordinator=None),
    ],
    ids=["began later", "another epoch", "unknown start", "unknown time", "unknown producer"],
)
def test_coordinators_state_of_other_transaction_decides_nothing(evidence):
    assert decide(evidence).outcome is None
