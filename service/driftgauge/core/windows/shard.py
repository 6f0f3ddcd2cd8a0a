"""One shard of the streams: applies commits, closes windows, and says what the changelog is to hold."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from driftgauge.core.counting.partial import PaneDelta, Part, PartitionProgress
from driftgauge.core.partition import Partition
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.assembly import CommitAssembler, WholeCommit
from driftgauge.core.windows.changelog import Key, PositionKey, ShardPosition, SourceBlock, SourcesKey, Value
from driftgauge.core.windows.closing import WindowCloser, WorkBudget
from driftgauge.core.windows.result import WindowResult
from driftgauge.core.windows.sources import NULL, Link, SourceProgress
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.core.windows.window import Window

__all__ = ["LateEvents", "RoundResult", "ShardState"]

# A producer that has not committed for so long has ended; what it wrote was applied long ago.
_PRODUCER_MS = 3_600_000
# A producer that is replaced at every commit would otherwise fill the position's record.
_EPOCHS = 3
# What a shard cannot close, for it does not know the stream, is kept for as long as partials are.
_UNKNOWN_MS = 7 * 86_400_000
_MAX_FORGOTTEN = 2_000
# A count task reports every 5 s; where no one has for so long, none runs, and no partition is late by that.
_PAUSE_MS = 30_000


@dataclass(frozen=True, slots=True)
class LateEvents:
    """Events that came after their window was final.

    Attributes:
        stream: Their stream.
        size_ms: The window size.
        number: How many there were in one commit.
        first: The source partition and the offset of one of them, as far as the commit says.
    """

    stream: str
    size_ms: int
    number: int
    first: tuple[Partition, int]


@dataclass(slots=True)
class RoundResult:
    """What a shard has to say since the last round.

    Attributes:
        results: The windows to publish.
        late: Events that were too late.
        broken: What the chain of progress lacks or has twice, in words.
    """

    results: list[WindowResult] = field(default_factory=list)
    late: list[LateEvents] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


class ShardState:
    """The state of one shard, which follows from its partials alone, in their order."""

    def __init__(self, specs: Iterable[StreamSpec], topics: Collection[str], shards: int) -> None:
        """Hold nothing.

        Args:
            specs: The configured streams, of this and of other shards.
            topics: The events topics.
            shards: How many shards there are.
        """
        self._specs = {spec.name: spec for spec in specs}
        self.position = ShardPosition(shards, 0, NULL, "")
        """How far the partials have been applied."""
        self.sources = SourceProgress(topics)
        self.streams: dict[str, StreamState] = {}
        self._closers: dict[str, WindowCloser] = {}
        self._assembler = CommitAssembler()
        self.next_offset = 0
        """The next offset of the partials to read; less is covered where parts of commits wait for others."""
        self._has_begun = False
        self._round = RoundResult()
        # Streams with windows that the last round had no time for.
        self._waiting: frozenset[str] = frozenset()

    def restore(self, key: Key, value: Value) -> None:
        """Take in what the changelog holds; each key once."""
        match key:
            case PositionKey():
                self.position = cast("ShardPosition", value)
                self.next_offset = self.position.offset
            case SourcesKey():
                self.sources.restore(key, cast("SourceBlock", value))
            case _:
                self._stream(key.stream).restore(key, value)

    def begin_at(self, offset: int) -> None:
        """Read the partials from this offset on, for their log begins there."""
        self.next_offset = max(self.next_offset, offset)
        self._move()

    def take(self, offset: int, append_ms: int, part: Part) -> None:
        """Take in the part of a commit that stands at an offset of the partials.

        Args:
            offset: The offset.
            append_ms: When the broker appended it.
            part: The part.
        """
        self._assembler.expire(append_ms)
        applied = self.position.producers.get((part.commit.producer, part.commit.epoch))
        if applied is None or part.commit.number > applied[0]:
            commit = self._assembler.take(offset, append_ms, part)
            if commit is not None:
                self._apply(commit, append_ms)
        self.read_to(offset + 1)

    def read_to(self, offset: int) -> None:
        """Take note that the partials have been read up to an offset, past what is no record."""
        self.next_offset = max(self.next_offset, offset)
        self._move()

    def advance(self, budget: WorkBudget | None = None, *, everything: bool = False) -> RoundResult:
        """Move event time on, close what is due, and return all that has happened since the last time.

        Args:
            budget: What may be done in a round, of other shards as well; None: a whole one.
            everything: Every window is due, for the source has ended.
        """
        budget = budget or WorkBudget()
        log_ms = self.position.log_ms
        if log_ms != NULL:
            waiting = []
            # Those that had to wait in the last round come first.
            for stream in sorted(self.streams, key=lambda stream: (stream not in self._waiting, stream)):
                if stream in self._specs:
                    closer = self._closer(stream)
                    results, waits = closer.close(self.sources, log_ms, budget, everything=everything)
                    self._round.results += results
                    waiting += [stream] * waits
                else:
                    self._forget_unknown(self.streams[stream], log_ms)
            self._waiting = frozenset(waiting)
        done, self._round = self._round, RoundResult()
        return done

    def _forget_unknown(self, state: StreamState, log_ms: int) -> None:
        """Forget the panes of a stream that is not configured here, once nothing of it has come for long."""
        read_ms = max((int(times[:, 1].max()) for times in state.times.values()), default=log_ms)
        if log_ms - read_ms > _UNKNOWN_MS:
            state.forget_panes(log_ms, _MAX_FORGOTTEN)

    @property
    def has_waiting(self) -> bool:
        """Whether windows wait that the last round had no time for."""
        return bool(self._waiting)

    def take_changes(self, writer: str) -> Iterator[tuple[Key, Value | None]]:
        """Yield what changed for the changelog, the position last; None for what is deleted.

        Args:
            writer: The transactional id that writes it.
        """
        yield from self.sources.take_changes()
        for _, state in sorted(self.streams.items()):
            yield from state.take_changes()
        self.position = replace(self.position, writer=writer)
        yield PositionKey(), self.position

    def open_windows(self, stream: str) -> Mapping[int, int]:
        """Return how many windows of each size, ms, hold events and are not final."""
        sizes_ms, state = self._specs[stream].sizes_ms, self.streams.get(stream)
        return dict.fromkeys(sizes_ms, 0) if state is None else state.open_windows(sizes_ms)

    def _move(self) -> None:
        """Cover what has been read, but for the parts that wait for others."""
        waiting = self._assembler.first_offset
        offset = self.next_offset if waiting is None else min(waiting, self.next_offset)
        orphans, self._assembler.orphans = self._assembler.orphans, 0
        self.position = replace(self.position, offset=offset, orphans=self.position.orphans + orphans)
        if orphans:
            self._round.broken.append(f"{orphans} parts of commits are without the others; they were dropped")

    def _apply(self, commit: WholeCommit, append_ms: int) -> None:
        position = self.position
        log_ms = max(position.log_ms, append_ms)
        producers = dict(position.producers)
        producers[commit.id.producer, commit.id.epoch] = commit.id.number, log_ms
        if len(producers) > len(position.producers):
            # A new one; only then are there more, and every replica commits to every shard every second.
            producers = {name: known for name, known in producers.items() if log_ms - known[1] < _PRODUCER_MS}
            own = [key for key in producers if key[0] == commit.id.producer]
            for key in sorted(own, key=lambda key: producers[key][1])[:-_EPOCHS]:
                del producers[key]
        if position.log_ms != NULL and log_ms - position.log_ms > _PAUSE_MS:
            self._pause(log_ms - position.log_ms)
        if not self._has_begun:
            # Of topics that were configured since the changelog was written nothing has been heard as well.
            self.sources.begin(log_ms)
            self._has_begun = True
        known = [progress for progress in commit.progress if not self.sources.is_former(progress)]
        links = [self._link(progress, log_ms) for progress in known]
        self.position = replace(
            position,
            log_ms=log_ms,
            producers=producers,
            gaps=position.gaps + links.count(Link.GAP),
            overlaps=position.overlaps + links.count(Link.OVERLAP),
        )
        late: Counter[tuple[str, int]] = Counter()
        firsts: dict[tuple[str, int], tuple[Partition, int]] = {}
        for delta in commit.panes:
            self._add(delta, late, firsts, counted_twice=Link.OVERLAP in links)
        for examples in commit.examples:
            state = self._stream(examples.stream)
            if self._open_sizes(state, examples.start_ms):
                state.add_examples(examples)
        # After the panes: what is late was late by the horizon before the commit.
        for progress in known:
            for stream, time in progress.streams.items():
                spec = self._specs.get(stream)
                self._stream(stream).observe(progress.partition, time, spec.disorder_ms if spec else 0)
        self._round.late += [
            LateEvents(stream, size_ms, number, firsts[stream, size_ms])
            for (stream, size_ms), number in late.items()
        ]

    def _pause(self, pause_ms: int) -> None:
        """Leave the time in which nobody counted out of every wait for a partition."""
        self.sources.pause(pause_ms)
        for state in self.streams.values():
            foremost = tuple((reached_ms, at_ms + pause_ms) for reached_ms, at_ms in state.status.foremost)
            state.set_status(replace(state.status, foremost=foremost))

    def _link(self, progress: PartitionProgress, log_ms: int) -> Link:
        """Take in a partition's progress, and mark what it says of missing records."""
        topic, index = progress.partition
        if self.sources.is_replaced(progress):
            self.sources.replace(topic, max(progress.partitions, index + 1), log_ms)
            for state in self.streams.values():
                state.forget_topic(topic)
        link = self.sources.accept(progress, log_ms)
        if link is not Link.FITS:
            self._round.broken.append(
                f"{topic}[{index}]: a progress from {progress.start} to {progress.end} is a {link.value}"
            )
        if link is Link.GAP or progress.lost:
            for state in self.streams.values():
                if topic in state.times:
                    spec = self._specs.get(state.stream)
                    state.mark_loss(progress.partition, spec.disorder_ms if spec else 0)
        return link

    def _add(
        self,
        delta: PaneDelta,
        late: Counter[tuple[str, int]],
        firsts: dict[tuple[str, int], tuple[Partition, int]],
        *,
        counted_twice: bool,
    ) -> None:
        """Add a pane's delta where a window of it is open; count it as late for the sizes where none is."""
        state = self._stream(delta.stream)
        open_sizes = self._open_sizes(state, delta.start_ms)
        if delta.segment is None:
            spec = self._specs.get(delta.stream)
            for size_ms in set(spec.sizes_ms if spec else ()) - open_sizes:
                late[delta.stream, size_ms] += delta.events
                firsts.setdefault((delta.stream, size_ms), delta.first)
                totals = {**state.status.late, size_ms: state.status.late.get(size_ms, 0) + delta.events}
                state.set_status(replace(state.status, late=totals))
        if not open_sizes:
            return
        state.add_pane(delta)
        if counted_twice:
            stretch = delta.start_ms, delta.start_ms + delta.scheme.pane_ms
            known = state.status.counted_twice
            if stretch not in known:
                state.set_status(replace(state.status, counted_twice=_merge([*known, stretch])))

    def _open_sizes(self, state: StreamState, start_ms: int) -> set[int]:
        """Return the window sizes, ms, of which the window that holds an event time is not final."""
        spec, final_ms = self._specs.get(state.stream), state.status.final_ms
        if spec is None:
            return {0}
        return {
            size_ms
            for size_ms in spec.sizes_ms
            if final_ms is None or Window.around(start_ms, size_ms).end_ms > final_ms
        }

    def _stream(self, stream: str) -> StreamState:
        if stream not in self.streams:
            self.streams[stream] = StreamState(stream)
        return self.streams[stream]

    def _closer(self, stream: str) -> WindowCloser:
        if stream not in self._closers:
            self._closers[stream] = WindowCloser(self._specs[stream], self.streams[stream])
        return self._closers[stream]


def _merge(stretches: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return the union of some stretches of event time, as stretches apart from each other."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(stretches):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return tuple(merged)
