"""The counter of a commit interval: panes, examples and event time by shard, and no state afterwards."""

from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.counting import interval as module
from driftgauge.core.counting.interval import IntervalCounter
from driftgauge.core.counting.partial import StreamTime, shard_of
from tests.builders.batches import build_batch, build_partitions
from tests.builders.clocks import HOUR_MS, MONDAY_MS
from tests.builders.references import FIRST, OTHER
from tests.builders.specs import build_schedule, build_spec

PARTITIONS = dict(enumerate(build_partitions(2)))
READ_MS = MONDAY_MS + 5


def test_take_gives_each_stream_to_its_shard():
    specs = [build_spec(f"stream-{number}") for number in range(8)]
    counter = IntervalCounter(specs)
    for number, spec in enumerate(specs):
        counter.count(
            [build_batch([(number % 2, number, MONDAY_MS, 0)], spec.name, event_ids=["a"])], READ_MS
        )
    deltas = counter.take(PARTITIONS, 4)
    for shard, delta in deltas.items():
        streams = {spec.name for spec in specs if shard_of(spec.name, 4) == shard}
        assert {pane.stream for pane in delta.panes} == streams
        assert {examples.stream for examples in delta.examples} == streams
        assert {stream for times in delta.times.values() for stream in times} == streams
    assert sum(len(delta.panes) for delta in deltas.values()) == 8


def test_stream_of_two_baselines_has_panes_of_both():
    spec = build_spec(baselines=build_schedule((MONDAY_MS + HOUR_MS, OTHER)))
    counter = IntervalCounter([spec])
    for reference, start_ms in ((FIRST, MONDAY_MS), (OTHER, MONDAY_MS + HOUR_MS)):
        counter.count([build_batch([(0, 0, start_ms, 0)], baseline=reference.key)], READ_MS)
    panes = counter.take(PARTITIONS, 1)[0].panes
    assert sorted((pane.scheme.baseline, pane.start_ms) for pane in panes) == sorted(
        [(FIRST.key, MONDAY_MS), (OTHER.key, MONDAY_MS + HOUR_MS)]
    )


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


def test_event_without_nearest_centroid_has_no_effect():
    counter = IntervalCounter([build_spec()])
    batch = build_batch([(0, 0, MONDAY_MS, 0), (1, 0, MONDAY_MS, 0)])
    batch.vectors[1, :2] = -np.finfo(np.float32).max, np.finfo(np.float32).max
    assert counter.count([batch], READ_MS) == {1: batch.stream}
    delta = counter.take(PARTITIONS, 1)[0]
    assert [pane.events for pane in delta.panes] == [1]
    assert set(delta.times) == {0}


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


def test_interval_is_full_at_limit_of_panes(monkeypatch):
    monkeypatch.setattr(module, "_MAX_NUMBERS", 10 * build_spec().scheme(FIRST).length)
    counter = IntervalCounter([build_spec()])
    counter.count([build_batch([(0, row, MONDAY_MS + row * HOUR_MS, 0) for row in range(9)])], READ_MS)
    assert not counter.is_full
    counter.count([build_batch([(0, 9, MONDAY_MS + 9 * HOUR_MS, 0)])], READ_MS)
    assert counter.is_full


def test_count_rejects_unknown_stream_or_baseline():
    counter = IntervalCounter([build_spec()])
    with pytest.raises(KeyError):
        counter.count([build_batch([(0, 0, 0, 0)], "texts")], READ_MS)
    with pytest.raises(KeyError, match=OTHER.key):
        counter.count([build_batch([(0, 0, 0, 0)], baseline=OTHER.key)], READ_MS)
