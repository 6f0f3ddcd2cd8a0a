"""Recorded events through the same decoder and core: the one path for backfills and backtests."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from driftgauge.core.pipeline import Pipeline
from driftgauge.core.result import WindowResult
from driftgauge.core.table import Table
from driftgauge.errors import InputError
from driftgauge.events.files import read_lines
from driftgauge.events.records import Records
from driftgauge.events.rejection import Reason
from driftgauge.streams import ConfiguredStream, build_decoder

__all__ = ["Replay"]

_BATCH = 1_000


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
        self.late: Counter[str] = Counter()

    def run(self, paths: Sequence[Path]) -> Iterator[WindowResult]:
        """Yield every window as it closes or is corrected; count what is refused in `rejected` and `late`.

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
        positions = dict.fromkeys(range(len(paths)), 0)
        files = {source: (str(path), source) for source, path in enumerate(paths)}
        table = Table()
        table.expect(files.values())
        pipeline = Pipeline(
            [stream.spec for stream in self._streams],
            held=files,
            every=files.values(),
            table=table,
            find_reference=lambda spec, key: spec.find(key),
            established=set(),
            now_ms=self._clock_ms(),
        )

        def advance(*, ended: bool) -> Iterator[WindowResult]:
            moved = pipeline.advance(self._clock_ms(), positions, ends={}, ended=ended)
            for change in moved.changes:
                table.apply(change)
            yield from moved.results

        for source, path in enumerate(paths):
            lines = (line for _, line in read_lines(path))
            while values := list(islice(lines, _BATCH)):
                now_ms = self._clock_ms()
                first = positions[source]
                positions[source] += len(values)
                records = Records(
                    values=values,
                    partition=np.full(len(values), source, dtype=np.int32),
                    offset=np.arange(first, positions[source], dtype=np.int64),
                    credible_ms=np.full(len(values), now_ms, dtype=np.int64),
                )
                decoded = decoder.decode(records)
                for batch in decoded.batches:
                    counted = pipeline.count(batch, now_ms)
                    self.late[batch.stream] += int((counted.late & ~counted.overflown).sum())
                    self.rejected[batch.stream, Reason.NON_FINITE] += int(counted.overflown.sum())
                self.rejected.update((refused.stream, refused.reason) for refused in decoded.rejections)
                yield from advance(ended=False)
        # What the last round counted is in the table now; a round publishes so many and no more.
        while last := list(advance(ended=True)):
            yield from last
