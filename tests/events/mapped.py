"""Records of a topic with a mapping, decoded as the service decodes them."""

import json
from collections import namedtuple
from dataclasses import replace

import numpy as np

from driftgauge.config.inputs import InputSettings
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.events.baseline_contract import BaselineContract
from driftgauge.events.columns import Columns
from driftgauge.events.decoder import Decoder
from driftgauge.events.mapped_readers import build_readers
from driftgauge.events.records import Records, StoredRecord
from driftgauge.events.rejection import SchemaPending

TOPIC = "orders"
Row = namedtuple("Row", "stream time_ms vector number event_id model_version segments snippet")
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


def decode(mapping, *records, contracts=CONTRACTS, topic=TOPIC):
    """Decode records, given as their values or as records, of the topic with a mapping."""
    raw = [
        replace(record, stored_topic=topic, stored_offset=row)
        if isinstance(record, StoredRecord)
        else StoredRecord(record, topic, 0, row, stored_ms=TIME_MS)
        for row, record in enumerate(records)
    ]
    readers = {} if mapping is None else build_readers({topic: read_settings(mapping)})
    rows = np.arange(len(raw))
    columns = Records(raw, np.zeros(len(raw), np.int32), rows, np.full(len(raw), TIME_MS + 60_000))
    return Decoder(contracts, lead_ms=0, readers=readers).decode(columns)


def read_record(reader, record):
    """Return the events of a record as rows, None if it is filtered out; raise why it has none."""
    columns = Columns()
    reader.read([record], 0, columns)
    if columns.pending:
        raise SchemaPending
    for _, fault in columns.refused:
        raise fault
    return None if columns.filtered else to_rows(columns)


def to_rows(columns):
    """Return the events of columns."""
    return [Row(*each) for each in zip(*(getattr(columns, name) for name in Row._fields), strict=True)]


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
