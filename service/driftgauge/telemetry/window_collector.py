"""What is exported of the shards that are held: one collector over immutable snapshots."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from prometheus_client.registry import Collector

from driftgauge.clock import Clock
from driftgauge.telemetry.catalogue import METRICS
from driftgauge.telemetry.metric import Family
from driftgauge.telemetry.snapshot import ShardSnapshot, ShownStream, WatchedStream

__all__ = ["WindowCollector"]

# What is no longer kept up to date is not shown: no series is better than a drift that is frozen.
_FRESH_S = 15.0


class WindowCollector(Collector):
    """Shows the streams of the shards that are held, each for so long after the shard's last commit.

    What the configuration says of a stream is shown with the rest of it, so that all replicas together show
    it once.

    Every change swaps in a new mapping by one assignment, and a scrape reads the reference once, so it never
    mixes two states of a shard. Changes come from one thread, the role's; scrapes from any.
    """

    def __init__(self, streams: Iterable[WatchedStream], clock: Clock) -> None:
        self._streams = {watched.spec.name: watched for watched in streams}
        self._clock = clock
        self._shards: Mapping[int, tuple[float, ShardSnapshot]] = {}

    def show(self, shard: int, snapshot: ShardSnapshot) -> None:
        """Show a shard as it is now."""
        self._shards = {**self._shards, shard: (self._clock.monotonic_s(), snapshot)}

    def keep(self, shards: Collection[int]) -> None:
        """Show no other shards any more: the group has given them to others."""
        self._shards = {shard: shown for shard, shown in self._shards.items() if shard in shards}

    def describe(self) -> Iterator[Family]:
        """Yield the families without samples."""
        return self._families({})

    def collect(self) -> Iterator[Family]:
        """Yield the families of the snapshots that are fresh."""
        now_s = self._clock.monotonic_s()
        shards = sorted(self._shards.items())
        return self._families(
            {shard: snapshot for shard, (shown_s, snapshot) in shards if now_s - shown_s <= _FRESH_S}
        )

    def _families(self, shards: Mapping[int, ShardSnapshot]) -> Iterator[Family]:
        now_ms = self._clock.wall_ms()
        streams = {
            stream: ShownStream(self._streams[stream], known, self._streams[stream].in_force(now_ms))
            for snapshot in shards.values()
            for stream, known in snapshot.streams.items()
        }
        for metric in METRICS.values():
            if metric.samples is None and metric.of_shard is None:
                continue
            family = metric.family()
            if metric.samples is not None:
                for stream, shown in streams.items():
                    for labels, value in metric.samples(shown):
                        if value is not None:
                            family.add_metric((stream, *labels), value)
            if metric.of_shard is not None:
                for shard, snapshot in shards.items():
                    family.add_metric((str(shard),), metric.of_shard(snapshot.position))
            yield family
