"""The codec of the changelog's shard positions and stream statuses, JSON."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated

from pydantic import Field

from driftgauge.core.windows.changelog import DataLoss, ShardPosition, StreamStatus
from driftgauge.core.windows.result import Verdict
from driftgauge.events.window_record import VerdictName
from driftgauge.records.model import RecordModel

__all__ = ["decode_position", "decode_status", "encode_position", "encode_status"]

_Integer = Annotated[int, Field(ge=-(2**63), lt=2**63)]
_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Pair = tuple[_Integer, _Integer]


class _Producer(RecordModel):
    producer: str
    epoch: _Count
    commit: _Count
    log_ms: _Integer


class _Position(RecordModel):
    shards: Annotated[int, Field(ge=1, lt=2**31)]
    offset: _Count
    log_ms: _Integer
    writer: str
    producers: tuple[_Producer, ...]
    gaps: _Count
    overlaps: _Count
    orphans: _Count


class _Partition(RecordModel):
    topic: str
    partition: _Count


class _Loss(_Partition):
    from_ms: _Integer | None
    to_ms: _Integer | None


class _SizeCount(RecordModel):
    size_ms: _Integer
    count: _Count


class _ClosedCount(_SizeCount):
    verdict: VerdictName


class _Status(RecordModel):
    watermark_ms: _Integer | None
    final_ms: _Integer | None
    frontier: _Pair | None
    foremost: tuple[_Pair, ...]
    given_up: tuple[_Partition, ...]
    losses: tuple[_Loss, ...]
    counted_twice: tuple[_Pair, ...]
    late: tuple[_SizeCount, ...]
    closed: tuple[_ClosedCount, ...]
    revised: tuple[_SizeCount, ...]
    alarms: tuple[_Integer, ...]


def encode_position(position: ShardPosition) -> bytes:
    """Return the bytes of a shard's position."""
    producers = tuple(
        _Producer(producer=producer, epoch=epoch, commit=number, log_ms=log_ms)
        for (producer, epoch), (number, log_ms) in sorted(position.producers.items())
    )
    return _dump(_Position, position, producers=producers)


def decode_position(content: bytes) -> ShardPosition:
    """Return the shard's position; ValueError if the content is not one."""
    model = _Position.model_validate_json(content)
    producers = {(each.producer, each.epoch): (each.commit, each.log_ms) for each in model.producers}
    return ShardPosition(**{**dict(model), "producers": producers})


def encode_status(status: StreamStatus) -> bytes:
    """Return the bytes of a stream's status; sorted, so that equal statuses have equal bytes."""
    return _dump(
        _Status,
        status,
        given_up=tuple(_Partition(topic=topic, partition=index) for topic, index in sorted(status.given_up)),
        losses=tuple(
            _Loss(topic=topic, partition=index, from_ms=loss.from_ms, to_ms=loss.to_ms)
            for loss in status.losses
            for topic, index in (loss.partition,)
        ),
        late=_by_size(status.late),
        closed=tuple(
            _ClosedCount(size_ms=size_ms, verdict=verdict.value, count=count)
            for (size_ms, verdict), count in sorted(status.closed.items())
        ),
        revised=_by_size(status.revised),
        alarms=tuple(sorted(status.alarms)),
    )


def decode_status(content: bytes) -> StreamStatus:
    """Return the stream's status; ValueError if the content is not one."""
    model = _Status.model_validate_json(content)
    converted = {
        "given_up": frozenset((each.topic, each.partition) for each in model.given_up),
        "losses": tuple(
            DataLoss((each.topic, each.partition), each.from_ms, each.to_ms) for each in model.losses
        ),
        "late": {each.size_ms: each.count for each in model.late},
        "closed": {(each.size_ms, Verdict(each.verdict)): each.count for each in model.closed},
        "revised": {each.size_ms: each.count for each in model.revised},
        "alarms": frozenset(model.alarms),
    }
    return StreamStatus(**{**dict(model), **converted})


def _dump(model: type[RecordModel], value: ShardPosition | StreamStatus, **rows: object) -> bytes:
    """Return a value's fields as JSON; `rows` replaces the fields that JSON cannot hold."""
    plain = {field.name: getattr(value, field.name) for field in fields(value)}
    return model(**{**plain, **rows}).model_dump_json().encode()


def _by_size(counts: Mapping[int, int]) -> tuple[_SizeCount, ...]:
    return tuple(_SizeCount(size_ms=size_ms, count=count) for size_ms, count in sorted(counts.items()))
