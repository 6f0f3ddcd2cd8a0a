"""Parts of commits to whole commits: a shard applies a commit when all its parts are there, or not at all."""

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

# The brokers let no transaction last longer (transaction.max.timeout.ms), so its parts are no further apart.
_TRANSACTION_MS = 900_000


@dataclass(frozen=True, slots=True, eq=False)
class WholeCommit:
    """All that a commit brings to a shard.

    Attributes:
        id: The commit.
        panes, examples: The deltas.
        progress: How far each partition that its producer held was read.
    """

    id: CommitId
    panes: tuple[PaneDelta, ...]
    examples: tuple[ExamplesDelta, ...]
    progress: tuple[PartitionProgress, ...]


@dataclass(slots=True)
class _Staged:
    """The parts of a commit that have been read so far, the first of them at `offset`."""

    commit: CommitId
    offset: int
    append_ms: int
    panes: list[PaneDelta] = field(default_factory=list)
    examples: list[ExamplesDelta] = field(default_factory=list)
    progress: list[PartitionProgress] = field(default_factory=list)
    parts: int = 0


class CommitAssembler:
    """Stages the parts of each producer's commit until the last one, which is progress, completes it.

    The parts of one producer come in the order in which they were written; those of several producers lie
    between each other. What is missing of a commit when the producer's next one begins never comes, nor does
    what is missing for longer than a transaction lasts.
    """

    def __init__(self) -> None:
        self._staged: dict[str, _Staged] = {}  # by producer
        self.orphans = 0
        """How many parts were dropped, for others of their commit are missing."""

    @property
    def first_offset(self) -> int | None:
        """The lowest offset of a part that waits for others; None where none does."""
        return min((staged.offset for staged in self._staged.values()), default=None)

    def expire(self, log_ms: int) -> None:
        """Drop the parts that have waited for others for longer than a transaction lasts."""
        stale = [name for name, staged in self._staged.items() if log_ms - staged.append_ms > _TRANSACTION_MS]
        for producer in stale:
            self._drop(producer)

    def take(self, offset: int, append_ms: int, part: Part) -> WholeCommit | None:
        """Stage a part that was appended at this offset and time; return the commit that it completes."""
        producer = part.commit.producer
        staged = self._staged.get(producer)
        if staged is not None and staged.commit != part.commit:
            self._drop(producer)
            staged = None
        if part.index != (0 if staged is None else staged.parts):
            # The parts before it are missing, or it comes twice.
            self._drop(producer)
            self.orphans += 1
            return None
        if staged is None:
            staged = self._staged[producer] = _Staged(part.commit, offset, append_ms)
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
        return WholeCommit(staged.commit, tuple(staged.panes), tuple(staged.examples), tuple(staged.progress))

    def _drop(self, producer: str) -> None:
        staged = self._staged.pop(producer, None)
        if staged is not None:
            self.orphans += staged.parts
