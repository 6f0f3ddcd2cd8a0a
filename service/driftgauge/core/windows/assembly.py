"""Assembly of commits from their parts: a shard applies a commit whole or not at all."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TypeVar

from driftgauge.core.counting.partial import CommitPart

__all__ = ["CommitAssembler"]

# Brokers abort longer transactions (transaction.max.timeout.ms), so the parts of one lie no further apart.
_TRANSACTION_MS = 900_000

_T = TypeVar("_T")


@dataclass(slots=True)
class _Staged:
    """The parts of a commit that have been read so far, the first at `offset` and at log time `log_ms`."""

    offset: int
    log_ms: int
    parts: list[CommitPart] = field(default_factory=list)


class CommitAssembler:
    """Stages the parts of each producer's commit until the last part completes it.

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
        """The lowest offset of a staged part; None if no part is staged."""
        return min((staged.offset for staged in self._staged.values()), default=None)

    def expire(self, log_ms: int) -> None:
        """Drop the parts that have been staged for longer than a transaction can last."""
        stale = [name for name, staged in self._staged.items() if log_ms - staged.log_ms > _TRANSACTION_MS]
        for producer in stale:
            self._drop(producer)

    def add(self, offset: int, log_ms: int, part: CommitPart) -> CommitPart | None:
        """Stage a part, with its offset and the log time; return the commit, as one part, if it is whole."""
        producer = part.commit.producer
        staged = self._staged.get(producer)
        if staged is not None and staged.parts[0].commit != part.commit:
            self._drop(producer)
            staged = None
        if part.index != (0 if staged is None else len(staged.parts)):
            # Either earlier parts are missing, or this part was written twice.
            self._drop(producer)
            self.orphans += 1
            return None
        if staged is None:
            staged = self._staged[producer] = _Staged(offset, log_ms)
        staged.parts.append(part)
        if len(staged.parts) < part.parts:
            return None
        del self._staged[producer]
        return replace(
            part,
            index=0,
            parts=1,
            panes=_join(each.panes for each in staged.parts),
            partitions=_join(each.partitions for each in staged.parts),
        )

    def _drop(self, producer: str) -> None:
        staged = self._staged.pop(producer, None)
        if staged is not None:
            self.orphans += len(staged.parts)


def _join(items: Iterable[tuple[_T, ...]]) -> tuple[_T, ...]:
    return tuple(chain.from_iterable(items))
