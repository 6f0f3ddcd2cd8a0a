"""A batch's road through the core: assign -> panes -> watermark -> windows -> verdict.

What is held is counted by `StreamCounter`, for each stream. Each round says by which changes the
state of the held partitions moves on; whoever carries the pipeline makes them last, and brings
them, with those of all other partitions, into the `Table`. From there `Windows` closes the
windows of the streams whose home is held.
"""

import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from driftgauge.core.counting.batch import Counted, EventBatch
from driftgauge.core.counter import StreamCounter
from driftgauge.core.partition import Partition
from driftgauge.core.reference import Reference
from driftgauge.core.result import WindowResult
from driftgauge.core.spec import StreamSpec
from driftgauge.core.state import BaselineKey, Change, Progress, ProgressKey, StreamProgress
from driftgauge.core.table import Table
from driftgauge.core.old_windows import Windows

__all__ = ["Pipeline", "Round", "choose_home"]

# A record must stay below what a broker takes, 1 MB unless told otherwise.
_PART_BYTES = 500_000


@dataclass(frozen=True, slots=True)
class Round:
    """What one round brought.

    Attributes:
        results: The windows to publish.
        changes: The changes of the held partitions' state, in the order to write them in.
    """

    results: list[WindowResult]
    changes: list[Change]


def choose_home(stream: str, partitions: Collection[Partition]) -> Partition:
    """Return the partition whose owner is to close a stream's windows, alike in every process."""
    return sorted(partitions)[zlib.crc32(stream.encode()) % len(partitions)]


class Pipeline:
    """Counts batches of events and closes windows, for all streams over the partitions held."""

    def __init__(
        self,
        specs: Iterable[StreamSpec],
        *,
        held: Mapping[int, Partition],
        every: Collection[Partition],
        table: Table,
        find_reference: Callable[[StreamSpec, str], Reference | None],
        established: set[str],
        now_ms: int,
    ) -> None:
        """Go on from what the table holds.

        Args:
            specs: The streams.
            held: The partitions counted here, by the code that batches name them by.
            every: Every partition that events are expected on.
            table: The state of all partitions.
            find_reference: Finds a stream's baseline by its key.
            established: See `StreamCounter`; outlives the pipeline.
            now_ms: Wall time; silence is measured from here.

        Raises:
            MissingBaselineError: A baseline that is counted against on the partitions held is not to be had.
        """
        self._held = held
        self._table = table
        self._specs = {spec.name: spec for spec in specs}
        self._references = {
            name: lambda key, spec=spec: find_reference(spec, key) for name, spec in self._specs.items()
        }
        self._counters = {
            name: StreamCounter(spec, held, table, self._references[name], established, now_ms)
            for name, spec in self._specs.items()
        }
        self._homes: dict[str, Partition] = {}
        self._windows: dict[str, Windows] = {}
        for name, spec in self._specs.items():
            home = table.home(name, lambda stream: choose_home(stream, every))
            if home in held.values():
                self._homes[name] = home
                self._windows[name] = Windows(spec, table)
        self._kept = {code: table.progress(partition) for code, partition in held.items()}
        self._written: set[str] = set()  # the baselines whose files are on their way into the table

    def count(self, batch: EventBatch, now_ms: int) -> Counted:
        """Assign and count a batch that was read at wall time `now_ms`.

        Raises:
            KeyError: The batch's stream is none of the specs'.
        """
        return self._counters[batch.stream].count(batch, now_ms)

    def ask(self, now_ms: int) -> set[int]:
        """Return the partitions whose end offset, measured after this call, the next round needs."""
        return {code for counter in self._counters.values() for code in counter.ask(now_ms)}

    def lose(self, code: int) -> None:
        """Take note that a partition no longer keeps events that were to be read."""
        for counter in self._counters.values():
            counter.lose(code)

    def advance(
        self,
        now_ms: int,
        positions: Mapping[int, int],
        ends: Mapping[int, int],
        *,
        close: bool = True,
        ended: bool = False,
    ) -> Round:
        """Move event time on; return the windows that are due, and what changed.

        Args:
            now_ms: Wall time.
            positions: Next offset to read, of every partition held.
            ends: End offsets of the partitions that `ask` last named; empty while there is no answer.
            close: Close windows; not while the table may be behind what other owners have committed.
            ended: The source has ended: close everything.
        """
        results: list[WindowResult] = []
        changes: list[Change] = []
        for name, counter in self._counters.items():
            counter.advance(now_ms, positions, ends)
            changes += counter.changes()
            if close and name in self._windows:
                closed = self._windows[name].close(now_ms, self._references[name], everything=ended)
                results += closed.results
                changes += [Change(self._homes[name], key, value) for key, value in closed.changes.items()]
        changes += self._keep_baselines()
        # Last, for whoever has read a progress has read all that it stands for; so with any change.
        changes += self._keep_progress(positions, {change.partition for change in changes})
        return Round(results, changes)

    def rewrite(self) -> list[Change]:
        """Take everything for changed at the next round; return what only the windows' closing keeps."""
        for counter in self._counters.values():
            counter.touch()
        self._kept = dict.fromkeys(self._held)
        return [
            Change(self._homes[name], key, value)
            for name, windows in self._windows.items()
            for key, value in windows.state().items()
        ]

    def _keep_baselines(self) -> list[Change]:
        """Keep the file of each baseline that is counted against in one of the partitions held.

        There nobody else forgets it, so that whoever takes over finds it. It is forgotten when no
        partition counts against the baseline any more.
        """
        needed = {key: counter for counter in self._counters.values() for key in counter.counted_against()}
        places: dict[str, Partition] = {}
        for partition in sorted(self._held.values()):
            for key in self._table.baselines(partition):
                places.setdefault(key, partition)
        self._written -= places.keys()
        changes = []
        for key in sorted(needed.keys() - places.keys() - self._written):
            changes += _keep(needed[key].reference(key), min(self._held.values()))
            self._written.add(key)
        for partition in self._held.values():
            for part in self._table.baseline_parts(partition):
                key = part.baseline
                is_of_use = key in needed or self._table.counts_against(key)
                if key not in self._written and not (is_of_use and places.get(key) == partition):
                    changes.append(Change(partition, part, None))
        return changes

    def _keep_progress(self, positions: Mapping[int, int], changed: Collection[Partition]) -> list[Change]:
        changes = []
        for code, partition in self._held.items():
            restored = self._table.progress(partition)
            # Streams that are configured elsewhere, or no longer, keep what they have here.
            streams: dict[str, StreamProgress] = dict(restored.streams) if restored else {}
            streams |= {name: counter.progress(code) for name, counter in self._counters.items()}
            progress = Progress(positions[code], streams)
            if progress != self._kept[code] or partition in changed:
                self._kept[code] = progress
                changes.append(Change(partition, ProgressKey(), progress))
        return changes


def _keep(reference: Reference, partition: Partition) -> list[Change]:
    """Return the changes that put a baseline's file into the state of a partition."""
    content = reference.content
    parts = [content[start : start + _PART_BYTES] for start in range(0, len(content), _PART_BYTES)]
    return [
        Change(partition, BaselineKey(reference.key, number, len(parts)), part)
        for number, part in enumerate(parts)
    ]
