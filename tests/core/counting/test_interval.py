"""The counter of a commit interval: event time and panes, and no state afterwards."""

from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.commit_limit import ENTRY_BYTES, NUMBER_BYTES
from driftgauge.core.counting import interval
from driftgauge.core.counting.interval import IntervalCounter
from driftgauge.core.counting.partial import StreamTime, shard_of
from tests.builders.batches import AWAY, HOME, build_batch
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.references import FIRST
from tests.builders.specs import build_spec

PARTITIONS = {0: HOME, 1: AWAY}
READ_MS = MONDAY_MS + 5


def test_take_reports_event_time_by_partition():
    counter = IntervalCounter([build_spec()])
    times = [MONDAY_MS + 7, MONDAY_MS + 9, MONDAY_MS + 3, MONDAY_MS + 1]
    rows = [
        (partition, row, time_ms, 0)
        for row, (partition, time_ms) in enumerate(zip([0, 0, 1, 0], times, strict=True))
    ]
    counter.count([build_batch(rows, credible_ms=[MONDAY_MS + 6] * 2 + times[2:])], READ_MS)
    counter.count([build_batch([(1, 9, MONDAY_MS + 2, 0)])], READ_MS + 1)
    assert counter.take(PARTITIONS, 1)[0].times == {
        0: {"images": StreamTime(MONDAY_MS + 6, READ_MS, MONDAY_MS + 7)},
        1: {"images": StreamTime(MONDAY_MS + 3, READ_MS + 1, MONDAY_MS + 3)},
    }


def test_record_of_which_one_event_has_no_nearest_centroid_is_not_counted():
    """A record's events may be of several streams; they have the same row."""
    counter = IntervalCounter([build_spec(), build_spec("texts")])
    images = build_batch([(0, 0, MONDAY_MS, 0), (0, 1, MONDAY_MS, 0), (0, 1, MONDAY_MS, 0)])
    images = replace(images, row=np.array([0, 1, 1]))
    texts = replace(build_batch([(0, 1, MONDAY_MS, 0), (0, 2, MONDAY_MS, 0)], "texts"), row=np.array([1, 2]))
    texts.vectors[0, :2] = -np.finfo(np.float32).max, np.finfo(np.float32).max
    assert counter.count([images, texts], READ_MS) == {1: "texts"}
    panes = counter.take(PARTITIONS, 1)[0].panes
    assert [(pane.stream, pane.events) for pane in panes] == [("images", 1), ("texts", 1)]


@pytest.mark.parametrize("forget", [IntervalCounter.drop, lambda counter: counter.take(PARTITIONS, 1)])
def test_take_and_drop_start_empty_interval(forget):
    counter = IntervalCounter([build_spec()])
    counter.count([build_batch([(0, 0, MONDAY_MS, 0)], event_ids=["a"])], READ_MS)
    forget(counter)
    assert counter.take(PARTITIONS, 1) == {}


def test_interval_is_full_by_its_size_or_by_that_of_one_shard(monkeypatch):
    specs = [build_spec(name) for name in ("images", "texts", "sounds", "videos")]
    names = sorted((spec.name for spec in specs), key=lambda name: shard_of(name, 2))
    assert [shard_of(name, 2) for name in names] == [0, 0, 1, 1]
    pane = ENTRY_BYTES + NUMBER_BYTES * specs[0].scheme(FIRST).length
    monkeypatch.setattr(interval, "_STREAM_BYTES", 0)

    def count(*panes):
        counter = IntervalCounter(specs)
        for name, number in zip(names, panes, strict=True):
            rows = [(0, row, MONDAY_MS + row * HOUR_MS, 0) for row in range(number)]
            if rows:
                counter.count([build_batch(rows, name)], READ_MS)
        return counter.is_full(40 * pane, 2)

    # Of 40 panes, a shard's quarter are 10.
    assert [count(9, 0, 9, 0), count(5, 5, 0, 0), count(0, 0, 0, 10)] == [False, True, True]
    assert [count(9, 0, 0, 0), count(0, 0, 0, 0)] == [False, False]


def test_interval_is_full_of_streams_of_one_event():
    counter = IntervalCounter([build_spec("*")])
    number = 0
    while not counter.is_full(2_000_000, 1):
        counter.count([build_batch([(0, number, MONDAY_MS, 0)], f"stream-{number}")], READ_MS)
        number += 1
    # Each takes 3.9 kB, of which 1.1 kB are the tally.
    assert number * 3_900 < 525_000
