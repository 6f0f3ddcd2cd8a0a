"""Recorded events through the same decoder and core: the one path for backfills and backtests."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from driftgauge.core.local import LocalDriver
from driftgauge.core.windows.result import WindowResult
from driftgauge.core.windows.shard import RoundResult
from driftgauge.errors import InputError
from driftgauge.events.files import read_lines
from driftgauge.events.records import Records
from driftgauge.events.rejection import Reason
from driftgauge.streams import ConfiguredStream, build_decoder

__all__ = ["Replay"]

_BATCH = 1_000
_TOPIC = "files"


class Replay:
    """Counts files of events as a topic's partitions would be counted, a file a partition.

    A stream's watermark is the lowest over the files, as it is over partitions, so nothing is late
    before the last file is read, and the order of the files does not matter as long as none is
    out of order by more than the allowed disorder and lateness. What is open at the end closes then.
    """

    def __init__(
        self, streams: Sequence[ConfiguredStream], *, lead_ms: int, clock_ms: Callable[[], int]
    ) -> None:
        self._streams = streams
        self._lead_ms = lead_ms
        self._clock_ms = clock_ms
        self.rejected: Counter[tuple[str | None, Reason]] = Counter()
        self.late: Counter[tuple[str, int]] = Counter()
        """The events that came too late, by stream and window size in ms."""

    def run(self, paths: Sequence[Path]) -> Iterator[WindowResult]:
        """Yield every window as it closes or is corrected; count what is refused in `rejected`.

        Raises:
            InputError: A file cannot be read.
        """
        missing = [str(path) for path in paths if not path.is_file()]
        if missing:
            message = f"no such file: {', '.join(missing)}"
            raise InputError(message)
        others = [str(path) for path in paths if not path.name.endswith((".jsonl", ".jsonl.gz"))]
        if others:
            message = f"not a file of events: {', '.join(others)}; replay reads .jsonl and .jsonl.gz"
            raise InputError(message)
        decoder = build_decoder(self._streams, self._lead_ms)
        driver = LocalDriver([stream.spec for stream in self._streams], _TOPIC, len(paths))
        # One moment for all of it: however long it takes to read one file, the others are waited for.
        log_ms = self._clock_ms()
        positions: dict[int, int] = {}
        for source, path in enumerate(paths):
            lines = (line for _, line in read_lines(path))
            while values := list(islice(lines, _BATCH)):
                now_ms = self._clock_ms()
                first = positions.get(source, 0)
                positions[source] = first + len(values)
                records = Records(
                    values=values,
                    partition=np.full(len(values), source, dtype=np.int32),
                    offset=np.arange(first, positions[source], dtype=np.int64),
                    credible_ms=np.full(len(values), now_ms, dtype=np.int64),
                )
                decoded = decoder.decode(records)
                for batch in decoded.batches:
                    overflown = driver.count(batch, log_ms)
                    self.rejected[batch.stream, Reason.NON_FINITE] += int(overflown.sum())
                self.rejected.update((refused.stream, refused.reason) for refused in decoded.rejections)
                yield from self._results(driver.commit(log_ms, positions))
        # A round publishes so many and no more.
        while last := list(self._results(driver.commit(log_ms, positions, has_source_ended=True))):
            yield from last

    def _results(self, round_: RoundResult) -> Iterator[WindowResult]:
        for late in round_.late:
            self.late[late.stream, late.size_ms] += late.number
        yield from round_.results
