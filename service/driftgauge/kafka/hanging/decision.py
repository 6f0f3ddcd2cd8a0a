"""How a transaction that hangs has to end: the rule alone, without a cluster.

A transaction has one outcome. The coordinator decided it, told the other partitions, and forgot it; so it
is known where the transaction has ended already. Nothing is guessed: what the evidence does not decide is
left alone.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from driftgauge.core.partition import Partition
from driftgauge.kafka.hanging.model import Coordinator, Offset, Outcome, say

__all__ = ["Decision", "Evidence", "decide"]

_SAYS = {"CompleteCommit": Outcome.COMMIT, "CompleteAbort": Outcome.ABORT}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one producer's transaction that hangs.

    Attributes:
        moves: The group offsets that it moves, by its own records.
        is_whole: Whether the records that are written last in a transaction were written.
        elsewhere: How the same transaction ended in other partitions of the internal topics and of the
            groups' offsets; OPEN where it hangs too.
        unread: Those of these partitions that cannot be read: they have no leader.
        committed: The groups' offsets; without those that the transaction itself holds open.
        holds_offsets: Whether it hangs in the groups' offsets too.
        first_ms: When its first record was appended; None where the producer's clock says that.
        epoch: The producer's epoch in the partition.
        coordinator: What the coordinator says of the producer.
    """

    moves: frozenset[Offset]
    is_whole: bool
    elsewhere: frozenset[tuple[Partition, Outcome]]
    unread: frozenset[Partition]
    committed: Mapping[tuple[str, Partition], int]
    holds_offsets: bool
    first_ms: int | None
    epoch: int
    coordinator: Coordinator | None


@dataclass(frozen=True, slots=True)
class Decision:
    """How it has to end, and why; None: that is not known, and it is to be left alone."""

    outcome: Outcome | None
    reason: str


def decide(evidence: Evidence) -> Decision:
    """Return how the transaction has to end."""
    found = [*_ended_elsewhere(evidence.elsewhere), *_offsets_behind(evidence)]
    outcomes = {decision.outcome for decision in found}
    if len(outcomes) > 1:
        reasons = "; but ".join(decision.reason for decision in found)
        return Decision(None, f"the evidence contradicts itself: {reasons}")
    return found[0] if found else _by_absence(evidence)


def _by_absence(evidence: Evidence) -> Decision:
    """Nowhere does it say how the transaction ended."""
    if not evidence.is_whole:
        return Decision(Outcome.ABORT, "its last records were never written, so it was never committed")
    if not evidence.moves:
        return Decision(Outcome.ABORT, "it moves no offset: no event came, and nothing is lost with it")
    if evidence.unread:
        reason = "has no leader, and may hold how it ended; see to its brokers first"
        return Decision(None, f"{_list(sorted(evidence.unread))} {reason}")
    if evidence.holds_offsets:
        reason = "it hangs wherever it wrote, the group's offsets among it, so nobody has gone on from it"
        return Decision(Outcome.ABORT, reason)
    return _last_of_coordinator(evidence)


def _ended_elsewhere(elsewhere: Collection[tuple[Partition, Outcome]]) -> list[Decision]:
    found = []
    for outcome, word in ((Outcome.COMMIT, "committed"), (Outcome.ABORT, "aborted")):
        where = sorted(partition for partition, each in elsewhere if each is outcome)
        if where:
            found.append(Decision(outcome, f"the same transaction is {word} in {_list(where)}"))
    return found


def _offsets_behind(evidence: Evidence) -> list[Decision]:
    """A committed transaction moved the offsets to its ends, and they never go back."""
    for move in sorted(evidence.moves):
        offset = evidence.committed.get((move.group, move.partition))
        if offset is not None and offset < move.end:
            at = f"group {move.group} is at {offset} of {say(move.partition)}, and it would be at {move.end}"
            return [Decision(Outcome.ABORT, f"{at} had the transaction been committed")]
    return []


def _last_of_coordinator(evidence: Evidence) -> Decision:
    """The coordinator's word holds for the producer's last transaction, and only for that."""
    coordinator = evidence.coordinator
    if coordinator is None:
        return Decision(None, "the coordinator no longer knows its producer, and nothing else reports it")
    outcome = _SAYS.get(coordinator.state)
    is_last = (
        evidence.first_ms is not None
        and coordinator.epoch == evidence.epoch
        and 0 <= coordinator.start_ms <= evidence.first_ms
    )
    if outcome is None or not is_last:
        reason = f"what its coordinator says, {coordinator.state}, may be about a later transaction"
        return Decision(None, f"{reason}, and nothing else reports it")
    return Decision(outcome, f"it is its producer's last, and the coordinator says {coordinator.state}")


def _list(partitions: Collection[Partition]) -> str:
    named = [say(partition) for partition in partitions]
    return ", ".join(named if len(named) <= 3 else [*named[:3], f"{len(named) - 3} more"])  # noqa: PLR2004
