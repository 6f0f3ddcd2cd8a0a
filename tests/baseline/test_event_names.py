"""The labels or texts of events: a segment, or a field of the record."""

import json
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from driftgauge.baseline.event_range import EventNames
from driftgauge.config.inputs import InputSettings
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.events.baseline_contract import BaselineContract
from driftgauge.events.decoder import Decoder
from driftgauge.events.mapped_readers import build_readers
from driftgauge.events.own_contract import build_own_reader
from driftgauge.events.records import StoredRecord
from tests.builders.events import LATEST_MS, build_event, build_records

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
