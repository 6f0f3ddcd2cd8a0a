"""The decision whether to commit or abort a hanging transaction, from evidence alone.

A transaction has one outcome. The coordinator decided it and wrote it to the other partitions, so the outcome
is known where the transaction has already ended. Without sufficient evidence there is no decision, and the
transaction is left alone.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from driftgauge.core.partition import Partition, name_partition, name_partitions
from driftgauge.kafka.hanging.model import Coordinator, OffsetMove, TransactionOutcome

__all__ = ["Decision", "Evidence", "decide"]

_OUTCOMES = {"CompleteCommit": TransactionOutcome.COMMIT, "CompleteAbort": TransactionOutcome.ABORT}


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence about one producer's hanging transaction.

    Attributes:
        moves: The group offsets that the transaction moves, by its own records.
        is_whole: Whether the last records of the transaction were written.
        elsewhere: The outcome of the same transaction in other partitions of the internal topics and of the
            groups' offsets; OPEN where it hangs as well.
        unread: Those of these partitions that have no leader and cannot be read.
        committed: The groups' committed offsets; empty if the transaction hangs in the groups' offsets.
        holds_offsets: Whether the transaction hangs in the groups' offsets as well.
        first_ms: The lowest timestamp of its records; None without records.
        epoch: The producer's epoch in the partition.
        coordinator: The coordinator's state of the producer; None if the coordinator does not know it.
    """

    moves: frozenset[OffsetMove]
    is_whole: bool
    elsewhere: frozenset[tuple[Partition, TransactionOutcome]]
    unread: frozenset[Partition]
    committed: Mapping[tuple[str, Partition], int]
    holds_offsets: bool
    first_ms: int | None
    epoch: int
    coordinator: Coordinator | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome to write, and the reason.

    Attributes:
        outcome: COMMIT or ABORT; None to leave the transaction alone.
        reason: The reason, as an operator reads it.
    """

    outcome: TransactionOutcome | None
    reason: str


def decide(evidence: Evidence) -> Decision:
    """Return the decision that the evidence supports."""
    found = [*_ended_elsewhere(evidence.elsewhere), *_offsets_behind(evidence)]
    outcomes = {decision.outcome for decision in found}
    if len(outcomes) > 1:
        reasons = "; but ".join(decision.reason for decision in found)
        return Decision(None, f"the evidence contradicts itself: {reasons}")
    return found[0] if found else _by_absence(evidence)


def _by_absence(evidence: Evidence) -> Decision:
    """Return the decision where no partition and no offset shows the outcome."""
    if not evidence.is_whole:
        return Decision(
            TransactionOutcome.ABORT, "its last records were never written, so it was never committed"
        )
    if not evidence.moves:
        return Decision(TransactionOutcome.ABORT, "it moves no offset, so no event is lost with it")
    if evidence.unread:
        where = _list(evidence.unread)
        reason = f"no leader for {where}, which may show the outcome: repair its brokers, then run this again"
        return Decision(None, reason)
    if evidence.holds_offsets:
        reason = "it hangs in all its partitions, the group's offsets included: nobody has continued from it"
        return Decision(TransactionOutcome.ABORT, reason)
    return _last_of_coordinator(evidence)


def _ended_elsewhere(elsewhere: Collection[tuple[Partition, TransactionOutcome]]) -> list[Decision]:
    found = []
    for outcome, word in ((TransactionOutcome.COMMIT, "committed"), (TransactionOutcome.ABORT, "aborted")):
        where = [partition for partition, each in elsewhere if each is outcome]
        if where:
            found.append(Decision(outcome, f"the same transaction is {word} in {_list(where)}"))
    return found


def _offsets_behind(evidence: Evidence) -> list[Decision]:
    """Return an abort where a group's offset is below the transaction's, because offsets never go back."""
    for move in sorted(evidence.moves):
        offset = evidence.committed.get((move.group, move.partition))
        if offset is not None and offset < move.end:
            where = f"{name_partition(move.partition)}@{offset}"
            reason = f"group {move.group} is at {where}, and a commit would have moved it to {move.end}"
            return [Decision(TransactionOutcome.ABORT, reason)]
    return []


def _last_of_coordinator(evidence: Evidence) -> Decision:
    """Return the coordinator's outcome if it belongs to this transaction, the producer's last."""
    coordinator = evidence.coordinator
    if coordinator is None:
        return Decision(
            None, "the coordinator no longer knows its producer, and nothing else shows the outcome"
        )
    outcome = _OUTCOMES.get(coordinator.state)
    is_last = (
        evidence.first_ms is not None
        and coordinator.epoch == evidence.epoch
        and 0 <= coordinator.start_ms <= evidence.first_ms
    )
    if outcome is None or not is_last:
        reason = f"the coordinator's state, {coordinator.state}, may belong to a later transaction"
        return Decision(None, f"{reason}, and nothing else shows the outcome")
    reason = f"it is its producer's last transaction, and the coordinator reports {coordinator.state}"
    return Decision(outcome, reason)


def _list(partitions: Collection[Partition]) -> str:
    named = name_partitions(partitions)
    return ", ".join(named if len(named) <= 3 else [*named[:3], f"{len(named) - 3} more"])  # noqa: PLR2004
