"""One shard without Kafka: commits of any producers in a log of partials, and a changelog by its codecs."""

from collections import Counter

from driftgauge.core.counting.interval import IntervalCounter, ShardDelta
from driftgauge.core.counting.partial import CommitId, PartitionProgress
from driftgauge.core.windows.changelog import PositionKey
from driftgauge.core.windows.shard import ShardState
from driftgauge.records.changelog import decode, encode_key, encode_value
from driftgauge.records.partials import decode_part, encode_commit
from tests.core.builders import FIRST, MONDAY_MS, build_batch

EVENTS = "embeddings"


def restored(specs, topics, kept, *, shards=1):
    """A shard's state from the records of its changelog."""
    state = ShardState(specs, topics, shards)
    for key, value in kept.items():
        state.restore(*decode(key, value))
    return state


def written(state):
    """The changelog's records of what has changed, the last one the position."""
    return [
        (encode_key(key), None if value is None else encode_value(value))
        for key, value in state.drain_changes("writer")
    ]


class Shard:
    """A shard that holds all streams, and the group that counts for it; every round is committed.

    Attributes:
        log: The partials: (append time, part), or None for what is no record of ours.
        kept: The changelog, compacted.
        ends: The group's committed offset of each source partition.
        late: The events that were too late, by stream and size.
        chain_errors: What the shard found wrong with the chain, in words.
    """

    def __init__(self, *specs, partitions=1, topics=(EVENTS,), now_ms=MONDAY_MS):
        self.specs, self.topics, self.now_ms = specs, topics, now_ms
        self.sizes = dict.fromkeys(topics, partitions)
        self.ids = {topic: f"{topic}-1" for topic in topics}
        self.log, self.kept, self.ends, self.since_ms = [], {}, {}, {}
        self.late, self.chain_errors = Counter(), []
        self._numbers, self._watermarks = Counter(), {}
        self.restart()

    def restart(self, *specs):
        """Lose what was not committed, and go on from the changelog, with these specs if any."""
        self.specs = specs or self.specs
        self._counter, self._reads, self._codes = IntervalCounter(self.specs), Counter(), {}
        self.state = restored(self.specs, self.topics, self.kept)
        self.next_offset = self.state.position.offset

    def partitions(self):
        """All partitions of all topics."""
        return [(topic, index) for topic, size in self.sizes.items() for index in range(size)]

    def read(self, *events, stream="images", partition=0, baseline=FIRST.key, **columns):
        """Let the group read (time_ms, cluster) events of one partition."""
        at = place(partition)
        code = self._codes.setdefault(at, len(self._codes))
        first = self.ends.get(at, 0) + self._reads[at]
        rows = [(code, offset, *event) for offset, event in enumerate(events, first)]
        self._counter.count(build_batch(rows, stream, baseline=baseline, **columns), self.now_ms)
        self._reads[at] += len(events)

    def write(self, *, producer="a", epoch=1, caught_up=(), unread=(), limit_bytes=10**6, **changes):
        """Commit what was read, into the partials; return the offsets of its parts.

        Args:
            producer: Who commits.
            epoch: Which producer of that name.
            caught_up: The partitions that are known to be read up to now; True: all that are reported.
            unread: The partitions that are not reported, for nobody can read them.
            limit_bytes: No part is longer.
            changes: Fields of the progress of every partition that is reported, other than they would be.
        """
        names = {code: at for at, code in self._codes.items()}
        delta = self._counter.take(names, 1).get(0, ShardDelta())
        progress = []
        for at in self.partitions():
            if at in map(place, unread):
                assert not self._reads[at]
                continue
            start = self.ends.get(at, 0)
            is_caught_up = caught_up is True or at in map(place, caught_up)
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
        parts = encode_commit(commit, 1, delta.panes, delta.examples, progress, limit_bytes)
        first = len(self.log)
        # The marker that ends the transaction takes an offset as well.
        self.log += [*((self.now_ms, part) for part in parts), None]
        return range(first, first + len(parts))

    def apply(self):
        """Let the shard read the partials to their end."""
        for entry in self.log[self.next_offset :]:
            if entry is None:
                self.state.skip_to(self.next_offset + 1)
            else:
                self.state.apply(self.next_offset, entry[0], decode_part(entry[1]))
            self.next_offset += 1

    def close(self, *, has_source_ended=False):
        """Do a round, and let it stand; return its results."""
        done = self.state.close_windows(has_source_ended=has_source_ended)
        self.chain_errors += done.chain_errors
        self.late.update({(each.stream, each.size_ms): each.number for each in done.late})
        changes = written(self.state)
        assert changes[-1][0] == encode_key(PositionKey())
        for key, value in changes:
            if value is None:
                self.kept.pop(key, None)
            else:
                self.kept[key] = value
        for stream, state in self.state.streams.items():
            watermark_ms, before = state.status.watermark_ms, self._watermarks.get(stream)
            assert before is None or watermark_ms >= before, "a watermark went back"
            self._watermarks[stream] = watermark_ms
        return done.results

    def commit(self, *, after_ms=0, has_source_ended=False, **how):
        """After some time commit what was read, let the shard apply it, and do a round."""
        self.now_ms += after_ms
        self.write(**how)
        self.apply()
        return self.close(has_source_ended=has_source_ended)

    def status(self, stream="images"):
        """What the shard keeps of a stream."""
        return self.state.streams[stream].status

    @property
    def chain(self):
        """How many gaps, overlaps and orphans the shard has found."""
        position = self.state.position
        return position.gaps, position.overlaps, position.orphans


def place(partition):
    """A partition by its name, or by its index in the first topic."""
    return partition if isinstance(partition, tuple) else (EVENTS, partition)
