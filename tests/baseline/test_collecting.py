"""Tests of `driftgauge.baseline.collecting`."""

import numpy as np

from driftgauge.baseline.collecting import LEAST_GROWTH, Collector, NameColumn


def test_collector_grows_and_keeps_order() -> None:
    blocks = [np.full((700, 3), number, np.float32) for number in range(8)]
    collector = Collector(3)
    for number, block in enumerate(blocks):
        collector.add(block, np.full(700, number))
    collected = collector.finish("v1")
    np.testing.assert_array_equal(collected.vectors, np.concatenate(blocks))
    assert collected.times_ms is not None
    assert collected.times_ms.tolist() == np.repeat(np.arange(8), 700).tolist()
    assert collected.model_version == "v1"
    assert collected.segments is None


def test_collector_takes_matrix_of_known_size_once() -> None:
    collector = Collector(2, capacity=LEAST_GROWTH)
    before = collector._matrix.ctypes.data
    for _ in range(4):
        collector.add(np.ones((LEAST_GROWTH // 4, 2), np.float32))
    assert collector.finish(None).vectors.ctypes.data == before


def test_collector_drops_unused_rows() -> None:
    collector = Collector(2, capacity=100)
    collector.add(np.ones((3, 2), np.float32))
    assert collector.finish(None).vectors.shape == (3, 2)


def test_collector_shares_mappings_of_kept_keys() -> None:
    collector = Collector(1, keys={"country"})
    vectors = np.ones((3, 1), np.float32)
    collector.add(vectors, segments=[{"country": "de", "user": "1"}, {"country": "de", "user": "2"}, None])
    segments = collector.finish(None).segments
    assert segments == ({"country": "de"}, {"country": "de"}, {})
    assert segments[0] is segments[1]


def test_collector_shares_labels() -> None:
    collector = Collector(1, name=NameColumn("class", holds_texts=False))
    for _ in range(2):
        collector.add(np.ones((2, 1), np.float32), names=["".join(["c", "ar"]), None], event_ids=["a", None])
    collected = collector.finish(None)
    assert collected.labels == ["car", None, "car", None]
    assert collected.labels[0] is collected.labels[2]
    assert collected.event_ids == ["a", None, "a", None]
    assert collected.texts is None


def test_collector_keeps_of_a_label_what_a_name_shows() -> None:
    collector = Collector(1, name=NameColumn("class", holds_texts=False))
    collector.add(np.ones((2, 1), np.float32), names=["é" * 1_000, "é" * 2_000])
    labels = collector.finish(None).labels
    assert labels == ["é" * 38 + "…"] * 2
    assert labels[0] is labels[1]


def test_collector_samples_texts() -> None:
    collector = Collector(1, name=NameColumn("text", holds_texts=True))
    collector.add(np.ones((2, 1), np.float32), names=[None, "words"], event_ids=[None, None])
    collected = collector.finish(None)
    assert collected.texts is not None
    assert (collected.texts.rows.tolist(), collected.texts.texts) == ([1], ["words"])
    assert (collected.labels, collected.event_ids) == (None, None)
