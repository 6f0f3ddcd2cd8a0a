"""The data of hanging transactions: what partition leaders, coordinators and logs report."""

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum

from driftgauge.core.partition import Partition

__all__ = ["Batch", "Coordinator", "Hang", "OffsetMove", "OpenTransaction", "TransactionOutcome"]

_ENDED = ("Empty", "CompleteCommit", "CompleteAbort", "Dead")
# The coordinator checks for time-outs every 10 s, and the abort takes some seconds more.
_GRACE_MS = 60_000


class TransactionOutcome(StrEnum):
    """The outcome of a transaction in a partition."""

    COMMIT = "commit"
    ABORT = "abort"
    OPEN = "open"


@dataclass(frozen=True, slots=True, order=True)
class OpenTransaction:
    """An open transaction of a partition, as the partition's leader reports it.

    Attributes:
        partition: The partition.
        producer_id: The producer's id in the cluster.
        epoch: The producer's epoch.
        coordinator_epoch: The epoch of the coordinator that wrote the last marker there; -1 without a marker.
        start: The transaction's first offset there.
        last_ms: When the producer last wrote there, in milliseconds since the epoch.
    """

    partition: Partition
    producer_id: int
    epoch: int
    coordinator_epoch: int
    start: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Coordinator:
    """A producer's last transaction, as its coordinator reports it.

    Attributes:
        node: The coordinator's node.
        transactional_id: The producer's transactional id.
        state: Kafka's name of the state, such as Ongoing or CompleteCommit.
        epoch: The producer's current epoch.
        timeout_ms: How long a transaction of the producer may stay open.
        start_ms: When the last transaction began; negative if unknown.
        partitions: The partitions of the transaction that is open now.
    """

    node: int
    transactional_id: str
    state: str
    epoch: int
    timeout_ms: int
    start_ms: int
    partitions: Set[Partition]

    def has_ended(self, partition: Partition) -> bool:
        """Return whether the coordinator considers every transaction in the partition ended."""
        return self.state in _ENDED or partition not in self.partitions


@dataclass(frozen=True, slots=True)
class Hang:
    """A hanging transaction: it has been open in a partition for too long.

    Attributes:
        transaction: The transaction.
        coordinator: The coordinator's state of its producer; None if the coordinator no longer knows it.
    """

    transaction: OpenTransaction
    coordinator: Coordinator | None

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody will end the transaction, because the coordinator considers it ended."""
        return self.coordinator is None or self.coordinator.has_ended(self.transaction.partition)

    def is_overdue(self, now_ms: int) -> bool:
        """Return whether the transaction has been open for longer than its coordinator allows."""
        coordinator = self.coordinator
        if coordinator is None:
            return False
        return now_ms - coordinator.start_ms > coordinator.timeout_ms + _GRACE_MS


@dataclass(frozen=True, slots=True, order=True)
class OffsetMove:
    """A transaction's move of a group's offset.

    Attributes:
        group: The consumer group.
        partition: The partition that the offset belongs to.
        end: The new offset.
    """

    group: str
    partition: Partition
    end: int


@dataclass(frozen=True, slots=True)
class Batch:
    """A record batch of one producer, or one transaction marker.

    Attributes:
        first, last: The offsets of the first and the last record.
        first_ms, last_ms: Their timestamps, in milliseconds since the epoch.
        producer_id: The producer's id in the cluster.
        marker: COMMIT or ABORT for a marker, else None.
        records: Key and value of each record; empty for a marker.
    """

    first: int
    last: int
    first_ms: int
    last_ms: int
    producer_id: int
    marker: TransactionOutcome | None
    records: tuple[tuple[bytes | None, bytes | None], ...]
