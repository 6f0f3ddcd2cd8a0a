"""Replay of recorded events through the service's decoder and core, for backfills and backtests."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from pathlib import Path

import numpy as np

from driftgauge.core.local import LocalDriver
from driftgauge.core.windows.result import WindowResult
from driftgauge.core.windows.shard import RoundResult
from driftgauge.errors import InputError
from driftgauge.events.files import EventFiles
from driftgauge.events.records import Records, StoredRecord
from driftgauge.events.refusals import Refusals
from driftgauge.events.rejection import Reason, overflow
from driftgauge.progress import Track, ignore_progress
from driftgauge.streams import ConfiguredStream, build_decoder

__all__ = ["Replay"]

_BATCH = 1_000
_TOPIC = "files"


class Replay:
    """Counts files of events as the partitions of a topic, one file per partition.

    A stream's watermark is the lowest over the files, so no event is late before the last file is read. The
    order of the files does not matter if no file is out of order by more than the allowed disorder and
    lateness. Windows that are open at the end close then.

    Attributes:
        refusals: The refused events, the first few with file and line.
        late: The events that came too late, by stream and window size in ms.
    """

    def __init__(
        self,
        streams: Sequence[ConfiguredStream],
        *,
        lead_ms: int,
        largest_bytes: int,
        clock_ms: Callable[[], int],
        refusals: Refusals,
        track: Track = ignore_progress,
    ) -> None:
        self._streams = streams
        self._lead_ms = lead_ms
        self._largest_bytes = largest_bytes
        self._clock_ms = clock_ms
        self._track = track
        self.refusals = refusals
        self.late: Counter[tuple[str, int]] = Counter()

    @property
    def rejected(self) -> Counter[tuple[str | None, Reason]]:
        """The number of refused events, by configured stream, or None, and reason."""
        return self.refusals.numbers

    def run(self, paths: Sequence[Path]) -> Iterator[WindowResult]:
        """Yield each result when its window closes or is revised; update `refusals` and `late`.

        Raises:
            InputError: A file is missing, is no .jsonl or .jsonl.gz file, or cannot be read.
        """
        missing = [str(path) for path in paths if not path.is_file()]
        if missing:
            message = f"no such file: {', '.join(missing)}; check the paths"
            raise InputError(message)
        unsupported = [str(path) for path in paths if not path.name.endswith((".jsonl", ".jsonl.gz"))]
        if unsupported:
            message = f"not a file of events: {', '.join(unsupported)}; replay reads .jsonl and .jsonl.gz"
            raise InputError(message)
        decoder = build_decoder(self._streams, self._lead_ms, self._largest_bytes, {})
        driver = LocalDriver([stream.spec for stream in self._streams], _TOPIC, len(paths))
        # The log time stands still, so that no file is given up while another is read.
        log_ms = self._clock_ms()
        positions: dict[int, int] = {}
        files = EventFiles(paths, self._track)
        for source, path in enumerate(paths):
            lines = files.read(path)
            while numbered := list(islice(lines, _BATCH)):
                now_ms = self._clock_ms()
                first = positions.get(source, 0)
                positions[source] = first + len(numbered)
                records = Records(
                    raw=[StoredRecord(value) for _, value in numbered],
                    partition=np.full(len(numbered), source, dtype=np.int32),
                    offset=np.arange(first, positions[source], dtype=np.int64),
                    credible_ms=np.full(len(numbered), now_ms, dtype=np.int64),
                )
                decoded = decoder.decode(records)
                overflown = driver.count(decoded.batches, log_ms)
                rejections = [*decoded.rejections, *map(overflow, overflown, overflown.values())]
                for rejection in sorted(rejections, key=attrgetter("row")):
                    where = f"{path}, line {numbered[rejection.row][0]}"
                    self.refusals.add(where, rejection.reason, rejection.detail, rejection.stream)
                yield from self._results(driver.commit(log_ms, positions))
        # One round publishes a limited number of windows.
        while last := list(self._results(driver.commit(log_ms, positions, has_source_ended=True))):
            yield from last

    def _results(self, round_: RoundResult) -> Iterator[WindowResult]:
        for late in round_.late:
            self.late[late.stream, late.size_ms] += late.number
        yield from round_.results
