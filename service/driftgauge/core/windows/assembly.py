"""Assembly of commits from their parts: a shard applies a commit whole or not at all."""

from dataclasses import dataclass, field

from driftgauge.core.counting.partial import (
    CommitId,
    ExamplesDelta,
    PaneDelta,
    Part,
    PartitionProgress,
    Progress,
)

__all__ = ["CommitAssembler", "WholeCommit"]

# Brokers abort longer transactions (transaction.max.timeout.ms), so the parts of one lie no further apart.
_TRANSACTION_MS = 900_000


@dataclass(frozen=True, slots=True, eq=False)
class WholeCommit:
    """A whole commit for one shard.

    Attributes:
        id: The commit.
        panes, examples: The deltas.
        progress: The progress of each partition that the producer held.
        written_ms: The wall time, by the reader's clock, at which the commit was written.
    """

    id: CommitId
    panes: tuple[PaneDelta, ...]
    examples: tuple[ExamplesDelta, ...]
    progress: tuple[PartitionProgress, ...]
    written_ms: int


@dataclass(slots=True)
class _Staged:
    """The parts of a commit that have been read so far, the first at `offset` and at log time `log_ms`."""

    commit: CommitId
    offset: int
    log_ms: int
    panes: list[PaneDelta] = field(default_factory=list)
    examples: list[ExamplesDelta] = field(default_factory=list)
    progress: list[PartitionProgress] = field(default_factory=list)
    parts: int = 0


class CommitAssembler:
    """Stages the parts of each producer's commit until the last part, which is progress, completes it.

    The parts of one producer arrive in the order of writing; those of several producers interleave. A part
    that is missing when the producer's next commit begins never arrives, and neither does a part that is
    missing for longer than a transaction can last.
    """

    def __init__(self) -> None:
        self._staged: dict[str, _Staged] = {}  # by producer
        self.orphans = 0
        """The number of parts that were dropped because other parts of their commit are missing."""

    @property
    def first_offset(self) -> int | None:
        """The lowest offset of a staged part; None where no part is staged."""
        return min((staged.offset for staged in self._staged.values()), default=None)

    def expire(self, log_ms: int) -> None:
        """Drop the parts that have been staged for longer than a transaction can last."""
        stale = [name for name, staged in self._staged.items() if log_ms - staged.log_ms > _TRANSACTION_MS]
        for producer in stale:
            self._drop(producer)

    def add(self, offset: int, log_ms: int, part: Part) -> WholeCommit | None:
        """Stage a part, with its offset and the log time; return the commit if the part completes one."""
        producer = part.commit.producer
        staged = self._staged.get(producer)
        if staged is not None and staged.commit != part.commit:
            self._drop(producer)
            staged = None
        if part.index != (0 if staged is None else staged.parts):
            # Either earlier parts are missing, or this part was written twice.
            self._drop(producer)
            self.orphans += 1
            return None
        if staged is None:
            staged = self._staged[producer] = _Staged(part.commit, offset, log_ms)
        staged.parts += 1
        if isinstance(part, Progress):
            staged.progress += part.partitions
        else:
            staged.panes += part.panes
            staged.examples += part.examples
        if staged.parts < part.parts:
            return None
        if not isinstance(part, Progress):
            self._drop(producer)
            return None
        del self._staged[producer]
        return WholeCommit(
            staged.commit,
            tuple(staged.panes),
            tuple(staged.examples),
            tuple(staged.progress),
            part.written_ms,
        )

    def _drop(self, producer: str) -> None:
        staged = self._staged.pop(producer, None)
        if staged is not None:
            self.orphans += staged.parts
