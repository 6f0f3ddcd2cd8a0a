"""The codec of a shard's changelog records; see `schemas/changelog.v4.md`."""

import math
from dataclasses import fields, is_dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.examples import Example
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.divergence import DIVERGENCE
from driftgauge.core.statistics.novelty import NOVELTY
from driftgauge.core.windows.changelog import (
    BLOCK,
    EventTimeKey,
    ExamplesKey,
    HistoryKey,
    Key,
    PaneKey,
    PositionKey,
    PublishedKey,
    ShardPosition,
    SourceBlock,
    SourcesKey,
    StreamKey,
    StreamStatus,
    Value,
)
from driftgauge.core.windows.result import VerdictMemory, WindowResult
from driftgauge.core.windows.verdict import VerdictHistory
from driftgauge.records.keys import decode_key, encode_key
from driftgauge.records.messagepack import MAX_PARTITIONS, Format, check_version, damage_error, require

__all__ = ["decode", "encode_key", "encode_value"]

_VERSION = 4
_ENCODER = msgspec.msgpack.Encoder(enc_hook=np.ndarray.tolist)
# No history reaches this sum, and its square is still a finite double.
_MAX_SUM = 1e100


def encode_value(value: Value) -> bytes:
    """Return the bytes of a record's value; the key holds its kind."""
    return bytes([_VERSION]) + _ENCODER.encode(_in_order(value))


def decode(key: bytes, value: bytes) -> tuple[Key, Value]:
    """Return a record's key and value.

    Raises:
        StateError: The record is damaged, or of another version.
    """
    name = f"the changelog record {key.decode('ascii', errors='backslashreplace')}"
    check_version(name, value, _VERSION)
    try:
        parsed = decode_key(key)
    except ValueError as error:
        raise damage_error(name, error) from error
    return parsed, _FORMATS[type(parsed)].decode(name, value)


def _in_order(value: Any) -> Any:
    """Return a value whose sets and mappings are in order, so that equal values have equal bytes."""
    if isinstance(value, dict):
        return {key: _in_order(each) for key, each in sorted(value.items())}
    if isinstance(value, frozenset):
        return sorted(value)
    if is_dataclass(value) and not isinstance(value, type):
        before = {each.name: getattr(value, each.name) for each in fields(value)}
        after = {name: _in_order(each) for name, each in before.items()}
        changes = {name: each for name, each in after.items() if each is not before[name]}
        return replace(value, **changes) if changes else value
    return value


def _check_position(position: ShardPosition) -> None:
    require(position.offset >= 0, "the offset is negative")


def _check_sources(block: SourceBlock) -> None:
    require(block.partitions <= MAX_PARTITIONS, "the topic has too many partitions")
    _check_rows(block.values, 4)


def _check_status(status: StreamStatus) -> None:
    counts = (*status.late.values(), *status.closed.values(), *status.revised.values())
    require(min(counts, default=0) >= 0, "a count is negative")


def _check_times(rows: NDArray[np.int64]) -> None:
    _check_rows(rows, 2)


def _check_rows(rows: NDArray[np.int64], columns: int) -> None:
    require(rows.shape[1:] == (columns,) and len(rows) <= BLOCK, "the rows are not those of a block")


def _check_tally(tally: NDArray[np.int64]) -> None:
    require(tally.ndim == 1, "the tally is not a list of numbers")


def _check_examples(_: tuple[Example, ...]) -> None:
    """Accept all: nothing is calculated from examples."""


def _check_result(result: WindowResult) -> None:
    counts = result.counts
    for each in (counts, result.baseline_counts):
        require(each.shape == counts.shape[:1], "the numbers of clusters differ")
        require(each.any() and (each >= 0).all(), "the counts are not those of events")
    if result.score is not None:
        findings = result.score.findings
        require({DIVERGENCE.name, NOVELTY.name} <= findings.keys(), "a finding is missing")
        for parts in (findings.of(DIVERGENCE).contributions, findings.of(NOVELTY).contributions):
            require(parts.shape == counts.shape, "the numbers of clusters differ")
    _check_memory(result.memory)


def _check_history(history: VerdictHistory) -> None:
    _check_memory(history.memory)
    before = history.clean.windows
    shapes = before.squares.shape[:1], (len(before.products),) * 2
    sizes = {each.name: (each.variances,) for each in registry.STATISTICS}
    for warm_up in (history.clean, *history.segments.values()):
        windows = warm_up.windows
        squares, products = windows.squares, windows.products
        require((squares.shape, products.shape) == shapes, "the numbers of sums differ")
        # Comparisons with NaN are false, so these also refuse what is not finite.
        require((np.abs(products) <= _MAX_SUM).all(), "a product is out of range")
        is_sum_of_squares = (products == products.T).all() and (np.diag(products) >= 0).all()
        require(is_sum_of_squares, "the matrix is no sum of outer products")
        for name, others in windows.others.items():
            require(others.shape == sizes.get(name), "the sums are not those of a statistic")
        sums = np.hstack([windows.windows, squares, *windows.others.values()])
        require(((sums >= 0) & (sums <= _MAX_SUM)).all(), "a sum is out of range")
        counts = warm_up.values[: len(squares)]
        require(counts.shape == squares.shape and (counts >= 0).all(), "the tally has no counts")
        require(bool(counts.any()) == bool(windows.windows), "the tally is not that of the windows")


def _check_memory(memory: VerdictMemory | None) -> None:
    if memory is None:
        return
    slow_drift = memory.slow_drift
    require(math.isfinite(slow_drift.statistic), "the statistic of slow drift is not finite")
    shapes = {values.shape for _, values in slow_drift.blocks}
    require(
        len(shapes) == (slow_drift.statistic > 0) and all(len(shape) == 1 for shape in shapes),
        "the tallies of slow drift do not belong to it",
    )


_FORMATS: dict[type[Key], Format[Any]] = {
    PositionKey: Format(ShardPosition, _check_position),
    SourcesKey: Format(SourceBlock, _check_sources),
    StreamKey: Format(StreamStatus, _check_status),
    EventTimeKey: Format(NDArray[np.int64], _check_times),
    PaneKey: Format(NDArray[np.int64], _check_tally),
    ExamplesKey: Format(tuple[Example, ...], _check_examples),
    PublishedKey: Format(WindowResult, _check_result),
    HistoryKey: Format(VerdictHistory, _check_history),
}
