"""Prometheus collector for the shards that this replica holds, over immutable snapshots."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from prometheus_client.registry import Collector

from driftgauge.clock import Clock
from driftgauge.core.by_stream import ByStream
from driftgauge.telemetry.metric import Family
from driftgauge.telemetry.snapshot import ShardSnapshot, StreamView, WatchedStream
from driftgauge.telemetry.stream_metrics import SHARD_METRICS, STREAM_METRICS

__all__ = ["WindowCollector"]

# Without a commit the values are out of date, and a missing series is better than a frozen one.
_MAX_AGE_S = 15.0


class WindowCollector(Collector):
    """Exports the streams of the held shards, each shard until 15 s after its last commit.

    A stream's configuration is exported with its state, so that all replicas together export it once.

    Every change assigns a new mapping, and a scrape reads the reference once, so a scrape never mixes two
    states of a shard. Only the role's thread makes changes; any thread may scrape.

    Attributes:
        streams: The configuration of the streams.
    """

    def __init__(self, streams: Iterable[WatchedStream], clock: Clock) -> None:
        self.streams = ByStream({watched.spec.name: watched for watched in streams})
        self._clock = clock
        self._shards: Mapping[int, tuple[float, ShardSnapshot]] = {}

    def show(self, shard: int, snapshot: ShardSnapshot) -> None:
        """Replace the snapshot of a shard."""
        self._shards = {**self._shards, shard: (self._clock.monotonic_s(), snapshot)}

    def keep_only(self, shards: Collection[int]) -> None:
        """Remove all other shards, because the group assigned them to other replicas."""
        self._shards = {shard: shown for shard, shown in self._shards.items() if shard in shards}

    def collect(self) -> Iterator[Family]:
        """Yield the families of the snapshots that are not older than 15 s."""
        now_s, now_ms = self._clock.monotonic_s(), self._clock.wall_ms()
        shown = sorted(self._shards.items())
        shards = {shard: snapshot for shard, (shown_s, snapshot) in shown if now_s - shown_s <= _MAX_AGE_S}
        streams = {
            stream: StreamView(watched := self.streams[stream], *snapshot, watched.spec.baseline_at(now_ms))
            for shard in shards.values()
            for stream, snapshot in shard.streams.items()
        }
        by_name = {str(shard): snapshot for shard, snapshot in shards.items()}
        yield from (metric.family(streams) for metric in STREAM_METRICS)
        yield from (metric.family(by_name) for metric in SHARD_METRICS)
