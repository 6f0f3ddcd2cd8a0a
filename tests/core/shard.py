"""One shard without Kafka: a log of partials with commits of any producers, and an encoded changelog."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from driftgauge.core.counting.interval import IntervalCounter, ShardDelta
from driftgauge.core.counting.partial import CommitId, PartitionProgress
from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.changelog import PositionKey, StreamStatus
from driftgauge.core.windows.result import WindowResult
from driftgauge.core.windows.shard import ShardState
from driftgauge.records.changelog_records import decode, encode_key, encode_value
from driftgauge.records.partials import decode_part, encode_commit
from tests.builders.batches import build_batch, partitions_of
from tests.builders.clocks import MONDAY_MS, SECOND_MS
from tests.builders.references import FIRST

EVENTS = "embeddings"
STEP_MS = 5 * SECOND_MS
TWO_PARTS = 560
"""The size of parts, bytes, with which a commit of one pane and one partition has two of them."""


def restored(
    specs: Iterable[StreamSpec], topics: Collection[str], changelog: Mapping[bytes, bytes], *, shards: int = 1
) -> ShardState:
    """Return a shard's state, restored from the records of its changelog."""
    state = ShardState(specs, topics, shards)
    for key, value in changelog.items():
        state.restore(*decode(key, value))
    return state


def written(state: ShardState) -> list[tuple[bytes, bytes | None]]:
    """Return the changelog records of the changes, the position last."""
    return [
        (encode_key(key), None if value is None else encode_value(value))
        for key, value in state.drain_changes()
    ]


class Shard:
    """A shard that holds all streams, and the group that counts for it; each round is committed.

    Attributes:
        log: The partials: (append time, part), or None for a control record.
        changelog: The compacted changelog.
        ends: The group's committed offset of each source partition.
        late: The number of late events, by stream and size.
        chain_errors: The shard's messages about a broken chain.
    """

    def __init__(
        self,
        *specs: StreamSpec,
        partitions: int = 1,
        topics: Collection[str] = (EVENTS,),
        now_ms: int = MONDAY_MS,
    ) -> None:
        self.specs, self.topics, self.now_ms = specs, topics, now_ms
        self.sizes = dict.fromkeys(topics, partitions)
        self.ids = {topic: f"{topic}-1" for topic in topics}
        self.log: list[tuple[int, bytes] | None] = []
        self.changelog: dict[bytes, bytes] = {}
        self.ends: dict[Partition, int] = {}
        self.since_ms: dict[Partition, int] = {}
        self.late: Counter[tuple[str, int]] = Counter()
        self.chain_errors: list[str] = []
        self._numbers: Counter[tuple[str, int]] = Counter()
        self._watermarks: dict[str, int | None] = {}
        self.restart()

    def restart(self, *specs: StreamSpec) -> None:
        """Lose uncommitted state and restore the changelog, with these specs if any are given."""
        self.specs = specs or self.specs
        self._counter = IntervalCounter(self.specs)
        self._reads: Counter[Partition] = Counter()
        self._codes: dict[Partition, int] = {}
        self.state = restored(self.specs, self.topics, self.changelog)
        self.next_offset = self.state.position.offset

    def read(
        self,
        *events: tuple[int, int],
        stream: str = "images",
        partition: int | Partition = 0,
        baseline: str = FIRST.key,
        **columns: Any,
    ) -> None:
        """Let the group read (time_ms, cluster) events of one partition."""
        at = named(partition)
        code = self._codes.setdefault(at, len(self._codes))
        first = self.ends.get(at, 0) + self._reads[at]
        rows = [(code, offset, *event) for offset, event in enumerate(events, first)]
        self._counter.count([build_batch(rows, stream, baseline=baseline, **columns)], self.now_ms)
        self._reads[at] += len(events)

    def write(
        self,
        *,
        producer: str = "a",
        epoch: int = 1,
        caught_up: Collection[int | Partition] | bool = (),
        unread: Collection[int | Partition] = (),
        part_bytes: int = 10**6,
        append_ms: int | None = None,
        **changes: Any,
    ) -> range:
        """Commit the counts into the partials; return the offsets of the parts.

        Args:
            producer: The producer that commits.
            epoch: Its epoch.
            caught_up: The partitions that are read up to now; True: all reported ones.
            unread: The partitions that no member can read; they are not reported.
            part_bytes: The size up to which a part is filled.
            append_ms: When the broker says that it appended the parts; now unless given.
            changes: Changed fields of the progress of every reported partition.
        """
        names = {code: at for at, code in self._codes.items()}
        delta = self._counter.take(names, 1).get(0, ShardDelta())
        progress = []
        for at in partitions_of(self.sizes):
            if at in map(named, unread):
                assert not self._reads[at]
                continue
            start = self.ends.get(at, 0)
            is_caught_up = caught_up is True or at in map(named, caught_up)
            fields = {
                "partition": at,
                "topic_id": self.ids[at[0]],
                "partitions": self.sizes[at[0]],
                "start": start,
                "end": start + self._reads[at],
                "begins": at not in self.ends,
                "lost": 0,
                "since_ms": self.since_ms.setdefault(at, self.now_ms),
                "caught_up_ms": self.now_ms if is_caught_up else None,
                "streams": delta.times.get(self._codes.get(at), {}),
            }
            progress.append(PartitionProgress(**{**fields, **changes}))
            self.ends[at] = progress[-1].end
        self._reads.clear()
        commit = CommitId(producer, epoch, self._numbers[producer, epoch])
        self._numbers[producer, epoch] += 1
        parts = encode_commit(commit, 1, delta.panes, progress, part_bytes, written_ms=self.now_ms)
        first = len(self.log)
        # The control record that ends the transaction takes an offset.
        self.log += [*((append_ms or self.now_ms, part) for part in parts), None]
        return range(first, first + len(parts))

    def apply(self) -> None:
        """Apply the partials to their end."""
        for entry in self.log[self.next_offset :]:
            if entry is None:
                self.state.skip_to(self.next_offset + 1)
            else:
                self.state.apply(self.next_offset, entry[0], decode_part(entry[1]))
            self.next_offset += 1

    def close(self, *, has_source_ended: bool = False) -> list[WindowResult]:
        """Close windows and commit the round; return its results."""
        done = self.state.close_windows(has_source_ended=has_source_ended)
        self.chain_errors += done.chain_errors
        self.late.update({(each.stream, each.size_ms): each.number for each in done.late})
        changes = written(self.state)
        assert changes[-1][0] == encode_key(PositionKey())
        for key, value in changes:
            if value is None:
                self.changelog.pop(key, None)
            else:
                self.changelog[key] = value
        for stream, state in self.state.streams.items():
            watermark_ms, before = state.status.watermark_ms, self._watermarks.get(stream)
            assert before is None or watermark_ms >= before, "a watermark went back"
            self._watermarks[stream] = watermark_ms
        return done.results

    def commit(
        self, *, after_ms: int = 0, has_source_ended: bool = False, **changes: Any
    ) -> list[WindowResult]:
        """Write the counts after some time, apply them, and close windows; return the results."""
        self.now_ms += after_ms
        self.write(**changes)
        self.apply()
        return self.close(has_source_ended=has_source_ended)

    def status(self, stream: str = "images") -> StreamStatus:
        """Return the status of a stream."""
        return self.state.streams[stream].status

    @property
    def chain(self) -> tuple[int, int, int]:
        """The numbers of gaps, overlaps and orphans in the chain."""
        position = self.state.position
        return position.gaps, position.overlaps, position.orphans


def named(partition: int | Partition) -> Partition:
    """Return a partition by its name, or by its index in the first topic."""
    return partition if isinstance(partition, tuple) else (EVENTS, partition)


def read_and_commit(shard: Shard, *events: tuple[int, int], **columns: Any) -> list[WindowResult]:
    """Read (time_ms, cluster) events of one partition, commit, and return the results."""
    shard.read(*events, **columns)
    return shard.commit()


def read_now(
    shard: Shard, *partitions: int | tuple[str, int], stream: str = "images", behind_ms: int = 0
) -> None:
    """Read one event of the current time from each of the partitions."""
    for partition in partitions:
        shard.read((shard.now_ms - behind_ms, 0), stream=stream, partition=partition)


def run_for(
    shard: Shard, duration_ms: int, *active: int | tuple[str, int], step_ms: int = STEP_MS, **changes: Any
) -> list[WindowResult]:
    """Let time pass, with one event a step on the active partitions; return the results."""
    results = []
    end_ms = shard.now_ms + duration_ms
    while shard.now_ms < end_ms:
        read_now(shard, *active)
        results += shard.commit(caught_up=True, **changes)
        shard.now_ms += step_ms
    return results
