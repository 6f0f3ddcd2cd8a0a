"""Tests of `driftgauge.baseline.collecting`."""

import numpy as np

from driftgauge.baseline.collecting import Collector, NameColumn


def test_collector_grows_and_keeps_order() -> None:
    blocks = [np.full((700, 3), number, np.float32) for number in range(8)]
    collector = Collector(3, capacity=100)
    for number, block in enumerate(blocks):
        collector.add(block, np.full(700, number))
    collected = collector.finish("v1")
    np.testing.assert_array_equal(collected.vectors, np.concatenate(blocks))
    assert collected.times_ms is not None
    assert collected.times_ms.tolist() == np.repeat(np.arange(8), 700).tolist()
    assert (collected.model_version, collected.segments) == ("v1", None)


def test_collector_shares_mappings_of_kept_keys() -> None:
    collector = Collector(1, keys={"country"})
    vectors = np.ones((3, 1), np.float32)
    collector.add(vectors, segments=[{"country": "de", "user": "1"}, {"country": "de", "user": "2"}, None])
    segments = collector.finish(None).segments
    assert segments == ({"country": "de"}, {"country": "de"}, {})
    assert segments[0] is segments[1]


def test_collector_shares_labels_and_keeps_what_a_name_shows() -> None:
    collector = Collector(1, name=NameColumn("class", holds_texts=False))
    for long in ("é" * 1_000, "é" * 2_000):
        names = ["".join(["c", "ar"]), None, long]
        collector.add(np.ones((3, 1), np.float32), names=names, event_ids=["a", None, "b"])
    collected = collector.finish(None)
    assert collected.labels == ["car", None, "é" * 38 + "…"] * 2
    assert collected.labels[0] is collected.labels[3]
    assert collected.event_ids == ["a", None, "b"] * 2
    assert collected.texts is None


def test_collector_keeps_beginnings_of_texts() -> None:
    collector = Collector(1, name=NameColumn("text", holds_texts=True))
    collector.add(np.ones((3, 1), np.float32), names=["a" * 2_000, None, "b"])
    collected = collector.finish(None)
    assert (collected.labels, collected.texts) == (None, ["a" * 400, None, "b"])
