"""Events of a topic that a baseline is fitted on: what is said of them, and their labels or texts."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from driftgauge.baseline.event_range import EventNames, EventSelection, select_events
from driftgauge.baseline.stream_decoder import TopicEvents
from driftgauge.config.inputs import InputSettings
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.errors import InputError
from driftgauge.events.baseline_contract import BaselineContract
from driftgauge.events.decoder import Decoder
from driftgauge.events.mapped_readers import build_readers
from driftgauge.events.own_contract import build_own_reader
from driftgauge.events.records import RawRecord, StoredRecord
from driftgauge.events.refusals import Refusals
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
