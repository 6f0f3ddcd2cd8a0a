"""Records of a topic with a mapping, decoded as the service decodes them."""

import json
from dataclasses import replace

import numpy as np

from driftgauge.config.inputs import InputSettings
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.events.decoder import Decoder
from driftgauge.events.inputs import build_readers
from driftgauge.events.records import Records, StoredRecord
from driftgauge.events.rows import BaselineContract

TOPIC = "orders"
TIME_MS = 1_762_128_000_000
CONTRACTS = [
    BaselineContract("images", "images", 4, "v1", DistanceMetric.EUCLIDEAN),
    BaselineContract("texts", "texts", 2, None, DistanceMetric.COSINE),
    BaselineContract("moved", "second", 2, None, DistanceMetric.EUCLIDEAN, TIME_MS),
    BaselineContract("moved", "first", 4, None, DistanceMetric.EUCLIDEAN),
]
IMAGES = {"stream": {"constant": "images"}}


def read_settings(mapping):
    """Return the settings of a mapping; events have their records' time unless it says otherwise."""
    preset = {} if mapping.get("encoding") == "cloudevents" else {"timestamp": {"record": "timestamp"}}
    return InputSettings.model_validate(preset | mapping)


def decode(mapping, *records, contracts=CONTRACTS):
    """Decode records, given as their values or as records, of the topic with a mapping."""
    raw = [
        replace(record, stored_topic=TOPIC, stored_offset=row)
        if isinstance(record, StoredRecord)
        else StoredRecord(record, TOPIC, 0, row, stored_ms=TIME_MS)
        for row, record in enumerate(records)
    ]
    readers = {} if mapping is None else build_readers({TOPIC: read_settings(mapping)})
    rows = np.arange(len(raw))
    columns = Records(raw, np.zeros(len(raw), np.int32), rows, np.full(len(raw), TIME_MS + 60_000))
    return Decoder(contracts, lead_ms=0, readers=readers).decode(columns)


def read_record(reader, record):
    """Return the rows of a record, None if it is filtered out; raise why it is refused or cannot be read."""
    rows = reader.read_all([record])
    outcome = reader.read(record) if rows is None else list(rows)
    return [outcome] if isinstance(outcome, tuple) else outcome


def accept(mapping, record):
    """Return the events of an accepted record: stream, id, time, vector, segments."""
    decoded = decode(mapping, record)
    assert (decoded.rejections, decoded.filtered, decoded.pending) == ((), (), ())
    return [
        (
            batch.stream,
            batch.event_ids[row],
            int(batch.time_ms[row]),
            batch.vectors[row].tolist(),
            batch.segments[row] if batch.segments else None,
        )
        for batch in decoded.batches
        for row in range(len(batch))
    ]


def refuse(mapping, record):
    decoded = decode(mapping, record)
    assert decoded.batches == ()
    (rejection,) = decoded.rejections
    return rejection


def value(**fields):
    return json.dumps(fields).encode()
