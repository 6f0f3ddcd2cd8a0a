"""What is known of a transaction that its partition holds open, and of the coordinator's view of it."""

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum

from driftgauge.core.partition import Partition

__all__ = ["Batch", "Coordinator", "Hang", "Offset", "OpenTransaction", "Outcome", "say"]

_ENDED = ("Empty", "CompleteCommit", "CompleteAbort", "Dead")
# The coordinator looks for transactions that have timed out every 10 s, and an abort takes a moment.
_GRACE_MS = 60_000


class Outcome(StrEnum):
    """How a transaction ended in a partition."""

    COMMIT = "commit"
    ABORT = "abort"
    OPEN = "open"


@dataclass(frozen=True, slots=True, order=True)
class OpenTransaction:
    """What the leader of a partition holds open.

    Attributes:
        partition: The partition.
        producer_id: The producer, by the cluster's number for it.
        epoch: The producer's epoch.
        coordinator_epoch: The epoch of the coordinator whose marker came last there; -1 where none did.
        start: The transaction's first offset there.
        last_ms: When the producer last wrote there.
    """

    partition: Partition
    producer_id: int
    epoch: int
    coordinator_epoch: int
    start: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Coordinator:
    """What the coordinator says of a producer's last transaction.

    Attributes:
        node: The node that is the coordinator.
        transactional_id: The producer's name.
        state: Kafka's word for it, such as Ongoing or CompleteCommit.
        epoch: The producer's epoch now.
        timeout_ms: How long a transaction of the producer may stay open.
        start_ms: When its last transaction began; negative where that is not known.
        partitions: What belongs to the transaction that is open now.
    """

    node: int
    transactional_id: str
    state: str
    epoch: int
    timeout_ms: int
    start_ms: int
    partitions: Set[Partition]

    def has_ended(self, partition: Partition) -> bool:
        """Tell whether the coordinator will not end a transaction in the partition any more."""
        return self.state in _ENDED or partition not in self.partitions


@dataclass(frozen=True, slots=True)
class Hang:
    """A transaction that a partition holds open too long.

    Attributes:
        transaction: The transaction.
        coordinator: What the coordinator says of its producer; None where it knows the producer no more.
    """

    transaction: OpenTransaction
    coordinator: Coordinator | None

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody will end it: the coordinator has done with it."""
        return self.coordinator is None or self.coordinator.has_ended(self.transaction.partition)

    def is_overdue(self, now_ms: int) -> bool:
        """Tell whether the coordinator should have ended it by now."""
        coordinator = self.coordinator
        if coordinator is None:
            return False
        return now_ms - coordinator.start_ms > coordinator.timeout_ms + _GRACE_MS


@dataclass(frozen=True, slots=True, order=True)
class Offset:
    """A transaction moves a group's offset of a partition to `end`."""

    group: str
    partition: Partition
    end: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one producer that follow each other in a partition, or one marker.

    Attributes:
        first, last: The offsets of the first and the last of them.
        first_ms, last_ms: Their timestamps.
        producer_id: The producer.
        marker: COMMIT or ABORT for a marker, else None.
        records: Key and value of each record; none for a marker.
    """

    first: int
    last: int
    first_ms: int
    last_ms: int
    producer_id: int
    marker: Outcome | None
    records: tuple[tuple[bytes | None, bytes | None], ...]


def say(partition: Partition) -> str:
    """Return a partition as messages name it."""
    topic, index = partition
    return f"{topic}[{index}]"
