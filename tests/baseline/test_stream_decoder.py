"""Tests of `driftgauge.baseline.stream_decoder`."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson
import pytest

from driftgauge.baseline.stream_decoder import StreamDecoder, TopicEvents
from driftgauge.config.inputs import InputSettings
from driftgauge.events.mapped_readers import build_reader
from driftgauge.events.records import Records, StoredRecord
from driftgauge.events.rejection import Reason

NOW_MS = 1_762_128_000_000
PAIR = InputSettings.model_validate(
    {
        "timestamp": "at",
        "model_version": "model",
        "vectors": [
            {"stream": {"constant": "images"}, "embedding": "image"},
            {"stream": {"constant": "texts"}, "embedding": "text"},
        ],
    }
)


def native(vector: list[float], stream: str = "images", **more: Any) -> dict[str, Any]:
    return {"stream": stream, "timestamp": NOW_MS, "embedding": vector, **more}


def pair(image: list[float], text: list[float], **more: Any) -> dict[str, Any]:
    return {"at": NOW_MS, "image": image, "text": text, **more}


def records(values: Iterable[dict[str, Any] | bytes]) -> Records:
    raw = [
        StoredRecord(
            value if isinstance(value, bytes) else orjson.dumps(value), "embeddings", 3, 100 + number
        )
        for number, value in enumerate(values)
    ]
    rows = len(raw)
    return Records(raw, np.zeros(rows, np.int32), np.arange(rows), np.full(rows, NOW_MS))


def decoder(settings: InputSettings | None = None, *, version: str | None = None) -> StreamDecoder:
    return StreamDecoder(
        TopicEvents("embeddings", "images", NOW_MS - 1_000, NOW_MS + 1_000, model_version=version),
        build_reader("embeddings", {} if settings is None else {"embeddings": settings}),
        lead_ms=5_000,
        age_ms=5_000,
        largest_bytes=1_000_000,
        place=lambda record: f"{record.topic()}[{record.partition()}]@{record.offset()}",
    )


def test_most_frequent_length_of_first_batch_is_dimension() -> None:
    tested = decoder()
    assert tested.decode(records([native([1], "texts")])).batches == ()
    decoded = tested.decode(records([native([1, 2, 3]), native([1, 2]), native([3, 4])]))
    np.testing.assert_array_equal(decoded.batches[0].vectors, [[1, 2], [3, 4]])
    assert decoded.rejections[0].reason is Reason.WRONG_DIMENSION


@pytest.mark.parametrize(
    ("last", "taken", "reasons"),
    [(9, [[1, 2], [6, 7]], []), (1e39, [[1, 2]], [Reason.NON_FINITE])],
)
def test_fault_in_other_stream_refuses_whole_record(
    last: float, taken: list[list[int]], reasons: list[Reason]
) -> None:
    decoded = decoder(PAIR).decode(records([pair([1, 2], [3, 4, 5]), pair([6, 7], [8, last, 10])]))
    (batch,) = decoded.batches
    np.testing.assert_array_equal(batch.vectors, taken)
    assert [each.reason for each in decoded.rejections] == reasons


@pytest.mark.parametrize("settings", [None, PAIR])
def test_only_version_is_learned(settings: InputSettings | None) -> None:
    values = (
        [native([1, 2]), native([3, 4], model_version="v1")]
        if settings is None
        else [pair([1, 2], [1]), pair([3, 4], [1], model="v1")]
    )
    tested = decoder(settings)
    assert len(tested.decode(records(values[:1])).batches[0]) == 1
    assert tested.model_version is None
    assert len(tested.decode(records(values)).batches[0]) == 2
    assert tested.model_version == "v1"


def test_version_is_not_learned_from_faulty_record() -> None:
    tested = decoder(PAIR)
    assert len(tested.decode(records([pair([1, 2], [1])])).batches[0]) == 1
    decoded = tested.decode(records([{"at": NOW_MS, "image": [1, 2], "text": True, "model": "v1"}]))
    assert decoded.batches == ()
    assert tested.model_version is None


@pytest.mark.parametrize("settings", [None, PAIR])
@pytest.mark.parametrize("outside_ms", [NOW_MS - 1_001, NOW_MS + 1_000])
@pytest.mark.parametrize("comes_first", [False, True])
def test_version_and_dimension_are_learned_from_range_only(
    settings: InputSettings | None, outside_ms: int, comes_first: bool
) -> None:
    if settings is None:
        old = native([1, 2, 3], timestamp=outside_ms, model_version="v1")
        same = native([7, 8], timestamp=outside_ms, model_version="v1")
        new = native([4, 5], model_version="v2")
    else:
        old = pair([1, 2, 3], [1], at=outside_ms, model="v1")
        same = pair([7, 8], [1], at=outside_ms, model="v1")
        new = pair([4, 5], [1], model="v2")
    tested = decoder(settings)
    if comes_first:
        assert tested.decode(records([old])).batches == ()
    decoded = tested.decode(records([old, old, new, same]))
    assert tested.model_version == "v2"
    (batch,) = decoded.batches
    assert batch.vectors.tolist() == [[4, 5]]
    # Outside the range a vector of another length is another model's, and no fault.
    assert decoded.rejections == ()
    assert tested.outside[outside_ms > NOW_MS] == 3 + comes_first


TWO_SOURCES = {
    "timestamp": "at",
    "vectors": [
        {"stream": {"constant": "images"}, "embedding": "image"},
        {"stream": "name", "embedding": "v"},
    ],
}


def test_new_stream_beside_this_one_is_learned_later() -> None:
    tested = decoder(InputSettings.model_validate(TWO_SOURCES))
    for name in ("a", "b"):
        value = {"at": NOW_MS, "image": [1, 2], "name": name, "v": [1]}
        assert len(tested.decode(records([value])).batches[0]) == 1


ITEMS = {"timestamp": "data[*].at", "stream": {"constant": "images"}, "embedding": "data[*].v"}


@pytest.mark.parametrize(
    ("times", "taken", "outside"),
    [
        ([0, 999], [0, 999], [0, 0]),
        ([-2_000, 0, 2_000], [0], [0, 0]),
        ([0, -2_000, 2_000, 5], [0, 5], [0, 0]),
        ([-2_000, 2_000], [], [1, 0]),
        ([2_000, -2_000], [], [0, 1]),
    ],
)
def test_items_of_a_record_are_taken_by_their_own_times(
    times: list[int], taken: list[int], outside: list[int]
) -> None:
    tested = decoder(InputSettings.model_validate(ITEMS))
    value = {"data": [{"at": NOW_MS + time, "v": [1, time]} for time in times]}
    decoded = tested.decode(records([{"data": [{"at": NOW_MS, "v": [1, 7]}]}, value]))
    (batch,) = decoded.batches
    assert batch.vectors.tolist() == [[1, time] for time in (7, *taken)]
    assert (decoded.rejections, tested.outside) == ((), outside)
