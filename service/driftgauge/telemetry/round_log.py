"""Log messages of a shard's round: closed and revised windows, late events, gaps and overlaps of partials."""

import logging

from driftgauge.core.durations import format_duration
from driftgauge.core.partition import name_partition, name_partitions
from driftgauge.core.windows.result import WindowResult
from driftgauge.core.windows.shard import RoundResult

__all__ = ["log_round"]

_log = logging.getLogger(__name__)

_CHAIN_REMEDY = (
    "find out who reset offsets, deleted records or aborted a transaction; see the runbook "
    "DriftgaugeCountsInDoubt"
)


def log_round(shard: int, round_: RoundResult) -> None:
    """Log a round: closed and revised windows, late events, and breaks in the chain of partials."""
    for result in round_.results:
        _log_window(result)
    for late in round_.late:
        partition, offset = late.first
        _log.warning(
            "events came after their window was final; they are counted as late",
            extra={
                "stream": late.stream,
                "window": format_duration(late.size_ms),
                "events": late.number,
                "first": f"{name_partition(partition)}@{offset}",
                "remedy": "raise allowed_lateness of the stream, or correct the producer's timestamps",
            },
        )
    for error in round_.chain_errors:
        _log.error(
            "the partials do not continue what was counted; the windows concerned are marked",
            extra={"shard": shard, "found": error, "remedy": _CHAIN_REMEDY},
        )


def _log_window(result: WindowResult) -> None:
    divergence = None if result.score is None else result.score.divergence
    _log.info(
        "window closed" if result.revision == 0 else "window revised",
        extra={
            "stream": result.stream,
            "window": format_duration(result.window.size_ms),
            "start_ms": result.window.start_ms,
            "end_ms": result.window.end_ms,
            "revision": result.revision,
            "events": result.count,
            "verdict": result.verdict,
            "incomplete_reason": result.incomplete_reason,
            "js_divergence": None if divergence is None else divergence.js_divergence,
            "noise_floor": None if divergence is None else divergence.noise_floor,
            "p_value": None if result.score is None else result.score.p_value,
            "missing": name_partitions(result.missing),
            "events_lost": result.events_lost,
            "counted_twice": result.counted_twice,
        },
    )
