"""The memory of a waiting pane that `config check` states, beside the memory that panes take."""

import gc
import tracemalloc
from dataclasses import replace

from driftgauge.cli.config_check import tally_bytes
from driftgauge.core.counting.partial import CommitId, StreamTime
from driftgauge.core.windows.shard import ShardState
from driftgauge.kafka.changelog_reader import key_of
from driftgauge.records.changelog import encode_key
from driftgauge.records.partials import decode_part
from tests.builders.clocks import HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.partial_records import build_pane, build_progress, encode_parts
from tests.builders.references import FIRST
from tests.builders.specs import build_spec

PANES = 5_000


def test_waiting_pane_takes_as_much_as_is_stated():
    """As traced; resident memory is a little more."""
    spec = build_spec("resnet18-fc1", sizes_ms=(MINUTE_MS,), incomplete_ms=10**15)
    scheme = spec.scheme(FIRST)
    state, keys = ShardState([spec], ("embeddings",), 16), set()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(PANES):
            start_ms = MONDAY_MS + number * MINUTE_MS
            times = {"resnet18-fc1": StreamTime(start_ms, start_ms, start_ms)}
            # A second partition is behind, so that no window is due.
            progress = build_progress(
                3, partitions=4, start=number, end=number + 1, begins=not number, lost=0, streams=times
            )
            pane = replace(build_pane(values=range(scheme.length), scheme=scheme), start_ms=start_ms)
            (record,) = encode_parts([pane], [progress])
            part = replace(decode_part(record), commit=CommitId("a", 1, number))
            state.apply(number, MONDAY_MS + HOUR_MS, part)
            if number % 500 == 499:
                state.close_windows()
                keys |= {key_of(encode_key(key)) for key, _ in state.drain_changes()}
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(keys) > PANES
    stated = tally_bytes(scheme.length)
    assert 1 / 1.2 <= (after - before) / PANES / stated <= 1.2
