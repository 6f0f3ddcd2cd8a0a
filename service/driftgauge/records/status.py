"""A shard's position and a stream's status as the changelog keeps them, in JSON."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from driftgauge.core.result import Verdict
from driftgauge.core.windows.changelog import DataLoss, ShardPosition, StreamStatus
from driftgauge.events.contract import VerdictName

__all__ = ["read_position", "read_status", "write_position", "write_status"]

_Integer = Annotated[int, Field(ge=-(2**63), lt=2**63)]
_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Pair = tuple[_Integer, _Integer]


class _Kept(BaseModel):
    # A field of a later version is ignored, so that replicas of two versions can share a topic.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class _Producer(_Kept):
    producer: str
    epoch: _Count
    commit: _Count
    log_ms: _Integer


class _Position(_Kept):
    shards: Annotated[int, Field(ge=1, lt=2**31)]
    offset: _Count
    log_ms: _Integer
    writer: str
    producers: tuple[_Producer, ...]
    gaps: _Count
    overlaps: _Count
    orphans: _Count


class _Partition(_Kept):
    topic: str
    partition: _Count


class _Loss(_Partition):
    from_ms: _Integer | None
    to_ms: _Integer | None


class _OfSize(_Kept):
    size_ms: _Integer
    count: _Count


class _Closed(_OfSize):
    verdict: VerdictName


class _Status(_Kept):
    watermark_ms: _Integer | None
    final_ms: _Integer | None
    frontier: _Pair | None
    foremost: tuple[_Pair, ...]
    given_up: tuple[_Partition, ...]
    losses: tuple[_Loss, ...]
    counted_twice: tuple[_Pair, ...]
    late: tuple[_OfSize, ...]
    closed: tuple[_Closed, ...]
    revised: tuple[_OfSize, ...]
    alarms: tuple[_Integer, ...]


def write_position(position: ShardPosition) -> bytes:
    """Return a shard's position."""
    kept = _Position(
        shards=position.shards,
        offset=position.offset,
        log_ms=position.log_ms,
        writer=position.writer,
        producers=tuple(
            _Producer(producer=producer, epoch=epoch, commit=number, log_ms=log_ms)
            for (producer, epoch), (number, log_ms) in sorted(position.producers.items())
        ),
        gaps=position.gaps,
        overlaps=position.overlaps,
        orphans=position.orphans,
    )
    return kept.model_dump_json().encode()


def read_position(content: bytes) -> ShardPosition:
    """Return the position that was written; ValueError where it is none."""
    kept = _Position.model_validate_json(content)
    return ShardPosition(
        kept.shards,
        kept.offset,
        kept.log_ms,
        kept.writer,
        {(each.producer, each.epoch): (each.commit, each.log_ms) for each in kept.producers},
        kept.gaps,
        kept.overlaps,
        kept.orphans,
    )


def write_status(status: StreamStatus) -> bytes:
    """Return a stream's status; sets and mappings in order, so that the same is always the same bytes."""
    kept = _Status(
        watermark_ms=status.watermark_ms,
        final_ms=status.final_ms,
        frontier=status.frontier,
        foremost=status.foremost,
        given_up=tuple(
            _Partition(topic=topic, partition=partition) for topic, partition in sorted(status.given_up)
        ),
        losses=tuple(
            _Loss(
                topic=loss.partition[0], partition=loss.partition[1], from_ms=loss.from_ms, to_ms=loss.to_ms
            )
            for loss in status.losses
        ),
        counted_twice=status.counted_twice,
        late=tuple(_OfSize(size_ms=size_ms, count=count) for size_ms, count in sorted(status.late.items())),
        closed=tuple(
            _Closed(size_ms=size_ms, verdict=verdict.value, count=count)
            for (size_ms, verdict), count in sorted(status.closed.items())
        ),
        revised=tuple(
            _OfSize(size_ms=size_ms, count=count) for size_ms, count in sorted(status.revised.items())
        ),
        alarms=tuple(sorted(status.alarms)),
    )
    return kept.model_dump_json().encode()


def read_status(content: bytes) -> StreamStatus:
    """Return the status that was written; ValueError where it is none."""
    kept = _Status.model_validate_json(content)
    return StreamStatus(
        watermark_ms=kept.watermark_ms,
        final_ms=kept.final_ms,
        frontier=kept.frontier,
        foremost=kept.foremost,
        given_up=frozenset((each.topic, each.partition) for each in kept.given_up),
        losses=tuple(
            DataLoss((each.topic, each.partition), each.from_ms, each.to_ms) for each in kept.losses
        ),
        counted_twice=kept.counted_twice,
        late={each.size_ms: each.count for each in kept.late},
        closed={(each.size_ms, Verdict(each.verdict)): each.count for each in kept.closed},
        revised={each.size_ms: each.count for each in kept.revised},
        alarms=frozenset(kept.alarms),
    )
