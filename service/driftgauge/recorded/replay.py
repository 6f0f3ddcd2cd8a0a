"""Replay of recorded events through the service's decoder and core, for backfills and backtests."""

from collections import Counter
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path

import numpy as np

from driftgauge.clock import Clock
from driftgauge.config import Settings
from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.local import LocalDriver
from driftgauge.core.windows.result import WindowResult
from driftgauge.events.clock_gaps import ClockGaps
from driftgauge.events.records import OLDEST_MS
from driftgauge.events.refusals import Refusals
from driftgauge.events.rejection import Reason, overflow
from driftgauge.events.schemas import SchemaSource
from driftgauge.events.timestamps import LAST_MS
from driftgauge.progress import ignore_progress
from driftgauge.recorded.record_files import RecordFiles, RecordSource, decode_batch
from driftgauge.streams import ConfiguredStream, build_decoder

__all__ = ["RecordReplay", "Replay"]

_TOPIC = "recorded"


class RecordReplay:
    """Counts recorded partitions of a topic.

    Windows close once all events are counted, so that no event is late, in whatever order the partitions and
    their records are read. Until then the counts of all windows are in memory.

    Attributes:
        settings: The configuration.
        streams: The streams.
        topic: The topic.
        refusals: The refused events, the first few with their places.
        surplus: The events of streams beyond `most` of their entry, by its pattern.
        records: The number of records that were read.
        events: The number of events that were counted, those that are surplus among them.
        gaps: By how much the times of the counted events differ from those of their records.
    """

    def __init__(
        self,
        streams: Sequence[ConfiguredStream],
        settings: Settings,
        *,
        clock: Clock,
        refusals: Refusals,
        topic: str,
        schemas: SchemaSource | None = None,
        age_ms: int = OLDEST_MS,
    ) -> None:
        """Create a replay.

        Args:
            streams: The streams.
            settings: The configuration.
            clock: The clock.
            refusals: Counts the refused events.
            topic: The topic whose records are read.
            schemas: Where schemas come from, for encodings that need them.
            age_ms: How far an event's time may be behind its record; most records in files have no time.

        Raises:
            ConfigError: The topic's mapping cannot be used.
        """
        self.settings, self.topic = settings, topic
        inputs = settings.inputs_of(topic)
        self._decoder = build_decoder(
            streams, settings.allowed_lead, settings.largest_record, inputs, schemas, age_ms=age_ms
        )
        self.streams = streams
        self._clock = clock
        self.refusals = refusals
        self.surplus: Counter[str] = Counter()
        self.records = self.events = 0
        self.gaps = ClockGaps()

    def count(
        self, source: RecordSource, from_ms: int = 0, until_ms: int = LAST_MS + 1
    ) -> Iterator[WindowResult]:
        """Yield the result of each window, the oldest end of a stream first; update the attributes.

        Args:
            source: The records.
            from_ms: The first event time that is counted.
            until_ms: The event time before which counting ends.

        Raises:
            InputError, ServiceError: The source cannot be read, or the schema registry does not answer.
        """
        driver = LocalDriver([stream.spec for stream in self.streams], _TOPIC, source.partitions)
        log_ms = self._clock.wall_ms()
        positions: dict[int, int] = {}
        for raw in source.batches():
            self.records += len(raw)
            decoded, records = decode_batch(self._decoder.decode, raw, self._clock)
            inside = (_within(batch, from_ms, until_ms) for batch in decoded.batches)
            batches = [batch for batch in inside if len(batch)]
            self.events += sum(map(len, batches))
            for batch in batches:
                rows, firsts = np.unique(batch.row, return_index=True)
                self.gaps.add(batch.stream, [records[row] for row in rows], batch.time_ms[firsts].tolist())
            overflown = driver.count(batches, log_ms)
            rejections = [*decoded.rejections, *map(overflow, overflown, overflown.values())]
            for rejection in sorted(rejections, key=attrgetter("row")):
                where = source.place(records[rejection.row])
                self.refusals.add(where, rejection.reason, rejection.detail, rejection.stream)
            positions[raw[-1].partition() or 0] = (raw[-1].offset() or 0) + 1
            driver.apply(log_ms, positions)
        is_left = True
        while is_left:
            # One round publishes a limited number of windows.
            round_ = driver.shard.close_windows(has_source_ended=True)
            is_left = driver.shard.has_backlog
            for surplus in round_.surplus:
                self.surplus[surplus.match] += surplus.number
            yield from round_.results


class Replay(RecordReplay):
    """Counts files of events as the partitions of a topic, one file per partition; see `RecordReplay`."""

    @property
    def rejected(self) -> Counter[tuple[str | None, Reason]]:
        """The number of refused events, by configured stream, or None, and reason."""
        return self.refusals.numbers

    def run(self, paths: Sequence[Path]) -> Iterator[WindowResult]:
        """Yield the result of each window, see `count`; update `refusals` and `surplus`.

        Raises:
            InputError: A file is missing, is no .jsonl or .jsonl.gz file, or cannot be read.
        """
        return self.count(RecordFiles(paths, self.topic, ignore_progress, self.refusals))


def _within(batch: EventBatch, from_ms: int, until_ms: int) -> EventBatch:
    inside = (batch.time_ms >= from_ms) & (batch.time_ms < until_ms)
    return batch if inside.all() else batch.filter(inside)
