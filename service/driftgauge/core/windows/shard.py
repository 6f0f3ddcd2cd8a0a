"""The state of one shard: applies commits, closes windows, and yields changelog entries."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

from driftgauge.core.by_stream import ByStream
from driftgauge.core.counting.partial import CommitId, CommitPart, PartitionProgress
from driftgauge.core.judging.calibration import Calibration
from driftgauge.core.spec import StreamSpec
from driftgauge.core.windows.admission import Admission, EntryStreams, SurplusEvents
from driftgauge.core.windows.assembly import CommitAssembler
from driftgauge.core.windows.changelog import (
    AcceptedLossKey,
    Key,
    PositionKey,
    ShardPosition,
    SourceBlock,
    SourcesKey,
    Value,
)
from driftgauge.core.windows.closing import WindowCloser
from driftgauge.core.windows.deltas import LateEvents, apply_panes
from driftgauge.core.windows.result import WindowResult
from driftgauge.core.windows.round_load import RoundLoad
from driftgauge.core.windows.source_progress import NULL, Continuity, SourceProgress
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.core.windows.work_budget import WorkBudget

__all__ = ["RoundResult", "ShardState"]

# Panes of an unknown stream cannot be closed, so the shard keeps them for as long as partials are kept.
_EVENTLESS_MS = 7 * 86_400_000
# A tenant may come once a month, and a calibration takes weeks.
_RETIRED_MS = 30 * 86_400_000
# A producer that has not committed for this long has ended.
_PRODUCER_MS = 3_600_000
# A count task reports every 5 s. After so long without a report none runs, and no partition is late by that.
_DOWNTIME_MS = 30_000
# A reader whose clock differs from the brokers' by more stops counting.
_CLOCK_ERROR_MS = 2_000


@dataclass(slots=True)
class RoundResult:
    """The results of a shard since the last round.

    Attributes:
        results: The windows to publish.
        late: The late events.
        surplus: The events of streams that were not admitted.
        chain_errors: Messages about gaps and overlaps in the chain of progress, and about dropped parts.
    """

    results: list[WindowResult] = field(default_factory=list)
    late: list[LateEvents] = field(default_factory=list)
    surplus: list[SurplusEvents] = field(default_factory=list)
    chain_errors: list[str] = field(default_factory=list)


class ShardState:
    """The state of one shard, a deterministic function of its partials in their order."""

    def __init__(self, specs: Iterable[StreamSpec], topics: Collection[str], shards: int) -> None:
        """Begin with empty state.

        Args:
            specs: The configured streams of all shards.
            topics: The events topics.
            shards: The number of shards.
        """
        self._specs = ByStream({spec.name: spec for spec in specs})
        self.position = ShardPosition(shards, 0, NULL)
        """The position up to which the partials have been applied."""
        self.sources = SourceProgress(topics)
        self.streams: dict[str, StreamState] = {}
        self._admission = Admission(self._specs, self.streams)
        self.load = RoundLoad()
        """What the changes since the last commit will write."""
        self._closers: dict[str, WindowCloser] = {}
        self._assembler = CommitAssembler()
        self.next_offset = 0
        """The next offset of the partials to read; the position is lower while parts wait for others."""
        self._has_begun = self._has_acceptance = False
        self._round = RoundResult()
        self._rounds = 0
        self._turns: dict[str, int] = {}  # the round in which each stream last published windows
        self.has_backlog = False
        """Whether the last round left due windows."""

    def restore(self, key: Key, value: Value) -> None:
        """Restore a changelog entry; call once for each key."""
        match key:
            case PositionKey():
                self.position = cast("ShardPosition", value)
                self.next_offset = self.position.offset
            case AcceptedLossKey():
                self._has_acceptance = True
            case SourcesKey():
                self.sources.restore(key, cast("SourceBlock", value))
            case _:
                self._stream(key.stream).restore(key, value)

    def apply(self, offset: int, append_ms: int, part: CommitPart) -> None:
        """Apply the part of a commit; its commit takes effect with the last part.

        Args:
            offset: The part's offset in the partials.
            append_ms: When the broker appended the part.
            part: The part.
        """
        self._assembler.expire(self.position.log_ms)
        applied = self.position.producers.get((part.commit.producer, part.commit.epoch))
        if applied is None or part.commit.number > applied[0]:
            # Log time stands still while no commit is applied, so the part's own time tells how old it is.
            log_ms = self._log_ms(append_ms, part)
            commit = self._assembler.add(offset, log_ms, part)
            if commit is not None:
                self._apply_commit(commit, offset, log_ms)
        self.skip_to(offset + 1)

    def skip_to(self, offset: int) -> None:
        """Move the read position to an offset, past control records and deleted records."""
        self.next_offset = max(self.next_offset, offset)
        waiting = self._assembler.first_offset
        covered = self.next_offset if waiting is None else min(waiting, self.next_offset)
        orphans, self._assembler.orphans = self._assembler.orphans, 0
        self.position = replace(
            self.position,
            offset=covered,
            orphans=self.position.orphans + orphans,
        )
        if orphans:
            self._round.chain_errors.append(f"{orphans} parts of incomplete commits were dropped")

    def close_windows(
        self, budget: WorkBudget | None = None, *, has_source_ended: bool = False
    ) -> RoundResult:
        """Advance event time, close due windows, and return the results since the last round.

        Args:
            budget: The work left in this round, shared with other shards; None: a whole budget.
            has_source_ended: The source has ended: every window is due.
        """
        budget = budget or WorkBudget()
        log_ms = self.position.log_ms
        if log_ms != NULL:
            self._rounds, self.has_backlog = self._rounds + 1, False
            # The one that published least recently comes first, so that a long backlog holds up no other.
            for stream in sorted(self.streams, key=lambda stream: (self._turns.get(stream, 0), stream)):
                if stream in self._specs and not self.streams[stream].is_retired:
                    results, is_left = self._closer(stream).close(
                        self.sources, log_ms, budget, has_source_ended=has_source_ended
                    )
                    self._round.results += results
                    self.has_backlog |= is_left
                    if results:
                        self._turns[stream] = self._rounds
                self._retire_if_eventless(stream, log_ms, budget)
        done, self._round = self._round, RoundResult()
        return done

    @property
    def removed_alarms(self) -> list[WindowResult]:
        """The last conclusive windows that say drift, of sizes that their streams no longer have."""
        return [
            state.conclusive[size_ms]
            for stream, state in sorted(self.streams.items())
            if (spec := self._specs.get(stream)) is not None
            for size_ms in sorted(state.conclusive.keys() - set(spec.sizes_ms))
            if state.has_alarm(size_ms)
        ]

    @property
    def entries(self) -> Mapping[str, EntryStreams]:
        """The streams of each entry that streams share, by its pattern."""
        return self._admission.entries(self.position.surplus)

    def drain_changes(self) -> Iterator[tuple[Key, Value | None]]:
        """Yield the changelog entries since the last call, the position last; None for a deleted key."""
        if self._has_acceptance:
            self._has_acceptance = False
            yield AcceptedLossKey(), None
        yield from self.sources.drain_changes()
        for stream, state in sorted(self.streams.items()):
            yield from state.drain_changes()
            if state.is_forgotten:
                del self.streams[stream]
                self._turns.pop(stream, None)
        self.load.bytes = 0
        yield PositionKey(), self.position

    def accept_loss(self, lead_ms: int) -> None:
        """Go on without records of the changelog: mark all windows that may have begun before now.

        Args:
            lead_ms: How far event times may be ahead of log time.
        """
        lost_to_ms = self.position.log_ms + lead_ms
        self.position = replace(self.position, lost_to_ms=lost_to_ms)
        for state in self.streams.values():
            state.mark_all_lost(lost_to_ms)

    def _log_ms(self, append_ms: int, part: CommitPart) -> int:
        """Return the log time once a part is appended.

        A broker's clock may be wrong. Log time that is ahead would hold up every window until the readers'
        clocks reach it, so a part moves it no further than its reader's clock allows.
        """
        return max(self.position.log_ms, min(append_ms, part.written_ms + _CLOCK_ERROR_MS))

    def _apply_commit(self, commit: CommitPart, offset: int, log_ms: int) -> None:
        position = self.position
        if position.log_ms != NULL and log_ms - position.log_ms > _DOWNTIME_MS:
            self._exclude_downtime(log_ms - position.log_ms)
        if not self._has_begun:
            # The configuration may have gained topics since the changelog was written.
            self.sources.start_waiting(log_ms)
            self._has_begun = True
        known = [progress for progress in commit.partitions if not self.sources.is_of_former_topic(progress)]
        continuities = [self._accept(progress, log_ms) for progress in known]
        panes, surplus_events, surplus = self._admission.admit(commit.panes, position.surplus, self._stream)
        self._round.surplus += surplus_events
        self.position = replace(
            position,
            log_ms=log_ms,
            producers=_add_commit(position, commit.commit, offset, log_ms),
            gaps=position.gaps + continuities.count(Continuity.GAP),
            overlaps=position.overlaps + continuities.count(Continuity.OVERLAP),
            surplus=surplus,
        )
        self._round.late += apply_panes(
            panes, self._specs, self._stream, counted_twice=Continuity.OVERLAP in continuities
        )
        # After the panes: an event is late by the horizon before the commit.
        for progress in known:
            is_shortened = self.sources.is_shortened(progress.partition)
            for stream, time in progress.streams.items():
                if not self._admission.is_admitted(stream):
                    continue
                spec = self._specs.get(stream)
                self._stream(stream).observe(
                    progress.partition,
                    time,
                    spec.disorder_ms if spec else 0,
                    is_shortened=is_shortened,
                )
        self.sources.note_ends(known)

    def _exclude_downtime(self, downtime_ms: int) -> None:
        """Exclude the time in which no count task ran from every wait for a partition."""
        self.sources.exclude_downtime(downtime_ms)
        for state in self.streams.values():
            foremost = tuple((reached_ms, at_ms + downtime_ms) for reached_ms, at_ms in state.status.foremost)
            state.set_status(replace(state.status, foremost=foremost))

    def _accept(self, progress: PartitionProgress, log_ms: int) -> Continuity:
        """Add a partition's progress to the chain, and mark data loss if records are missing."""
        topic, index = progress.partition
        if self.sources.is_of_new_topic(progress):
            self.sources.replace_topic(topic, max(progress.partitions, index + 1), log_ms)
            for state in self.streams.values():
                state.drop_topic(topic)
        continuity = self.sources.accept(progress, log_ms)
        if continuity is not Continuity.CONTIGUOUS:
            self._round.chain_errors.append(
                f"{topic}[{index}]: {continuity.value} at the progress from offset {progress.start} "
                f"to {progress.end}"
            )
        if continuity is Continuity.GAP or progress.lost:
            for state in self.streams.values():
                if topic in state.times:
                    spec = self._specs.get(state.stream)
                    state.mark_loss(progress.partition, spec.disorder_ms if spec else 0)
        return continuity

    def _retire_if_eventless(self, stream: str, log_ms: int, budget: WorkBudget) -> None:
        """Retire a stream without an entry of its own that has no more events; forget it after a month.

        It retires once its partitions are read for seven days past its last event, and its windows cannot
        change.
        """
        spec, state = self._specs.get(stream), self.streams[stream]
        if spec is not None and not spec.is_shared:
            return
        if state.is_forgotten:
            return
        if state.status.retired_ms is not None:
            if log_ms - state.status.retired_ms > _RETIRED_MS:
                state.forget()
            return
        if state.read_ms == NULL:
            # Its topic was created again before the state was restored.
            state.read_ms = log_ms
        eventless_ms = state.read_ms + _EVENTLESS_MS
        if log_ms <= eventless_ms or self.sources.read_to_ms(state.times) <= eventless_ms:
            return
        if spec is not None and not self._closer(stream).has_published_all:
            return
        if state.retire(log_ms, () if spec is None else spec.sizes_ms, budget):
            self._admission.release()
            self._closers.pop(stream, None)

    def _siblings(self, stream: str, size_ms: int, baseline: str) -> Iterator[tuple[str, Calibration]]:
        """Yield the calibrations of streams of this shard that share the entry of a stream."""
        spec = self._specs[stream]
        if not spec.is_shared:
            return
        for name, state in self.streams.items():
            found = state.calibrations.get((size_ms, baseline))
            if found is not None and name != stream and self._specs.get(name) is spec:
                yield name, found

    def _stream(self, stream: str) -> StreamState:
        if stream not in self.streams:
            state = self.streams[stream] = StreamState(stream, self.load)
            lost_to_ms = self.position.lost_to_ms
            # Its state may be among what was lost.
            if lost_to_ms is not None and self.position.log_ms - lost_to_ms <= _EVENTLESS_MS:
                state.mark_all_lost(lost_to_ms)
        return self.streams[stream]

    def _closer(self, stream: str) -> WindowCloser:
        if stream not in self._closers:
            spec = replace(self._specs[stream], name=stream)
            self._closers[stream] = WindowCloser(spec, self.streams[stream], partial(self._siblings, stream))
        return self._closers[stream]


def _add_commit(
    position: ShardPosition, commit: CommitId, offset: int, log_ms: int
) -> dict[tuple[str, int], tuple[int, int, int]]:
    """Return the applied commits that a position must know after one more, whose last part is at an offset.

    A restore reads from the covered offset on, and repeats no commit there. Of the others the newest of each
    producer is known for an hour: no producer may write a commit twice, but the shard does not rely on that.
    """
    known = {**position.producers, (commit.producer, commit.epoch): (commit.number, offset, log_ms)}
    newest: dict[str, int] = {}
    for (producer, _), (_, last, _) in known.items():
        newest[producer] = max(newest.get(producer, 0), last)
    return {
        (producer, epoch): each
        for (producer, epoch), each in known.items()
        if each[1] >= position.offset or (each[1] == newest[producer] and log_ms - each[2] < _PRODUCER_MS)
    }
