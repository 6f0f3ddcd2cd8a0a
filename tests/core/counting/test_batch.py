"""Event batches: filtering keeps the columns aligned."""

import numpy as np
import pytest

from driftgauge.core.counting.event_ids import RecordIds
from tests.builders.batches import build_batch

EVENTS = [(0, 10, 100, 1), (1, 11, 101, 2), (0, 12, 102, 3)]
MASK = np.array([True, False, True])


@pytest.mark.parametrize("event_ids", [(), ("a", None, "c")])
@pytest.mark.parametrize("segments", [(), ({"country": "de"}, {}, None)])
def test_filter_keeps_all_columns(event_ids, segments):
    batch = build_batch(
        EVENTS, baseline="other", credible_ms=[99, 101, 98], event_ids=event_ids, segments=segments
    )
    some = batch.filter(MASK)
    assert (some.stream, some.baseline, len(some)) == ("images", "other", 2)
    assert some.row.tolist() == [0, 2]
    assert some.partition.tolist() == [0, 0]
    assert some.offset.tolist() == [10, 12]
    assert some.time_ms.tolist() == [100, 102]
    assert some.credible_ms.tolist() == [99, 98]
    np.testing.assert_array_equal(some.vectors, batch.vectors[[0, 2]])
    assert list(some.event_ids) == ([event_ids[0], event_ids[2]] if event_ids else [])
    assert list(some.segments) == ([segments[0], segments[2]] if segments else [])


def test_filter_keeps_ids_of_records():
    ids = RecordIds({0: "a-0-", 1: "a-1-"}, np.array([0, 1, 0], np.int32), np.array([10, 11, 12]))
    assert list(build_batch(EVENTS, event_ids=ids).filter(MASK).event_ids) == ["a-0-10", "a-0-12"]


def test_filter_to_nothing_is_empty_batch():
    assert len(build_batch(EVENTS).filter(np.zeros(3, dtype=np.bool_))) == 0
