"""Events of a topic that a baseline is fitted on: how they are decoded, what is said, their labels."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import orjson
import pytest

from driftgauge.baseline.event_range import EventNames, EventSelection, select_events
from driftgauge.baseline.stream_decoder import StreamDecoder, TopicEvents
from driftgauge.config.inputs import InputSettings
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.errors import InputError
from driftgauge.events.baseline_contract import BaselineContract
from driftgauge.events.decoder import Decoder
from driftgauge.events.mapped_readers import build_reader, build_readers
from driftgauge.events.own_contract import build_own_reader
from driftgauge.events.records import RawRecord, Records, StoredRecord
from driftgauge.events.refusals import Refusals
from driftgauge.events.rejection import Reason
from driftgauge.events.timestamps import LAST_MS
from tests.builders.clocks import DAY_MS, HOUR_MS, MONDAY_MS, ManualClock
from tests.builders.events import LATEST_MS, build_event, build_records


class Source:
    def __init__(self, gap_ms: int) -> None:
        times_ms = range(MONDAY_MS, MONDAY_MS + HOUR_MS, 60_000)
        self.records = [
            StoredRecord(build_event(time_ms, 1), "embeddings", 0, number, stored_ms=time_ms + gap_ms)
            for number, time_ms in enumerate(times_ms)
        ]

    partitions = 1

    def batches(self) -> Iterable[Sequence[RawRecord]]:
        return [self.records[:7], self.records[7:]]

    def place(self, record: RawRecord) -> str:
        return f"{record.offset()}"


def select(
    gap_ms: int = 0, lead_ms: int = LAST_MS, since_ms: int = MONDAY_MS - 3 * DAY_MS, stream: str = "images"
) -> EventSelection:
    return select_events(
        Source(gap_ms),
        TopicEvents("embeddings", stream, since_ms, MONDAY_MS + DAY_MS, 6 * HOUR_MS),
        build_own_reader(),
        Refusals(),
        lead_ms=lead_ms,
        age_ms=LAST_MS,
        largest_bytes=1_000_000,
        clock=ManualClock(MONDAY_MS + DAY_MS).clock,
    )


def report(gap_ms: int, lead_ms: int = LAST_MS) -> list[str]:
    lines: list[str] = []
    selection = select(gap_ms, lead_ms)
    selection.report(lines.append)
    selection.warn(lines.append)
    return lines


def test_times_of_events_that_are_held_are_said_beside_the_range() -> None:
    (line,) = report(200)
    assert "60 events of stream images from 2025-11-03T00:00:00Z to 2025-11-03T00:59:00Z; asked for: " in line
    assert "2025-10-31T00:00:00Z to 2025-11-04T00:00:00Z; outside: 0 before, 0 after" in line


def test_gap_of_whole_hours_is_a_warning_also_where_all_are_refused() -> None:
    _, warning = report(5 * HOUR_MS)
    assert warning.startswith("warning: stream images: in 60 of 60 records the event time is 5h before ")
    line, warning = report(-2 * HOUR_MS, lead_ms=300_000)
    assert "0 events of stream images; asked for" in line
    assert "in 60 of 60 records the event time is 2h after " in warning


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"gap_ms": -2 * HOUR_MS, "lead_ms": 300_000},
            "60 records were refused (60 future); correct what the lines above say of those",
        ),
        (
            {"since_ms": MONDAY_MS + HOUR_MS},
            "60 records of the stream are before the range, and 0 after it; choose another range by --from",
        ),
        ({"stream": "image"}, "streams that were read: images; did you mean images?"),
    ],
)
def test_what_has_taken_all_events_is_said(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        select(**changes).finish("topic embeddings")
    stream = changes.get("stream", "images")
    assert str(error.value).startswith(f"topic embeddings: no event of stream '{stream}'; {said}")


CONTRACT = BaselineContract("images", "b", 4, None, DistanceMetric.EUCLIDEAN)


def of_event(column: str, segments: dict[str, str] | None = None, **value: Any) -> str | None:
    records = build_records([build_event(LATEST_MS, segments=segments, **value)])
    (batch,) = Decoder([CONTRACT], lead_ms=0).decode(records).batches
    (name,) = EventNames(column, build_own_reader()).of_batch(batch, records.raw)
    return name


@pytest.mark.parametrize(
    ("column", "label"),
    [("class", "car"), ("meta.class", "bus"), ("meta.tags[1]", "x"), ('meta["a b"]', "7"), ("bool", "true")],
)
def test_label_is_field_of_value(column: str, label: str) -> None:
    value = {"class": "car", "meta": {"class": "bus", "tags": ["y", "x"], "a b": 7}, "bool": True}
    assert of_event(column, **value) == label


def test_segment_comes_before_field() -> None:
    assert of_event("class", {"class": "car"}, **{"class": "bus"}) == "car"
    assert of_event("class", {"other": "car"}, **{"class": "bus"}) == "bus"
    assert of_event("no path!", {"no path!": "car"}) == "car"


@pytest.mark.parametrize("value", [{}, {"class": None}, {"class": ["a"]}, {"class": 0.5}])
def test_missing_or_unusable_label_is_none(value: dict[str, Any]) -> None:
    assert of_event("class", **value) is None
    assert of_event("no path!", **value) is None


def test_batch_of_mapped_topic_takes_field_of_decoded_value() -> None:
    settings = InputSettings.model_validate(
        {
            "encoding": "cloudevents",
            "stream": {"constant": "images"},
            "embedding": "data.vectors",
            "timestamp": "time",
        }
    )
    readers = build_readers({"": settings})
    headers = {"id": "1", "source": "s", "specversion": "1.0", "type": "t", "time": f"{LATEST_MS}"}
    rows = [{"vectors": [[1, 2, 3, 4]] * count, "text": f"{count}"} for count in (2, 3, 1)]
    records = replace(
        build_records([b""] * 3),
        raw=[
            StoredRecord(
                json.dumps(row).encode(),
                stored_headers=[
                    ("content-type", "application/json"),
                    *((f"ce_{name}", text) for name, text in headers.items()),
                ],
            )
            for row in rows
        ],
    )
    (batch,) = Decoder([CONTRACT], lead_ms=0, readers=readers).decode(records).batches
    reader = readers[""]
    with patch.object(reader, "decode", wraps=reader.decode) as decode:
        assert EventNames("data.text", reader).of_batch(batch, records.raw) == [*"22333", "1"]
    assert decode.call_count == 3, "each record is decoded once"


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
