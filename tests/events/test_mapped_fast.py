"""The short path for records with one vector: the general path accepts the same, with the same bits."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driftgauge.config.inputs import InputSettings
from driftgauge.events.mapped import MappedReader
from driftgauge.events.records import StoredRecord
from driftgauge.events.rejection import EventError
from driftgauge.events.rows import RECORD_ID, default_id
from driftgauge.events.timestamps import LAST_MS
from tests.events.mapped import read_record

TIME_MS = 1_000
MAPPING = {
    "stream": {"path": "s", "rename": {"nobody": "texts", "7": "moved"}},
    "embedding": {"path": "v", "dtype": "f16"},
    "timestamp": "t",
    "event_id": "id",
    "model_version": "m",
    "snippet": "x",
    "segments": {"country": "c"},
}
SETTINGS = InputSettings.model_validate(MAPPING)
TEXT = st.none() | st.sampled_from(["", "e", "e" * 300]) | st.integers(0, 9) | st.booleans()
USUAL = {"s": "images", "v": base64.b64encode(bytes(4)).decode(), "t": TIME_MS, "m": "v2", "c": "de"}
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "s": st.sampled_from(["images", "nobody", 7, None]),
        "v": st.binary(min_size=4, max_size=6).map(lambda raw: base64.b64encode(raw).decode())
        | st.sampled_from(["[1,2]", "=", "AAAA=", [1], [[1, 2], [3, 4]], None, {}])
        | st.lists(st.sampled_from([1, 2.5, -0.0, 1e39, 2**70, True, "2", None]), min_size=2, max_size=2),
        "t": st.sampled_from(
            [0, TIME_MS - 1, TIME_MS, -1, True, 1.5, "1000", "2025-11-03T00:00:00Z", None, 2**70]
        ),
        "id": TEXT,
        "m": st.sampled_from(["v2", "v1", 2, None]),
        "x": TEXT,
        "c": TEXT,
    },
).map(lambda changed: USUAL | changed)


RECORD = StoredRecord(b"{}", "topic", 3, 7)


def read(value):
    return MappedReader(SETTINGS, lambda _: value)._single(RECORD, value)


@example(USUAL | {"id": "e" * 300}, "ms", "json")
@example(USUAL | {"m": "v1"}, "ms", "json")
@example(USUAL | {"t": LAST_MS + 1}, "ms", "json")
@example(USUAL | {"t": -1}, "ms", "json")
@example(USUAL | {"v": [1, True]}, "ms", "json")
@example(USUAL | {"v": [1, True]}, "ms", "avro")
@given(VALUES, st.sampled_from(["s", "ms", "us"]), st.sampled_from(["json", "avro"]))
def test_general_path_accepts_events_of_short_path_with_equal_bits(value, unit, encoding):
    timestamp = {"path": "t", "unit": unit}
    settings = InputSettings.model_validate(MAPPING | {"timestamp": timestamp, "encoding": encoding})
    # Only a text of JSON shows whether a list may hold a bool.
    record = replace(RECORD, stored_value=json.dumps(value).encode() if encoding == "json" else b"")
    general = MappedReader(settings, lambda _: value)
    short = general._single(record, value)
    general._single = None
    try:
        rows = read_record(general, record)
    except EventError:
        assert short is None
        return
    if short is not None:
        stream, time_ms, vector, number, event_id, *others = short
        event_id = default_id(record) if event_id is RECORD_ID else event_id
        assert rows == [(stream, time_ms, vector, number, event_id, *others)]


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_usual_record_is_accepted(dimension):
    vector = np.arange(dimension, dtype="<f2").tobytes()
    text = base64.b64encode(vector).decode()
    row = read({"s": "images", "v": text, "t": TIME_MS, "m": "v2", "c": "de", "x": 7})
    assert row is not None
    stream, time_ms, found, number, *others = row
    assert (stream, time_ms, found, number.dtype) == ("images", TIME_MS, vector, "f16")
    assert others == [RECORD_ID, "v2", {"country": "de"}, "7"]
